#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "modules/model/model.hpp"

namespace meshseek {
namespace {

std::pmr::vector<std::int64_t> positions_from(std::int64_t first, std::int64_t count, std::pmr::memory_resource& memory) {
  std::pmr::vector<std::int64_t> positions(static_cast<std::size_t>(count), &memory);
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
/// \param in_row whether this row of the mesh runs the layer
LatentCache create_cache(const HfConfig& hf, const Model::Config& cfg, const Mla::Config& mla, std::int64_t capacity, Device& device,
                         std::int64_t owner, bool in_row) {
  const bool is_here = in_row && (!cfg.row_split || owner == device.communicator().rank());
  if (!is_here) return {.kv_lora_rank = hf.kv_lora_rank, .owner = owner};
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

Model::Model(const HfConfig& hf, const MeshDevice& part, const Pipeline& pipeline)
    : embedding_(hf, part),
      rope_(hf, part),
      block_(hf, part),
      norm_(hf, part),
      lm_head_(hf, part),
      mtp_(hf, part),
      distributed_rms_norm_(hf, part),
      lm_head_1d_(hf, part),
      row_split_(hf, part),
      pipeline_(pipeline),
      columns_(hf, part) {}

Model::State Model::create_state(const HfConfig& hf, const Config& cfg, std::int64_t capacity, Device& device, std::int64_t owner) {
  State state;
  const std::int64_t row = device.communicator().row();
  for (std::size_t layer_idx = 0; layer_idx < cfg.layers.size(); ++layer_idx) {
    const bool in_row = !cfg.pipeline || cfg.pipeline->layer_map.at(layer_idx) == row;
    state.layers.push_back(create_cache(hf, cfg, cfg.layers[layer_idx].mla, capacity, device, owner, in_row));
  }
  for (const Mtp::Config& module : cfg.mtp)
    state.mtp.push_back(create_cache(hf, cfg, module.block.mla, capacity, device, owner, !cfg.pipeline));
  return state;
}

std::vector<std::string> Model::parts_elsewhere(const Pipeline::Config& cfg, std::int64_t row) const {
  const Pipeline::Stage stage = pipeline_.stage(cfg, row);
  std::vector<std::string> parts = {"model.mtp"};
  if (!stage.is_first) parts.emplace_back("model.embedding");
  if (!stage.is_last) parts.insert(parts.end(), {"model.norm", "model.lm_head"});
  for (std::size_t layer_idx = 0; layer_idx < cfg.layer_map.size(); ++layer_idx) {
    if (cfg.layer_map[layer_idx] != row) parts.push_back(fmt::format("model.layers.{}", layer_idx));
  }
  return parts;
}

Model::Share Model::share_of(const Tensor& ids, const Config& cfg, std::span<State* const> states) const {
  const std::int64_t num_tokens = ids.dim(0);
  const std::int64_t per_sequence = num_tokens / static_cast<std::int64_t>(states.size());
  const std::int64_t row = ids.device()->communicator().row();
  std::pmr::memory_resource& memory = ids.device()->scratch();
  std::pmr::vector<std::int64_t> positions(&memory);
  positions.reserve(static_cast<std::size_t>(num_tokens));
  std::pmr::vector<std::int64_t> owners(&memory);
  Share share = {.positions = std::pmr::vector<std::int64_t>(&memory),
                 .states = std::pmr::vector<State*>(&memory),
                 .num_tokens_after = std::pmr::vector<std::int64_t>(&memory),
                 .stage = {.end_layer = static_cast<std::int64_t>(cfg.layers.size())}};
  for (const State* state : states) {
    const auto more = positions_from(state->num_tokens(), per_sequence, memory);
    positions.insert(positions.end(), more.begin(), more.end());
    owners.push_back(state->owner());
    share.num_tokens_after.push_back(state->num_tokens() + per_sequence);
  }
  if (cfg.pipeline) share.stage = pipeline_.stage(*cfg.pipeline, row);
  if (!cfg.row_split) {
    share.positions = std::move(positions);
    share.states.assign(states.begin(), states.end());
    share.ids = ids;
    return share;
  }
  check_forms(cfg);
  share.of_rows = row_split_.tokens_of_rows(owners, num_tokens, *cfg.row_split);
  const std::vector<std::int64_t>& tokens = share.of_rows.at(static_cast<std::size_t>(row));
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

/// Tokens begin..end of a share.
Model::Share Model::chunk_of(const Share& share, std::int64_t begin, std::int64_t end) {
  Share chunk = share;
  chunk.positions.assign(share.positions.begin() + begin, share.positions.begin() + end);
  chunk.ids = share.ids.slice_rows(begin, end);
  chunk.has_last = share.has_last && end == static_cast<std::int64_t>(share.positions.size());
  return chunk;
}

Tensor Model::collected(Tensor x, const Config& cfg, const Share& share, bool only_last) const {
  if (!cfg.row_split) return x;
  return row_split_.collect(x, only_last ? std::vector<std::vector<std::int64_t>>() : share.of_rows, cfg.row_split->collect);
}

/// The residual stream of all columns. \return [T, hidden_size]
Tensor Model::whole(const Tensor& h, const Config& cfg) const {
  const auto& norm = cfg.distributed_rms_norm;
  const std::optional<AllGatherConfig> gather = norm && norm->gather_tokens ? norm->gather_tokens
                                                : cfg.lm_head_1d            ? cfg.lm_head_1d->all_gather
                                                                            : std::nullopt;
  return columns_.whole(h, gather);
}

/// What a layer did, for the first row: into its trace, or on the way to it.
void Model::add_to(Trace& trace, const Tensor& h, std::optional<Routing> routing, const Config& cfg, const Share& share,
                   bool only_last) const {
  const Tensor tokens = whole(h, cfg);  // [T or 1, hidden_size]
  if (!share.stage.is_first) {
    pipeline_.send_result(tokens, *cfg.pipeline);
    if (!routing) return;
    pipeline_.send_result(routing->indices, *cfg.pipeline);
    pipeline_.send_result(routing->weights, *cfg.pipeline);
    return;
  }
  trace.hidden.push_back(collected(tokens, cfg, share, only_last));
  if (routing && cfg.row_split) {
    routing->indices = collected(routing->indices, cfg, share, only_last);  // [T or 1, k]
    routing->weights = collected(routing->weights, cfg, share, only_last);  // [T or 1, k]
  }
  trace.routing.push_back(std::move(routing));
}

/// On the first row of a pipeline: what the layers of the other rows did.
void Model::add_from_rows(Trace& trace, Device& device, const Config& cfg, const Share& share) const {
  for (auto layer_idx = static_cast<std::size_t>(share.stage.end_layer); layer_idx < cfg.layers.size(); ++layer_idx) {
    const std::int64_t row = cfg.pipeline->layer_map[layer_idx];
    trace.hidden.push_back(pipeline_.receive_result(device, row, *cfg.pipeline));  // [T or 1, hidden_size]
    std::optional<Routing>& routing = trace.routing.emplace_back();
    if (!cfg.layers[layer_idx].moe) continue;
    Tensor indices = pipeline_.receive_result(device, row, *cfg.pipeline);  // [T or 1, k]
    Tensor weights = pipeline_.receive_result(device, row, *cfg.pipeline);  // [T or 1, k]
    routing = Routing{.indices = std::move(indices), .weights = std::move(weights)};
  }
}

/// What follows the layers. \param h [T or 1, piece of hidden_size], of the device's row
Model::Output Model::finish(Tensor h, const Config& cfg, const Share& share, Logits logits) const {
  Output output;
  if (!share.stage.is_last) {
    if (share.stage.is_first && logits != Logits::none)
      output.logits = pipeline_.receive_result(*h.device(), pipeline_.last_row(), *cfg.pipeline);  // [T or 1, vocab_size]
    return output;
  }
  const Tensor normed = cfg.distributed_rms_norm ? distributed_rms_norm_.forward(h, cfg.norm, *cfg.distributed_rms_norm)
                                                 : norm_.forward(h, cfg.norm);  // [T or 1, hidden_size]
  const bool is_whole = cfg.distributed_rms_norm && cfg.distributed_rms_norm->gather_tokens;
  output.post_norm = is_whole ? columns_.piece(normed) : normed;
  output.pre_norm = std::move(h);
  if (logits == Logits::none) return output;
  Tensor own = cfg.lm_head_1d ? lm_head_1d_.forward(normed, cfg.lm_head, *cfg.lm_head_1d)
                              : lm_head_.forward(normed, cfg.lm_head);  // [T or 1, vocab_size]
  if (cfg.pipeline)
    pipeline_.send_result(own, *cfg.pipeline);
  else
    output.logits = collected(std::move(own), cfg, share, logits == Logits::last);
  return output;
}

/// This device's layers. \param h [T, piece of hidden_size]  \return [T, piece]; [1, piece] after the last layer with Logits::last
Tensor Model::run_layers(Tensor h, const Config& cfg, const Share& share, Logits logits, Trace* trace) const {
  const RopeTables tables = rope_.tables(share.positions, h.device()->scratch());
  std::pmr::vector<LatentCache*> caches(share.states.size(), &h.device()->scratch());
  Device& device = *h.device();
  const auto end = static_cast<std::size_t>(share.stage.end_layer);
  for (auto layer_idx = static_cast<std::size_t>(share.stage.first_layer); layer_idx < end; ++layer_idx) {
    device.enter_layer(static_cast<std::int64_t>(layer_idx));
    const bool only_last = logits == Logits::last && layer_idx + 1 == cfg.layers.size();
    const DecoderBlock::Rows last = share.has_last ? DecoderBlock::Rows::last : DecoderBlock::Rows::none;
    for (std::size_t idx = 0; idx < caches.size(); ++idx) caches[idx] = &share.states[idx]->layers[layer_idx];
    DecoderBlock::Output block = block_.forward(h, cfg.layers[layer_idx], tables, caches, only_last ? last : DecoderBlock::Rows::all);
    h = std::move(block.h);  // [T, hidden_size]; [1, hidden_size] after only_last
    if (trace != nullptr) add_to(*trace, h, std::move(block.routing), cfg, share, only_last);
  }
  device.enter_layer(-1);
  return h;
}

Model::Output Model::forward(const Tensor& ids, const Config& cfg, std::span<State* const> states, Logits logits, Trace* trace) const {
  const Share share = share_of(ids, cfg, states);
  Device& device = *ids.device();
  Tensor h;  // [T, hidden_size]
  const auto pass = [&](const Share& chunk) {
    h = chunk.stage.is_first ? embedding_.forward(chunk.ids, cfg.embedding) : pipeline_.receive(device, *cfg.pipeline);
    if (trace != nullptr && chunk.stage.is_first) trace->hidden.push_back(collected(whole(h, cfg), cfg, chunk, false));
    h = run_layers(std::move(h), cfg, chunk, logits, trace);
    if (!chunk.stage.is_last) pipeline_.pass_on(h, *cfg.pipeline);
  };
  // Pieces of a prompt of which the last token's logits are wanted, or none, pass through a pipeline one after the other; all the rest is one piece.
  const bool is_cut = cfg.pipeline && cfg.pipeline->chunk_tokens > 0 && logits != Logits::all && trace == nullptr && states.size() == 1;
  const std::int64_t step = is_cut ? cfg.pipeline->chunk_tokens : ids.dim(0);
  if (step >= ids.dim(0)) pass(share);
  for (std::int64_t begin = 0; step < ids.dim(0) && begin < ids.dim(0); begin += step)
    pass(chunk_of(share, begin, std::min(begin + step, ids.dim(0))));
  if (trace != nullptr && cfg.pipeline && share.stage.is_first) add_from_rows(*trace, device, cfg, share);
  // Where other devices have the caches, the number of tokens is kept all the same.
  for (std::size_t idx = 0; (cfg.row_split || cfg.pipeline) && idx < states.size(); ++idx) {
    for (LatentCache& cache : states[idx]->layers) cache.num_tokens = share.num_tokens_after[idx];
  }
  return finish(std::move(h), cfg, share, logits);
}

Mtp::Output Model::forward_mtp(std::size_t module_idx, const Output& main, const Tensor& next_ids, const Config& cfg, State& state) const {
  if (cfg.row_split || cfg.pipeline)
    throw Error("[mtp] multi-token prediction on a mesh of several rows is not supported; use a mesh of one row");
  const Mtp::Config& module = cfg.mtp.at(module_idx);
  LatentCache& cache = state.mtp.at(module_idx);
  const std::int64_t num_ids = next_ids.dim(0);
  const RopeTables tables = rope_.tables(positions_from(cache.num_tokens, num_ids, next_ids.device()->scratch()));
  const Tensor& source = module.hidden_source == HiddenSource::post_norm ? main.post_norm : main.pre_norm;
  const Tensor hidden = source.slice_rows(0, num_ids);  // [T, hidden_size]
  return mtp_.forward(hidden, next_ids, module, tables, cache);
}

}  // namespace meshseek
