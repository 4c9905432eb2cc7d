#include "ops/embedding.hpp"

#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;

Tensor ids_of(const std::vector<std::uint32_t>& ids, Device& device) {
  return Tensor::from<std::uint32_t>({static_cast<std::int64_t>(ids.size())}, ids, &device);
}

TEST(Embedding, CopiesRowsOfATableInAnyTypeAndLayout) {
  Device device(1);
  constexpr std::int64_t kVocab = 70, kHidden = 41;
  const std::vector<std::uint32_t> ids = {69, 0, 31, 32, 0};
  for (const Layout layout : {Layout::row_major, Layout::tile}) {
    for (const DataType dtype : {DataType::float32, DataType::bfloat16, DataType::bfloat8_b, DataType::bfloat4_b}) {
      if (is_block_float(dtype) && layout == Layout::row_major) continue;
      EmbeddingConfig cfg = {.weight = weight_slot(random_values(kVocab * kHidden, 1), {kVocab, kHidden}, dtype, layout)};
      const std::vector<float> table = to_float_vector(cfg.weight.tensor);
      for (const DataType result : {DataType::float32, DataType::bfloat16}) {
        cfg.dtype = result;
        const Tensor y = embedding(ids_of(ids, device), cfg);
        ASSERT_EQ(y.shape(), (Shape{5, kHidden}));
        ASSERT_EQ(y.dtype(), result);
        const std::vector<float> values = to_float_vector(y);
        for (std::size_t idx = 0; idx < values.size(); ++idx) {
          const float expected = table[ids[idx / kHidden] * kHidden + idx % kHidden];
          ASSERT_EQ(values[idx], result == DataType::float32 ? expected : round_to_bf16(expected))
              << to_string(dtype) << " " << to_string(layout);
        }
      }
    }
  }
}

TEST(Embedding, NamesTheFirstIdBeyondTheTableAndItsPosition) {
  Device device(1);
  const EmbeddingConfig cfg = {.weight = weight_slot(random_values(8, 1), {4, 2})};
  EXPECT_EQ(message_of([&] { embedding(ids_of({3, 0, 4, 9}, device), cfg); }),
            "[embedding] token id 4 at position 2 is beyond the table of 4 rows; is this the tokenizer of the model?");
}

TEST(Embedding, RefusesIdsAndTablesOfOtherShapesAndTypes) {
  Device device(1);
  const EmbeddingConfig cfg = {.weight = weight_slot(random_values(8, 1), {4, 2})};
  EXPECT_EQ(message_of<ShapeError>([&] { embedding(ids_of({1, 2}, device).reshape({1, 2}), cfg); }),
            "[embedding] ids are [1, 2] and the table [4, 2]; expected [T] and [vocab, hidden]");
  EXPECT_EQ(message_of<ShapeError>([&] { embedding(ids_of({1}, device), {}); }),
            "[embedding] ids are [1] and the table []; expected [T] and [vocab, hidden]");
  EXPECT_EQ(message_of<ShapeError>([&] { embedding(random_activation({2}, 1, device), cfg); }),
            "[tensor] [2] is float32 but was read as uint32");
}

}  // namespace
}  // namespace meshseek
