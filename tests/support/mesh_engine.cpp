#include "tests/support/mesh_engine.hpp"

#include <exception>
#include <optional>
#include <thread>

#include "base/error.hpp"
#include "mesh/threads/thread_mesh.hpp"
#include "stage3_run/create_run_config.hpp"

namespace meshseek::testing {
namespace {

Tensor ids_tensor(std::span<const std::int64_t> ids, Device& device) {
  const std::vector<std::uint32_t> values(ids.begin(), ids.end());
  return Tensor::from<std::uint32_t>({static_cast<std::int64_t>(ids.size())}, values, &device);
}

}  // namespace

MeshEngine::MeshEngine(const Path& checkpoint, const MeshShape& mesh, const EngineOptions& options)
    : mesh_(mesh), hf_(read_hf_config(checkpoint)) {
  const bool is_store = looks_like_store(checkpoint);
  const Path store = is_store ? checkpoint : folder_.path() / "store";
  if (!is_store)
    convert_checkpoint(checkpoint, store,
                       {.mesh = weight_mesh(mesh, options.plan),
                        .deterministic = options.deterministic,
                        .dtype = options.dtype,
                        .dtype_policy = options.dtype_policy});
  const StoreInfo info = read_store_info(store);
  const auto num_threads = static_cast<std::int64_t>(std::max<std::size_t>(options.num_threads, 1));
  const auto configure = [&](Mode mode) {
    const Tree document = make_model_config(hf_, {.mode = mode,
                                                  .mesh = {.shape = mesh, .device = {.num_cores = num_threads}},
                                                  .plan = options.plan,
                                                  .deterministic = options.deterministic,
                                                  .weight_dtype = options.dtype,
                                                  .weight_config = info.weight_config,
                                                  .sets = options.sets});
    return *document.find("model");
  };
  const Tree prefill = configure(Mode::prefill);
  const Tree decode = configure(Mode::decode);
  model_ = std::make_unique<Model>(hf_, MeshDevice{.shape = mesh, .device = {}}, options.plan);
  for (const std::shared_ptr<Communicator>& door : make_thread_mesh(mesh)) {
    auto member = std::make_unique<MeshMember>();
    member->device = std::make_unique<Device>(static_cast<std::size_t>(num_threads), 0, door);
    RunConfigOptions merge;
    if (const Tree* pipeline = prefill.find("pipeline"))
      merge.elsewhere = model_->parts_elsewhere(from_tree<Pipeline::Config>(*pipeline, "model.pipeline"), door->row());
    WeightLoader loader(store, info.mesh, false, merge.elsewhere.empty() ? door->rank() : door->col());
    member->prefill = create_run_config<Model::Config>(prefill, info.weight_config, "model", loader, merge);
    member->decode = create_run_config<Model::Config>(decode, info.weight_config, "model", loader, merge);
    members_.push_back(std::move(member));
  }
}

void MeshEngine::on_all(const std::function<void(std::int64_t rank, MeshMember& member)>& work) {
  std::vector<std::exception_ptr> errors(members_.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < members_.size(); ++rank) {
      threads.emplace_back([&, rank] {
        try {
          work(static_cast<std::int64_t>(rank), *members_[rank]);
        } catch (const MeshError&) {
          // Another device failed, and says so itself.
        } catch (const std::exception& error) {
          errors[rank] = std::current_exception();
          members_[rank]->device->communicator().fail(error.what());
        }
      });
    }
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

void MeshEngine::create_sequences(std::int64_t count, std::int64_t capacity) {
  const auto num_devices = static_cast<std::int64_t>(members_.size());
  for (const std::unique_ptr<MeshMember>& member : members_) {
    member->sequences.clear();
    for (std::int64_t idx = 0; idx < count; ++idx)
      member->sequences.push_back(Model::create_state(hf_, member->decode, capacity, *member->device, idx % num_devices));
  }
}

Model::Output MeshEngine::prefill(std::span<const std::int64_t> ids, std::int64_t sequence_idx, Model::Logits logits, Model::Trace* trace) {
  std::vector<Model::Output> outputs(members_.size());
  std::vector<Model::Trace> traces(members_.size());
  on_all([&](std::int64_t rank, MeshMember& member) {
    Model::State* one = &member.sequences[static_cast<std::size_t>(sequence_idx)];
    const auto place = static_cast<std::size_t>(rank);
    outputs[place] = model_->forward(ids_tensor(ids, *member.device), member.prefill, std::span(&one, 1), logits,
                                     trace == nullptr ? nullptr : &traces[place]);
  });
  if (trace != nullptr) *trace = traces.front();
  return outputs.front();
}

Model::Output MeshEngine::decode(std::span<const std::int64_t> ids, std::span<const std::int64_t> sequence_idxs) {
  std::vector<Model::Output> outputs(members_.size());
  on_all([&](std::int64_t rank, MeshMember& member) {
    std::vector<Model::State*> states;
    for (const std::int64_t idx : sequence_idxs) states.push_back(&member.sequences[static_cast<std::size_t>(idx)]);
    member.device->make_room(states.size());
    outputs[static_cast<std::size_t>(rank)] = model_->forward(ids_tensor(ids, *member.device), member.decode, states, Model::Logits::all);
  });
  return outputs.front();
}

Mtp::Output MeshEngine::mtp(std::span<const std::int64_t> ids, std::int64_t sequence_idx) {
  std::vector<Mtp::Output> outputs(members_.size());
  on_all([&](std::int64_t rank, MeshMember& member) {
    Model::State* one = &member.sequences[static_cast<std::size_t>(sequence_idx)];
    const Model::Output main = model_->forward(ids_tensor(ids, *member.device), member.prefill, std::span(&one, 1), Model::Logits::none);
    outputs[static_cast<std::size_t>(rank)] =
        model_->forward_mtp(0, main, ids_tensor(ids.subspan(1), *member.device), member.prefill, *one);
  });
  return outputs.front();
}

}  // namespace meshseek::testing
