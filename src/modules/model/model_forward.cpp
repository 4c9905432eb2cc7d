#include <numeric>
#include <utility>

#include "modules/model/model.hpp"

namespace meshseek {
namespace {

std::vector<std::int64_t> positions_from(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

}  // namespace

Model::Model(const HfConfig& hf, const MeshDevice& mesh)
    : embedding_(hf, mesh), rope_(hf, mesh), block_(hf, mesh), norm_(hf, mesh), lm_head_(hf, mesh), mtp_(hf, mesh) {}

Model::State Model::create_state(const HfConfig& hf, const Config& cfg, std::int64_t capacity, Device& device) {
  State state;
  for (const DecoderBlock::Config& layer : cfg.layers) state.layers.push_back(Mla::create_state(hf, layer.mla, capacity, device));
  for (const Mtp::Config& module : cfg.mtp) state.mtp.push_back(Mla::create_state(hf, module.block.mla, capacity, device));
  return state;
}

Model::Output Model::forward(const Tensor& ids, const Config& cfg, std::span<State* const> states, Logits logits, Trace* trace) const {
  std::vector<std::int64_t> positions;
  for (const State* state : states) {
    const auto more = positions_from(state->num_tokens(), ids.dim(0) / static_cast<std::int64_t>(states.size()));
    positions.insert(positions.end(), more.begin(), more.end());
  }
  const RopeTables tables = rope_.tables(positions);
  std::vector<LatentCache*> caches(states.size());
  Tensor h = embedding_.forward(ids, cfg.embedding);  // [T, hidden_size]
  if (trace != nullptr) trace->hidden.push_back(h);
  for (std::size_t layer_idx = 0; layer_idx < cfg.layers.size(); ++layer_idx) {
    const bool only_last = logits == Logits::last && layer_idx + 1 == cfg.layers.size();
    for (std::size_t idx = 0; idx < states.size(); ++idx) caches[idx] = &states[idx]->layers[layer_idx];
    DecoderBlock::Output block =
        block_.forward(h, cfg.layers[layer_idx], tables, caches, only_last ? DecoderBlock::Rows::last : DecoderBlock::Rows::all);
    h = std::move(block.h);  // [T, hidden_size]; [1, hidden_size] after only_last
    if (trace != nullptr) {
      trace->hidden.push_back(h);
      trace->routing.push_back(std::move(block.routing));
    }
  }
  Output output;
  output.post_norm = norm_.forward(h, cfg.norm);  // [T or 1, hidden_size]
  output.pre_norm = std::move(h);
  if (logits != Logits::none) output.logits = lm_head_.forward(output.post_norm, cfg.lm_head);  // [T or 1, vocab_size]
  return output;
}

Mtp::Output Model::forward_mtp(std::size_t module_idx, const Output& main, const Tensor& next_ids, const Config& cfg, State& state) const {
  const Mtp::Config& module = cfg.mtp.at(module_idx);
  LatentCache& cache = state.mtp.at(module_idx);
  const std::int64_t num_ids = next_ids.dim(0);
  const RopeTables tables = rope_.tables(positions_from(cache.num_tokens, num_ids));
  const Tensor& source = module.hidden_source == HiddenSource::post_norm ? main.post_norm : main.pre_norm;
  const Tensor hidden = source.slice_rows(0, num_ids);  // [T, hidden_size]
  return mtp_.forward(hidden, next_ids, module, tables, cache);
}

}  // namespace meshseek
