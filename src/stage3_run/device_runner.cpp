#include "stage3_run/device_runner.hpp"

#include <algorithm>
#include <utility>

#include "config/model_config_file.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/memory.hpp"
#include "stage3_run/create_run_config.hpp"

namespace meshseek {
namespace {

/// The lists of a whole model have as many elements as config.json says.
LayerCounts layer_counts(const HfConfig& hf) {
  return [&hf](std::string_view path) -> std::optional<std::int64_t> {
    if (path == "model.layers") return hf.num_hidden_layers;
    if (path == "model.mtp") return hf.num_nextn_predict_layers;
    return std::nullopt;
  };
}

/// \param to an empty cache on the same device; only the owner has rows
void copy_cache(const LatentCache& from, LatentCache& to) {
  to.num_tokens = from.num_tokens;
  if (from.rows.rank() < 2) return;
  const std::int64_t width = from.rows.dim(1);
  const cpu::RowReader reader(from.rows, width);
  const cpu::RowWriter writer(to.rows, width);
  std::vector<float> line(static_cast<std::size_t>(width));
  for (std::int64_t token = 0; token < from.num_tokens; ++token) {
    reader.read(token, line.data());
    writer.write(token, line.data());
  }
}

/// What a device does when it has been made, and after each command.
constexpr const char* kPause = "the pause between passes";

}  // namespace

DeviceRunner::DeviceRunner(const RunPlan& plan, const TeamPlace& team, std::shared_ptr<Communicator> communicator)
    : hf_(plan.hf),
      device_(team, 0, std::move(communicator)),
      model_(hf_, MeshDevice{.shape = plan.mesh, .device = {}}, plan.pipeline ? ParallelPlan::pipeline : ParallelPlan::users),
      capacity_(plan.capacity) {
  const Communicator& place = device_.communicator();
  device_.communicator().progress().enter_preparation("loading");
  WeightLoader loader(plan.store, plan.info.mesh, plan.prefault, plan.pipeline ? place.col() : place.rank());
  RunConfigOptions merge = {.layer_counts = layer_counts(hf_), .team = &device_.team()};
  if (place.rank() == 0) merge.on_progress = plan.on_progress;
  if (plan.pipeline) merge.elsewhere = model_.parts_elsewhere(*plan.pipeline, place.row());
  const Tree& weights = plan.info.weight_config;
  prefill_ = create_run_config<Model::Config>(model_part_of(plan.prefill_config, "prefill config"), weights, "model", loader, merge);
  decode_ = create_run_config<Model::Config>(model_part_of(plan.decode_config, "decode config"), weights, "model", loader, merge);
  prefill_.mode = Mode::prefill;
  decode_.mode = Mode::decode;
  num_files_ = loader.num_files();
  weight_bytes_ = loader.bytes();
  device_.communicator().progress().enter_pause(kPause);
}

Tensor DeviceRunner::ids_tensor(std::span<const std::int64_t> ids) {
  Tensor tensor = make_result({static_cast<std::int64_t>(ids.size())}, DataType::uint32, device_);  // [T]
  std::copy(ids.begin(), ids.end(), tensor.mutable_data<std::uint32_t>().begin());
  return tensor;
}

template <class Work>
auto DeviceRunner::pass(const Work& work) {
  auto result = work();
  device_.communicator().progress().enter_pause(kPause);
  return result;
}

Model::Output DeviceRunner::keep(Model::Output output) {
  if (device_.communicator().shape().num_devices() > 1 && !prefill_.mtp.empty()) last_ = output;
  return output;
}

Model::Output DeviceRunner::prefill(std::span<const std::int64_t> ids, std::int64_t slot, Model::Logits logits, Model::Trace* trace) {
  Model::State* state = &sequence(slot);
  return pass([&] { return keep(model_.forward(ids_tensor(ids), prefill_, std::span(&state, 1), logits, trace)); });
}

Model::Output DeviceRunner::decode(std::span<const std::int64_t> ids, std::span<const std::int64_t> slots, Model::Trace* trace) {
  batch_.clear();
  for (const std::int64_t slot : slots) batch_.push_back(&sequence(slot));
  device_.make_room(slots.size());
  return pass([&] { return keep(model_.forward(ids_tensor(ids), decode_, batch_, Model::Logits::all, trace)); });
}

Mtp::Output DeviceRunner::mtp(const Model::Output* main, std::span<const std::int64_t> ids, std::int64_t slot) {
  const Model::Output& hidden = main == nullptr ? last_ : *main;
  return pass([&] { return model_.forward_mtp(0, hidden, ids_tensor(ids.subspan(1)), prefill_, sequence(slot)); });
}

void DeviceRunner::create(std::int64_t slot) {
  // Users go to the rows in turn, and within a row to its devices in turn.
  const MeshShape& mesh = device_.communicator().shape();
  create_at(slot, slot % mesh.rows * mesh.cols + slot / mesh.rows % mesh.cols);
}

void DeviceRunner::create_at(std::int64_t slot, std::int64_t owner) {
  sequences_.insert_or_assign(slot, Model::create_state(hf_, decode_, capacity_, device_, owner));
}

void DeviceRunner::copy(std::int64_t slot, std::int64_t source) {
  // A long context takes its time on the owner alone, while the others may have begun the next pass.
  device_.communicator().progress().enter_preparation("copying a sequence");
  create_at(slot, sequence(source).owner());
  const Model::State& from = sequence(source);
  Model::State& to = sequence(slot);
  for (std::size_t idx = 0; idx < from.layers.size(); ++idx) copy_cache(from.layers[idx], to.layers[idx]);
  for (std::size_t idx = 0; idx < from.mtp.size(); ++idx) copy_cache(from.mtp[idx], to.mtp[idx]);
  device_.communicator().progress().enter_pause(kPause);
}

void DeviceRunner::execute(const Command& command) {
  Model::Trace trace;
  Model::Trace* wanted = command.is_traced ? &trace : nullptr;
  switch (command.kind) {
    case Command::Kind::prefill:
      prefill(command.ids, command.slot, command.logits, wanted);
      return;
    case Command::Kind::decode:
      decode(command.ids, command.slots, wanted);
      return;
    case Command::Kind::mtp:
      mtp(nullptr, command.ids, command.slot);
      return;
    case Command::Kind::create:
      return create(command.slot);
    case Command::Kind::copy:
      return copy(command.slot, command.source);
    case Command::Kind::drop:
      return drop(command.slot);
    case Command::Kind::start_trace:
      return start_trace();
    case Command::Kind::collect_trace:  // whoever leads the device asks for it: it has somewhere to go
    case Command::Kind::load:
    case Command::Kind::stop:
      return;
  }
}

void DeviceRunner::start_trace() { trace_ = std::make_unique<TraceRecorder>(device_, prefill_, decode_); }

DeviceTrace DeviceRunner::collect_trace() {
  if (!trace_) return {};
  DeviceTrace trace = trace_->take();
  trace_.reset();
  return trace;
}

}  // namespace meshseek
