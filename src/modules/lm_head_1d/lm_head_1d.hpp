/// The output projection over the columns of a mesh.
#pragma once
#include <optional>

#include "modules/column_split/column_split.hpp"
#include "modules/lm_head/lm_head.hpp"

namespace meshseek {

/// Every column has its part of the vocabulary. The weights are LmHead's; logits of padding are cut.
class LmHead1d {
 public:
  struct Config {
    std::optional<AllGatherConfig> all_gather = {};
    AllGatherConfig gather_logits = {};

    static constexpr auto fields() {
      return std::tuple{field("all_gather", &Config::all_gather, "whole tokens of the columns' pieces; deterministic: they come whole"),
                        field("gather_logits", &Config::gather_logits, "logits of the columns' parts of the vocabulary")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  LmHead1d(const HfConfig& hf, const MeshDevice& mesh);
  /// \param x [T, piece of hidden_size], deterministic [T, hidden_size]; \param head of this column's part of the vocabulary  \return [T, vocab_size] float32 on every column
  Tensor forward(const Tensor& x, const LmHead::Config& head, const Config& cfg) const;

 private:
  std::int64_t vocab_size_;
  ColumnSplit columns_;
  LmHead head_;
};

}  // namespace meshseek
