#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "modules/model/model.hpp"

namespace meshseek {
namespace {

std::vector<std::int64_t> positions_from(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

/// The absorbed form shares out users, the naive form a sequence.
void check_forms(const Model::Config& cfg) {
  const TokensOverRows over_rows = cfg.row_split->tokens_over_rows;
  for (std::size_t layer_idx = 0; layer_idx < cfg.layers.size(); ++layer_idx) {
    const MlaForm form = cfg.layers[layer_idx].mla.flash_mla.form;
    if ((form == MlaForm::naive) == (over_rows == TokensOverRows::sequence)) continue;
    throw ConfigError(fmt::format(
        "[model.layers.{}.mla.flash_mla.form] {} with row_split.tokens_over_rows {}; expected absorbed with users, or naive with sequence",
        layer_idx, enum_name(form), enum_name(over_rows)));
  }
}

/// A cache of `capacity` tokens; without rows where another device keeps them.
LatentCache create_cache(const HfConfig& hf, const Model::Config& cfg, const Mla::Config& mla, std::int64_t capacity, Device& device,
                         std::int64_t owner) {
  if (cfg.row_split && owner != device.communicator().rank()) return {.kv_lora_rank = hf.kv_lora_rank, .owner = owner};
  LatentCache cache = Mla::create_state(hf, mla, capacity, device);
  cache.owner = owner;
  return cache;
}

/// Some of the ids.
Tensor take_ids(const Tensor& ids, std::span<const std::int64_t> tokens) {
  std::vector<std::uint32_t> taken;
  for (const std::int64_t token : tokens) taken.push_back(ids.data<std::uint32_t>()[static_cast<std::size_t>(token)]);
  return Tensor::from<std::uint32_t>({static_cast<std::int64_t>(taken.size())}, taken, ids.device());
}

}  // namespace

Model::Model(const HfConfig& hf, const MeshDevice& mesh)
    : embedding_(hf, mesh),
      rope_(hf, mesh),
      block_(hf, mesh),
      norm_(hf, mesh),
      lm_head_(hf, mesh),
      mtp_(hf, mesh),
      distributed_rms_norm_(hf, mesh),
      lm_head_1d_(hf, mesh),
      row_split_(hf, mesh),
      columns_(hf, mesh) {}

Model::State Model::create_state(const HfConfig& hf, const Config& cfg, std::int64_t capacity, Device& device, std::int64_t owner) {
  State state;
  for (const DecoderBlock::Config& layer : cfg.layers) state.layers.push_back(create_cache(hf, cfg, layer.mla, capacity, device, owner));
  for (const Mtp::Config& module : cfg.mtp) state.mtp.push_back(create_cache(hf, cfg, module.block.mla, capacity, device, owner));
  return state;
}

Model::Share Model::share_of(const Tensor& ids, const Config& cfg, std::span<State* const> states) const {
  const std::int64_t num_tokens = ids.dim(0);
  const std::int64_t per_sequence = num_tokens / static_cast<std::int64_t>(states.size());
  std::vector<std::int64_t> positions;
  for (const State* state : states) {
    const auto more = positions_from(state->num_tokens(), per_sequence);
    positions.insert(positions.end(), more.begin(), more.end());
  }
  if (!cfg.row_split) return {.positions = std::move(positions), .states = {states.begin(), states.end()}, .ids = ids};
  check_forms(cfg);
  std::vector<std::int64_t> owners;
  std::vector<std::int64_t> num_tokens_after;
  for (const State* state : states) {
    owners.push_back(state->owner());
    num_tokens_after.push_back(state->num_tokens() + per_sequence);
  }
  const auto row = static_cast<std::size_t>(ids.device()->communicator().row());
  Share share = {.of_rows = row_split_.tokens_of_rows(owners, num_tokens, *cfg.row_split), .num_tokens_after = std::move(num_tokens_after)};
  const std::vector<std::int64_t>& tokens = share.of_rows.at(row);
  for (const std::int64_t token : tokens) {
    share.positions.push_back(positions[static_cast<std::size_t>(token)]);
    State* const state = states[static_cast<std::size_t>(token / per_sequence)];
    if (share.states.empty() || share.states.back() != state) share.states.push_back(state);
  }
  // Everybody takes part in a sequence that is shared out, also a row without tokens.
  if (cfg.row_split->tokens_over_rows == TokensOverRows::sequence) share.states = {states.front()};
  share.ids = take_ids(ids, tokens);
  share.has_last = !tokens.empty() && tokens.back() == num_tokens - 1;
  return share;
}

Tensor Model::collected(Tensor x, const Config& cfg, const Share& share, bool only_last) const {
  if (!cfg.row_split) return x;
  return row_split_.collect(x, only_last ? std::vector<std::vector<std::int64_t>>() : share.of_rows, cfg.row_split->collect);
}

void Model::add_to(Trace& trace, const Tensor& h, const Config& cfg, const Share& share, bool only_last) const {
  const auto& norm = cfg.distributed_rms_norm;
  const std::optional<AllGatherConfig> gather = norm && norm->gather_tokens ? norm->gather_tokens
                                                : cfg.lm_head_1d            ? cfg.lm_head_1d->all_gather
                                                                            : std::nullopt;
  trace.hidden.push_back(collected(columns_.whole(h, gather), cfg, share, only_last));
}

Model::Output Model::finish(Tensor h, const Config& cfg, const Share& share, Logits logits) const {
  Output output;
  const Tensor normed = cfg.distributed_rms_norm ? distributed_rms_norm_.forward(h, cfg.norm, *cfg.distributed_rms_norm)
                                                 : norm_.forward(h, cfg.norm);  // [T or 1, hidden_size]
  const bool is_whole = cfg.distributed_rms_norm && cfg.distributed_rms_norm->gather_tokens;
  output.post_norm = is_whole ? columns_.piece(normed) : normed;
  output.pre_norm = std::move(h);
  if (logits == Logits::none) return output;
  Tensor own = cfg.lm_head_1d ? lm_head_1d_.forward(normed, cfg.lm_head, *cfg.lm_head_1d)
                              : lm_head_.forward(normed, cfg.lm_head);  // [T or 1, vocab_size]
  output.logits = collected(std::move(own), cfg, share, logits == Logits::last);
  return output;
}

Model::Output Model::forward(const Tensor& ids, const Config& cfg, std::span<State* const> states, Logits logits, Trace* trace) const {
  const Share share = share_of(ids, cfg, states);
  const RopeTables tables = rope_.tables(share.positions);
  std::vector<LatentCache*> caches(share.states.size());
  Tensor h = embedding_.forward(share.ids, cfg.embedding);  // [T, hidden_size]
  if (trace != nullptr) add_to(*trace, h, cfg, share, false);
  for (std::size_t layer_idx = 0; layer_idx < cfg.layers.size(); ++layer_idx) {
    ids.device()->enter_layer(static_cast<std::int64_t>(layer_idx));
    const bool only_last = logits == Logits::last && layer_idx + 1 == cfg.layers.size();
    const DecoderBlock::Rows last = share.has_last ? DecoderBlock::Rows::last : DecoderBlock::Rows::none;
    for (std::size_t idx = 0; idx < caches.size(); ++idx) caches[idx] = &share.states[idx]->layers[layer_idx];
    DecoderBlock::Output block = block_.forward(h, cfg.layers[layer_idx], tables, caches, only_last ? last : DecoderBlock::Rows::all);
    h = std::move(block.h);  // [T, hidden_size]; [1, hidden_size] after only_last
    if (trace == nullptr) continue;
    add_to(*trace, h, cfg, share, only_last);
    if (block.routing && cfg.row_split) {
      block.routing->indices = collected(block.routing->indices, cfg, share, only_last);  // [T, k]
      block.routing->weights = collected(block.routing->weights, cfg, share, only_last);  // [T, k]
    }
    trace->routing.push_back(std::move(block.routing));
  }
  ids.device()->enter_layer(-1);
  // Where other devices have the caches, the number of tokens is kept all the same.
  for (std::size_t idx = 0; cfg.row_split && idx < states.size(); ++idx) {
    for (LatentCache& cache : states[idx]->layers) cache.num_tokens = share.num_tokens_after[idx];
  }
  return finish(std::move(h), cfg, share, logits);
}

Mtp::Output Model::forward_mtp(std::size_t module_idx, const Output& main, const Tensor& next_ids, const Config& cfg, State& state) const {
  if (cfg.row_split) throw Error("[mtp] multi-token prediction on a mesh of several rows is not supported; use a mesh of one row");
  const Mtp::Config& module = cfg.mtp.at(module_idx);
  LatentCache& cache = state.mtp.at(module_idx);
  const std::int64_t num_ids = next_ids.dim(0);
  const RopeTables tables = rope_.tables(positions_from(cache.num_tokens, num_ids));
  const Tensor& source = module.hidden_source == HiddenSource::post_norm ? main.post_norm : main.pre_norm;
  const Tensor hidden = source.slice_rows(0, num_ids);  // [T, hidden_size]
  return mtp_.forward(hidden, next_ids, module, tables, cache);
}

}  // namespace meshseek
