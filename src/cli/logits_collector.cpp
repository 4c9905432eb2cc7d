#include "cli/logits_collector.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/terminal.hpp"
#include "hf/safetensors.hpp"

namespace meshseek::cli {

void LogitsCollector::run(std::span<const std::int64_t> ids, LogitsVia via) {
  const std::size_t chunk = via.decode ? 1 : via.chunk > 0 ? static_cast<std::size_t>(via.chunk) : std::max<std::size_t>(ids.size(), 1);
  for (std::size_t begin = 0; begin < ids.size(); begin += chunk) {
    check_interrupted();
    run_piece(ids, begin, std::min(begin + chunk, ids.size()), via.decode);
  }
  if (wanted_.cache) append_cache();
}

void LogitsCollector::run_piece(std::span<const std::int64_t> ids, std::size_t begin, std::size_t end, bool decode) {
  Model::Trace trace;
  Model::Trace* wanted_trace = wanted_.hidden || wanted_.router ? &trace : nullptr;
  const bool is_last = end == ids.size();
  Model::Logits positions = Model::Logits::all;
  if (wanted_.only_last) positions = is_last ? Model::Logits::last : Model::Logits::none;
  const std::span<const std::int64_t> piece = ids.subspan(begin, end - begin);
  const Model::Output output = decode ? runner_->decode(piece.front(), wanted_trace) : runner_->prefill(piece, positions, wanted_trace);
  if (is_last || !wanted_.only_last) append("logits", output.logits);
  append_trace(trace);
  // Row i of the MTP module sees token i + 1: the last row of all has no successor.
  const std::span<const std::int64_t> with_successor = ids.subspan(begin, std::min(end + 1, ids.size()) - begin);
  if (wanted_.mtp && with_successor.size() >= 2) append("mtp_logits", runner_->mtp(output, with_successor).logits);
}

void LogitsCollector::append(const std::string& name, const Tensor& rows) {
  Array& array = arrays_[name];
  if (array.shape.empty()) array.shape = {0, rows.dim(-1)};
  array.shape[0] += rows.dim(0);
  if (rows.dtype() == DataType::int32) {
    const std::span<const std::int32_t> values = rows.data<std::int32_t>();
    array.integers.insert(array.integers.end(), values.begin(), values.end());
    return;
  }
  const std::vector<float> values = to_float_vector(rows);
  array.floats.insert(array.floats.end(), values.begin(), values.end());
}

void LogitsCollector::append_trace(const Model::Trace& trace) {
  for (std::size_t idx = 0; wanted_.hidden && idx < trace.hidden.size(); ++idx) append(fmt::format("hidden.{}", idx), trace.hidden[idx]);
  for (std::size_t layer_idx = 0; wanted_.router && layer_idx < trace.routing.size(); ++layer_idx) {
    const std::optional<Routing>& routing = trace.routing[layer_idx];
    if (!routing) continue;
    append(fmt::format("router.{}.indices", layer_idx), routing->indices);
    append(fmt::format("router.{}.weights", layer_idx), routing->weights);
  }
}

void LogitsCollector::append_cache() {
  const std::vector<LatentCache>& layers = runner_->state().layers;
  for (std::size_t layer_idx = 0; layer_idx < layers.size(); ++layer_idx) {
    append(fmt::format("cache.{}", layer_idx), layers[layer_idx].rows.slice_rows(0, layers[layer_idx].num_tokens));
  }
}

void LogitsCollector::write(const Path& path) const {
  std::vector<NamedArray> arrays;
  for (const auto& [name, array] : arrays_) {
    const bool is_integer = !array.integers.empty();
    const auto bytes = is_integer ? std::as_bytes(std::span(array.integers)) : std::as_bytes(std::span(array.floats));
    arrays.push_back({.name = name, .dtype = is_integer ? HfDtype::I32 : HfDtype::F32, .shape = array.shape, .bytes = bytes});
  }
  write_safetensors(path, arrays);
}

std::vector<std::pair<std::string, Shape>> LogitsCollector::shapes() const {
  std::vector<std::pair<std::string, Shape>> shapes;
  for (const auto& [name, array] : arrays_) shapes.emplace_back(name, array.shape);
  return shapes;
}

}  // namespace meshseek::cli
