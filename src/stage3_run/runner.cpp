#include "stage3_run/runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <utility>

#include "base/error.hpp"
#include "config/model_config_file.hpp"
#include "config/serialise.hpp"
#include "mesh/handshake.hpp"
#include "mesh/threads/thread_mesh.hpp"
#include "stage3_run/device_threads.hpp"
#include "stage3_run/run_facts.hpp"

namespace meshseek {
namespace {

/// How layers lie over the rows of the mesh; unset: every row has all.
std::optional<Pipeline::Config> pipeline_of(const Tree& document, const std::string& where) {
  const Tree* pipeline = model_part_of(document, where).find("pipeline");
  if (pipeline == nullptr || pipeline->is_null()) return std::nullopt;
  return from_tree<Pipeline::Config>(*pipeline, "model.pipeline");
}

/// What a config says of the devices it is for.
struct MeshOfConfig {
  MeshShape shape = {};
  std::optional<Pipeline::Config> pipeline = {};
};

/// Checks what stands beside the "model" part of a model config document, that it fits the store, and the layers of a pipeline.
MeshOfConfig check_frame(const Tree& document, const StoreInfo& store, const HfConfig& hf, const std::string& mode) {
  const std::string where = mode + " config";
  MeshOfConfig mesh = {.pipeline = pipeline_of(document, where)};
  if (const std::string& given = document.find("mode")->as_string(where + " mode"); given != mode) {
    throw ConfigError(fmt::format("[{}] is for mode \"{}\"; expected \"{}\"", where, given, mode));
  }
  const std::string& given = document.find("mesh")->as_string(where + " mesh");
  mesh.shape = parse_mesh_shape(given);
  if (mesh.pipeline && weight_mesh(mesh.shape, ParallelPlan::pipeline) != store.mesh) {
    throw ConfigError(fmt::format("[{}] is for mesh {} as a pipeline but the store is for mesh {}; expected a store for one row, 1x{}",
                                  where, given, to_string(store.mesh), mesh.shape.cols));
  }
  if (mesh.pipeline) Pipeline(hf, {.shape = mesh.shape, .device = {}}).check(*mesh.pipeline);
  const bool deterministic = document.flag("deterministic", where);
  if (store.mesh.cols > 1 && deterministic != store.deterministic) {
    throw ConfigError(
        fmt::format("[{}] is {}deterministic but the store for mesh {} was converted {} --deterministic; expected the same of both", where,
                    deterministic ? "" : "not ", to_string(store.mesh), store.deterministic ? "with" : "without"));
  }
  if (!mesh.pipeline && mesh.shape != store.mesh) {
    throw ConfigError(fmt::format("[{}] is for mesh {} but the store is for mesh {}; configure or convert for the same mesh", where, given,
                                  to_string(store.mesh)));
  }
  return mesh;
}

/// Both modes share weights and caches.
void check_same_mesh(const MeshOfConfig& prefill, const MeshOfConfig& decode) {
  const auto text = [](const MeshOfConfig& mesh) {
    if (!mesh.pipeline) return to_string(mesh.shape);
    return fmt::format("{} as a pipeline with layers on rows [{}]", to_string(mesh.shape), fmt::join(mesh.pipeline->layer_map, ", "));
  };
  if (text(prefill) == text(decode)) return;
  throw ConfigError(
      fmt::format("[decode config] is for mesh {} but the prefill config for mesh {}; expected the same mesh, plan and layer_map",
                  text(decode), text(prefill)));
}

/// What to say about a config for another number of cores: its cores are then shared out over this device's threads. Empty: it fits.
std::string core_note(const Tree& document, const std::string& mode, const Device& device) {
  const Tree* description = document.find("device");
  const Tree* cores = description == nullptr ? nullptr : description->find("num_cores");
  if (cores == nullptr) return "";
  const std::int64_t planned = cores->as_integer(mode + " config device.num_cores");
  const std::int64_t actual = device.description().num_cores;
  if (planned == actual) return "";
  return fmt::format(
      "[{} config] was made for {} cores and this device has {}: its shares of the work are dealt to these; configure again for the best "
      "plan",
      mode, planned, actual);
}

}  // namespace

RunPlan make_run_plan(const Path& store, const Tree& prefill_config, const Tree& decode_config, const RunnerOptions& options) {
  RunPlan plan = {.store = store,
                  .info = read_store_info(store),
                  .hf = read_hf_config(store),
                  .prefill_config = prefill_config,
                  .decode_config = decode_config,
                  .prefault = options.prefault,
                  .on_progress = options.on_progress};
  const std::int64_t most = plan.hf.max_position_embeddings;
  plan.capacity = options.max_tokens > 0 ? std::min(options.max_tokens, most) : most;
  const MeshOfConfig mesh = check_frame(prefill_config, plan.info, plan.hf, "prefill");
  check_same_mesh(mesh, check_frame(decode_config, plan.info, plan.hf, "decode"));
  plan.mesh = mesh.shape;
  plan.pipeline = mesh.pipeline;
  return plan;
}

Runner::Runner(const Path& store, const Tree& prefill_config, const Tree& decode_config, const RunnerOptions& options)
    : plan_(make_run_plan(store, prefill_config, decode_config, options)) {
  load(options);
  note_ = core_note(prefill_config, "prefill", device());
  if (note_.empty()) note_ = core_note(decode_config, "decode", device());
  if (options.strict && !note_.empty()) throw ConfigError(note_);
  plan_.prefill_config = plan_.decode_config = {};
  reset();
}

void Runner::load(const RunnerOptions& options) {
  if (const FrontProcess& process = options.process; process.others) {
    others_ = process.others;
    const std::vector<Fact> facts = facts_of_run(plan_);  // before the others wait for them
    process.others->load(plan_.capacity);
    agree(*process.communicator, facts);
    return load_first(process.place.team, process.communicator);
  }
  const std::vector<DevicePlace> places = place_here(static_cast<std::size_t>(mesh().num_devices()), options.bind, options.num_threads);
  if (places.size() == 1) {
    first_ = std::make_unique<DeviceRunner>(plan_, places.front().team, nullptr);
    return;
  }
  const std::vector<std::shared_ptr<Communicator>> communicators = make_thread_mesh(mesh());
  others_ = std::make_shared<DeviceThreads>(plan_, places, communicators);
  load_first(places.front().team, communicators.front());
}

void Runner::load_first(const TeamPlace& place, const std::shared_ptr<Communicator>& communicator) {
  std::exception_ptr own;
  try {
    first_ = std::make_unique<DeviceRunner>(plan_, place, communicator);
  } catch (...) {
    own = std::current_exception();
    communicator->fail(message_of(own));
  }
  others_->finish(own);
}

template <class Own>
auto Runner::together(const Command& command, const Own& own) {
  if (!others_) return own();
  others_->start(command);
  std::optional<decltype(own())> result;
  std::exception_ptr error;
  try {
    result = own();
  } catch (...) {
    error = std::current_exception();
    device().communicator().fail(message_of(error));
  }
  others_->finish(error);
  return std::move(*result);
}

void Runner::together(const Command& command) {
  together(command, [&] {
    first_->execute(command);
    return true;
  });
}

void Runner::reset() { together({.kind = Command::Kind::create, .slot = kOwn}); }

void Runner::check_vocabulary(std::span<const std::int64_t> ids) const {
  if (ids.empty()) throw Error("[run] the prompt has no tokens; expected at least one");
  const std::int64_t vocab_size = plan_.hf.vocab_size;
  for (std::size_t position = 0; position < ids.size(); ++position) {
    if (ids[position] < 0 || ids[position] >= vocab_size) {
      throw Error(fmt::format("[run] token id {} at position {} is beyond the vocabulary of {}", ids[position], position, vocab_size));
    }
  }
}

void Runner::check_capacity(std::int64_t slot, std::size_t num_new_ids) {
  const std::int64_t needed = num_tokens(slot) + static_cast<std::int64_t>(num_new_ids);
  if (needed > capacity()) {
    throw Error(fmt::format("[run] the context would be {} tokens; the limit is {} (max_position_embeddings {}); shorten the prompt",
                            needed, capacity(), plan_.hf.max_position_embeddings));
  }
}

void Runner::check_slot(std::int64_t slot) const {
  if (!slots_.contains(slot)) throw Error(fmt::format("[run] there is no sequence in slot {}", slot));
}

Model::Output Runner::prefill(std::span<const std::int64_t> ids, Model::Logits logits, Model::Trace* trace, std::int64_t slot) {
  check_vocabulary(ids);
  check_slot(slot);
  check_capacity(slot, ids.size());
  return together({.kind = Command::Kind::prefill, .logits = logits, .slot = slot, .is_traced = trace != nullptr, .ids = ids},
                  [&] { return first_->prefill(ids, slot, logits, trace); });
}

Model::Output Runner::decode(std::int64_t id, Model::Trace* trace) {
  const std::int64_t own = kOwn;
  return decode(std::span(&id, 1), std::span(&own, 1), trace);
}

Model::Output Runner::decode(std::span<const std::int64_t> ids, std::span<const std::int64_t> slots, Model::Trace* trace) {
  check_vocabulary(ids);
  if (ids.size() != slots.size())
    throw Error(fmt::format("[run] {} tokens for {} sequences; expected one token for each", ids.size(), slots.size()));
  for (std::size_t idx = 0; idx < slots.size(); ++idx) {
    check_slot(slots[idx]);
    check_capacity(slots[idx], 1);
    if (std::ranges::find(slots.first(idx), slots[idx]) != slots.first(idx).end())
      throw Error(fmt::format("[run] sequence {} is in the batch twice; expected different sequences", idx));
  }
  return together({.kind = Command::Kind::decode, .is_traced = trace != nullptr, .ids = ids, .slots = slots},
                  [&] { return first_->decode(ids, slots, trace); });
}

std::int64_t Runner::take_slot() {
  std::int64_t slot = kOwn;
  while (slots_.contains(slot)) ++slot;
  slots_.insert(slot);
  return slot;
}

void Runner::drop(std::int64_t slot) noexcept {
  slots_.erase(slot);
  try {
    together({.kind = Command::Kind::drop, .slot = slot});
  } catch (...) {  // a mesh that has failed: the next call says so
  }
}

Sequence Runner::create_sequence() {
  Sequence sequence(*this, take_slot());
  together({.kind = Command::Kind::create, .slot = sequence.slot()});
  return sequence;
}

Sequence Runner::copy_sequence(std::int64_t slot) {
  Sequence sequence(*this, take_slot());
  together({.kind = Command::Kind::copy, .slot = sequence.slot(), .source = slot});
  return sequence;
}

Mtp::Output Runner::mtp(const Model::Output& main, std::span<const std::int64_t> ids) {
  if (prefill_run_config().mtp.empty()) throw Error("[run] the model has no MTP module (num_nextn_predict_layers is 0)");
  if (ids.size() < 2) throw Error("[run] MTP needs at least two tokens: row i sees token i+1");
  check_vocabulary(ids);
  return together({.kind = Command::Kind::mtp, .slot = kOwn, .ids = ids}, [&] { return first_->mtp(&main, ids, kOwn); });
}

void Runner::start_trace() { together({.kind = Command::Kind::start_trace}); }

std::vector<DeviceTrace> Runner::collect_trace() {
  together({.kind = Command::Kind::collect_trace});
  std::vector<DeviceTrace> traces = {first_->collect_trace()};
  if (others_) std::ranges::move(others_->collect_traces(), std::back_inserter(traces));
  return traces;
}

}  // namespace meshseek
