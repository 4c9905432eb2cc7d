#include "stage3_run/runner.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "config/model_config_file.hpp"
#include "stage3_run/create_run_config.hpp"

namespace meshseek {
namespace {

/// The "model" part of a model config document, after its frame has been checked.
const Tree& model_part(const Tree& document, const MeshShape& mesh, const std::string& mode) {
  const std::string where = mode + " config";
  const Tree& model = model_part_of(document, where);
  if (const std::string& given = document.find("mode")->as_string(where + " mode"); given != mode) {
    throw ConfigError(fmt::format("[{}] is for mode \"{}\"; expected \"{}\"", where, given, mode));
  }
  if (const std::string& given = document.find("mesh")->as_string(where + " mesh"); given != to_string(mesh)) {
    throw ConfigError(fmt::format("[{}] is for mesh {} but the store is for mesh {}; configure or convert for the same mesh", where, given,
                                  to_string(mesh)));
  }
  return model;
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

/// The lists of a whole model have as many elements as config.json says.
LayerCounts layer_counts(const HfConfig& hf) {
  return [&hf](std::string_view path) -> std::optional<std::int64_t> {
    if (path == "model.layers") return hf.num_hidden_layers;
    if (path == "model.mtp") return hf.num_nextn_predict_layers;
    return std::nullopt;
  };
}

}  // namespace

Runner::Runner(const Path& store, const Tree& prefill_config, const Tree& decode_config, const RunnerOptions& options) {
  const StoreInfo info = read_store_info(store);
  hf_ = read_hf_config(store);
  if (info.mesh.num_devices() != 1) {
    throw Error(fmt::format("[run] the store is for mesh {} but one device runs; convert it for 1x1 (meshseek convert STORE NEW_STORE)",
                            to_string(info.mesh)));
  }
  device_ = std::make_unique<Device>(options.num_threads);
  note_ = core_note(prefill_config, "prefill", *device_);
  if (note_.empty()) note_ = core_note(decode_config, "decode", *device_);
  if (options.strict && !note_.empty()) throw ConfigError(note_);
  WeightLoader loader(store, info.mesh, options.prefault);
  const RunConfigOptions merge = {.layer_counts = layer_counts(hf_), .team = &device_->team(), .on_progress = options.on_progress};
  prefill_ = create_run_config<Model::Config>(model_part(prefill_config, info.mesh, "prefill"), info.weight_config, "model", loader, merge);
  decode_ = create_run_config<Model::Config>(model_part(decode_config, info.mesh, "decode"), info.weight_config, "model", loader, merge);
  prefill_.mode = Mode::prefill;
  decode_.mode = Mode::decode;
  num_files_ = loader.num_files();
  weight_bytes_ = loader.bytes();
  model_ = std::make_unique<Model>(hf_, MeshDevice{.shape = info.mesh, .device = {}});
  capacity_ = options.max_tokens > 0 ? std::min(options.max_tokens, hf_.max_position_embeddings) : hf_.max_position_embeddings;
  reset();
}

void Runner::reset() { state_ = create_sequence(); }

void Runner::check_vocabulary(std::span<const std::int64_t> ids) const {
  if (ids.empty()) throw Error("[run] the prompt has no tokens; expected at least one");
  for (std::size_t position = 0; position < ids.size(); ++position) {
    if (ids[position] < 0 || ids[position] >= hf_.vocab_size) {
      throw Error(fmt::format("[run] token id {} at position {} is beyond the vocabulary of {}", ids[position], position, hf_.vocab_size));
    }
  }
}

void Runner::check_capacity(const Model::State& state, std::size_t num_new_ids) const {
  const std::int64_t needed = state.num_tokens() + static_cast<std::int64_t>(num_new_ids);
  if (needed > capacity_) {
    throw Error(fmt::format("[run] the context would be {} tokens; the limit is {} (max_position_embeddings {}); shorten the prompt",
                            needed, capacity_, hf_.max_position_embeddings));
  }
}

Tensor Runner::ids_tensor(std::span<const std::int64_t> ids) const {
  const std::vector<std::uint32_t> values(ids.begin(), ids.end());
  return Tensor::from<std::uint32_t>({static_cast<std::int64_t>(ids.size())}, values, device_.get());
}

Model::Output Runner::prefill(std::span<const std::int64_t> ids, Model::Logits logits, Model::Trace* trace) {
  check_vocabulary(ids);
  check_capacity(state_, ids.size());
  Model::State* own = &state_;
  return model_->forward(ids_tensor(ids), prefill_, std::span(&own, 1), logits, trace);
}

Model::Output Runner::decode(std::int64_t id, Model::Trace* trace) {
  Model::State* own = &state_;
  return decode(std::span(&id, 1), std::span(&own, 1), trace);
}

Model::Output Runner::decode(std::span<const std::int64_t> ids, std::span<Model::State* const> sequences, Model::Trace* trace) {
  check_vocabulary(ids);
  if (ids.size() != sequences.size())
    throw Error(fmt::format("[run] {} tokens for {} sequences; expected one token for each", ids.size(), sequences.size()));
  for (std::size_t idx = 0; idx < sequences.size(); ++idx) {
    check_capacity(*sequences[idx], 1);
    if (std::find(sequences.begin(), sequences.begin() + static_cast<std::ptrdiff_t>(idx), sequences[idx]) !=
        sequences.begin() + static_cast<std::ptrdiff_t>(idx))
      throw Error(fmt::format("[run] sequence {} is in the batch twice; expected different sequences", idx));
  }
  device_->make_room(sequences.size());
  return model_->forward(ids_tensor(ids), decode_, sequences, Model::Logits::all, trace);
}

Model::State Runner::create_sequence() { return Model::create_state(hf_, decode_, capacity_, *device_); }

Mtp::Output Runner::mtp(const Model::Output& main, std::span<const std::int64_t> ids) {
  if (prefill_.mtp.empty()) throw Error("[run] the model has no MTP module (num_nextn_predict_layers is 0)");
  if (ids.size() < 2) throw Error("[run] MTP needs at least two tokens: row i sees token i+1");
  check_vocabulary(ids);
  return model_->forward_mtp(0, main, ids_tensor(ids.subspan(1)), prefill_, state_);
}

}  // namespace meshseek
