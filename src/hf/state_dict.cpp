#include "hf/state_dict.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "hf/checkpoint_files.hpp"
#include "hf/dequantise.hpp"
#include "hf/quote_name.hpp"

namespace meshseek {
namespace {

constexpr std::int64_t kHashedBytes = std::int64_t{1} << 20;  ///< at a time

std::string scale_name(std::string_view name) { return std::string(name) + "_scale_inv"; }

std::string where_is(const HfTensor& tensor, std::string_view name) {
  return fmt::format("{}: {}", tensor.file->path().string(), quote_name(name));
}

/// Names the first element that came out of dequantise() as NaN or infinity.
[[noreturn]] void refuse_element(const HfTensor& weight, std::string_view name, unsigned code, std::int64_t row, std::int64_t col) {
  const std::string where = fmt::format("{} [{}, {}]", where_is(weight, name), row, col);
  if ((code & 0x7FU) == 0x7FU) {
    throw Error(fmt::format("[{}] is the FP8 code 0x{:02X}, which is NaN; expected finite weights; download the file again", where, code));
  }
  throw Error(fmt::format("[{}] the FP8 code 0x{:02X} times its block scale exceeds float32; expected finite weights", where, code));
}

/// The scales of a weight: their existence, dtype and shape.
void check_scales(const StateDict& dict, std::string_view name, const Shape& weight, const std::vector<std::int64_t>& block) {
  const std::string full_name = scale_name(name);
  const HfTensor& scale = dict.raw(full_name);
  const std::string where = where_is(scale, full_name);
  if (scale.dtype != HfDtype::F32 && scale.dtype != HfDtype::BF16 && scale.dtype != HfDtype::F8_E8M0) {
    throw Error(fmt::format("[{}] is stored as {}; expected block scales of F32, BF16 or F8_E8M0", where, to_string(scale.dtype)));
  }
  const Shape expected = {ceil_div(weight[0], block[0]), ceil_div(weight[1], block[1])};
  if (scale.shape != expected) {
    throw ShapeError(fmt::format("[{}] has shape {}; a weight of {} in blocks of {} has scales of {}", where, to_string(scale.shape),
                                 to_string(weight), to_string(block), to_string(expected)));
  }
}

/// An FP8 weight: a matrix with block scales.
void check_blocks(const StateDict& dict, std::string_view name, const std::vector<std::int64_t>& block) {
  const HfTensor& tensor = dict.raw(name);
  const std::string where = where_is(tensor, name);
  if (!dict.contains(scale_name(name))) {
    throw Error(
        fmt::format("[{}] is FP8, but the checkpoint lacks its block scales {}; download it again", where, quote_name(scale_name(name))));
  }
  if (block.size() != 2) {
    throw Error(fmt::format("[{}] is FP8, but config.json has no quantization_config; expected one with weight_block_size", where));
  }
  if (tensor.shape.size() != 2) throw Error(fmt::format("[{}] is FP8 of shape {}; expected a matrix", where, to_string(tensor.shape)));
  check_scales(dict, name, tensor.shape, block);
}

std::int64_t row_size(const Shape& shape) { return shape.empty() ? 1 : shape.back(); }
std::int64_t row_count(const Shape& shape) { return row_size(shape) == 0 ? 0 : volume(shape) / row_size(shape); }

}  // namespace

StateDict::StateDict(const Path& folder, const HfConfig& config) : folder_(folder), weight_block_size_(config.weight_block_size) {
  CheckpointFiles checkpoint = open_checkpoint(folder);
  files_ = std::move(checkpoint.files);
  tensors_ = std::move(checkpoint.tensors);
  for (const Path& file : files_) {
    readers_.emplace(file, file);
    file_identities_.emplace(file, file_identity(file));
  }
}

bool StateDict::contains(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }

const HfTensor& StateDict::raw(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw Error(fmt::format("[{}] the checkpoint lacks the tensor {}; config.json and weights do not belong together", folder_.string(),
                            quote_name(name)));
  }
  return found->second;
}

void StateDict::check(std::string_view name, const Shape& expected) const {
  const HfTensor& tensor = raw(name);
  const std::string where = where_is(tensor, name);
  if (tensor.shape != expected) {
    throw ShapeError(fmt::format("[{}] has shape {}; config.json asks for {}; config.json and weights do not belong together", where,
                                 to_string(tensor.shape), to_string(expected)));
  }
  if (tensor.dtype == HfDtype::I32 || tensor.dtype == HfDtype::I64) {
    throw Error(fmt::format("[{}] is stored as {}; expected float weights", where, to_string(tensor.dtype)));
  }
  if (tensor.dtype == HfDtype::F8_E4M3) return check_blocks(*this, name, weight_block_size_);
  if (contains(scale_name(name))) {
    throw Error(fmt::format("[{}] is stored as {} and has block scales; expected F8_E4M3 with scales, or no scales", where,
                            to_string(tensor.dtype)));
  }
}

std::vector<std::byte> StateDict::read_stored(const HfTensor& tensor, std::int64_t first_row, std::int64_t num_rows) const {
  const auto row_bytes = static_cast<std::size_t>(row_size(tensor.shape)) * element_bytes(tensor.dtype);
  std::vector<std::byte> stored(static_cast<std::size_t>(num_rows) * row_bytes);
  const auto tensor_offset = static_cast<std::uint64_t>(tensor.bytes.data() - tensor.file->bytes().data());
  readers_.at(tensor.file->path()).read(tensor_offset + static_cast<std::uint64_t>(first_row) * row_bytes, stored);
  return stored;
}

std::vector<float> StateDict::load_scales(std::string_view name, const Shape& weight) const {
  const std::string full_name = scale_name(name);
  const HfTensor& scale = raw(full_name);
  std::vector<float> values(
      static_cast<std::size_t>(ceil_div(weight[0], weight_block_size_[0]) * ceil_div(weight[1], weight_block_size_[1])));
  widen(scale.dtype, read_stored(scale, 0, row_count(scale.shape)), values);
  if (const auto bad = find_non_finite(values)) {
    throw Error(fmt::format("[{}] element {} is {}; expected finite block scales; download the file again", where_is(scale, full_name),
                            *bad, values[*bad]));
  }
  return values;
}

void StateDict::read(std::string_view name, const MatrixPart& part, std::span<float> out) const {
  const HfTensor& tensor = raw(name);
  const std::int64_t cols = row_size(tensor.shape);
  const std::vector<std::byte> stored = read_stored(tensor, part.first_row, part.num_rows);
  if (tensor.dtype != HfDtype::F8_E4M3) {
    const std::size_t size = element_bytes(tensor.dtype);
    if (part.num_cols == cols) return widen(tensor.dtype, stored, out);
    for (std::int64_t row = 0; row < part.num_rows; ++row) {
      const auto row_bytes = std::span(stored).subspan(static_cast<std::size_t>(row * cols + part.first_col) * size,
                                                       static_cast<std::size_t>(part.num_cols) * size);
      widen(tensor.dtype, row_bytes, out.subspan(static_cast<std::size_t>(row * part.num_cols), static_cast<std::size_t>(part.num_cols)));
    }
    return;
  }
  const std::vector<float> scales = load_scales(name, tensor.shape);
  dequantise({.codes = stored,
              .first_row = part.first_row,
              .num_rows = part.num_rows,
              .cols = cols,
              .block_rows = weight_block_size_[0],
              .block_cols = weight_block_size_[1],
              .scales = scales},
             part.first_col, part.num_cols, out);
  if (const auto bad = find_non_finite(out)) {
    const auto row = static_cast<std::int64_t>(*bad) / part.num_cols;
    const auto col = static_cast<std::int64_t>(*bad) % part.num_cols + part.first_col;
    refuse_element(tensor, name, std::to_integer<unsigned>(stored[static_cast<std::size_t>(row * cols + col)]), part.first_row + row, col);
  }
}

std::string StateDict::stored_identity(std::string_view name, Trust trust) const {
  const HfTensor& tensor = raw(name);
  const std::string form = fmt::format("{} {} {}", name, to_string(tensor.dtype), to_string(tensor.shape));
  if (trust == Trust::size_mtime) {
    return fmt::format("{} {} {}", form, file_identities_.at(tensor.file->path()), tensor.bytes.data() - tensor.file->bytes().data());
  }
  Sha256 hash;
  const std::int64_t row_bytes = std::max<std::int64_t>(row_size(tensor.shape) * static_cast<std::int64_t>(element_bytes(tensor.dtype)), 1);
  const std::int64_t step = std::max<std::int64_t>(kHashedBytes / row_bytes, 1);
  for (std::int64_t row = 0; row < row_count(tensor.shape); row += step) {
    hash.update(read_stored(tensor, row, std::min(step, row_count(tensor.shape) - row)));
  }
  return fmt::format("{} {}", form, hash.finish());
}

std::string StateDict::identity(std::string_view name, Trust trust) const {
  std::string identity = stored_identity(name, trust);
  if (raw(name).dtype == HfDtype::F8_E4M3) identity.append(" ").append(stored_identity(scale_name(name), trust));
  return identity;
}

std::string StateDict::file_of(std::string_view name) const { return raw(name).file->path().filename().string(); }

std::vector<float> StateDict::load(std::string_view name, const Shape& expected) const {
  check(name, expected);
  std::vector<float> values(static_cast<std::size_t>(volume(expected)));
  if (!values.empty()) read(name, {0, row_count(expected), 0, row_size(expected)}, values);
  return values;
}

std::vector<std::string> StateDict::names() const {
  std::vector<std::string> result;
  result.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) result.push_back(name);
  return result;
}

}  // namespace meshseek
