#include "hf/state_dict.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "hf/checkpoint_files.hpp"
#include "hf/dequantise.hpp"
#include "hf/quote_name.hpp"

namespace meshseek {
namespace {

std::string scale_name(std::string_view name) { return std::string(name) + "_scale_inv"; }

std::string where_is(const HfTensor& tensor, std::string_view name) {
  return fmt::format("{}: {}", tensor.file->path().string(), quote_name(name));
}

/// The scales of `weight`, checked against its shape.
std::vector<float> load_scales(const StateDict& dict, std::string_view name, const Shape& weight, const std::vector<std::int64_t>& block) {
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
  auto values = widen(scale);
  if (const auto bad = find_non_finite(values)) {
    throw Error(fmt::format("[{}] element {} is {}; expected finite block scales; download the file again", where, *bad, values[*bad]));
  }
  return values;
}

/// Names the first element that came out of dequantise() as NaN or infinity.
[[noreturn]] void refuse_element(const HfTensor& weight, std::string_view name, std::size_t element) {
  const auto code = std::to_integer<unsigned>(weight.bytes[element]);
  const auto cols = static_cast<std::size_t>(weight.shape[1]);
  const std::string where = fmt::format("{} [{}, {}]", where_is(weight, name), element / cols, element % cols);
  if ((code & 0x7FU) == 0x7FU) {
    throw Error(fmt::format("[{}] is the FP8 code 0x{:02X}, which is NaN; expected finite weights; download the file again", where, code));
  }
  throw Error(fmt::format("[{}] the FP8 code 0x{:02X} times its block scale exceeds float32; expected finite weights", where, code));
}

/// An FP8 weight with its block scales.
std::vector<float> load_blocks(const StateDict& dict, std::string_view name, const std::vector<std::int64_t>& block) {
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
  const auto scales = load_scales(dict, name, tensor.shape, block);
  auto values = dequantise({.codes = tensor.bytes,
                            .rows = tensor.shape[0],
                            .cols = tensor.shape[1],
                            .block_rows = block[0],
                            .block_cols = block[1],
                            .scales = scales});
  if (const auto bad = find_non_finite(values)) refuse_element(tensor, name, *bad);
  return values;
}

}  // namespace

StateDict::StateDict(const Path& folder, const HfConfig& config) : folder_(folder), weight_block_size_(config.weight_block_size) {
  CheckpointFiles checkpoint = open_checkpoint(folder);
  files_ = std::move(checkpoint.files);
  tensors_ = std::move(checkpoint.tensors);
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

std::vector<float> StateDict::load(std::string_view name, const Shape& expected) const {
  const HfTensor& tensor = raw(name);
  const std::string where = where_is(tensor, name);
  if (tensor.shape != expected) {
    throw ShapeError(fmt::format("[{}] has shape {}; config.json asks for {}; config.json and weights do not belong together", where,
                                 to_string(tensor.shape), to_string(expected)));
  }
  if (tensor.dtype == HfDtype::I32 || tensor.dtype == HfDtype::I64) {
    throw Error(fmt::format("[{}] is stored as {}; expected float weights", where, to_string(tensor.dtype)));
  }
  if (tensor.dtype == HfDtype::F8_E4M3) return load_blocks(*this, name, weight_block_size_);
  if (contains(scale_name(name))) {
    throw Error(fmt::format("[{}] is stored as {} and has block scales; expected F8_E4M3 with scales, or no scales", where,
                            to_string(tensor.dtype)));
  }
  return widen(tensor);
}

std::vector<std::string> StateDict::names() const {
  std::vector<std::string> result;
  result.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) result.push_back(name);
  return result;
}

}  // namespace meshseek
