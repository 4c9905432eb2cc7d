#include "stage3_run/device_threads.hpp"

#include <utility>

#include "base/waiting.hpp"

namespace meshseek {

DeviceThreads::DeviceThreads(const RunPlan& plan, std::span<const DevicePlace> places,
                             std::span<const std::shared_ptr<Communicator>> communicators)
    : watch_(communicators), plan_(plan), front_(communicators.front()) {
  for (std::size_t rank = 1; rank < places.size(); ++rank) {
    auto worker = std::make_unique<Worker>();
    worker->place = places[rank].team;
    worker->communicator = communicators[rank];
    workers_.push_back(std::move(worker));
  }
  for (const auto& worker : workers_) worker->thread = std::jthread([this, &worker = *worker] { work(worker); });
}

DeviceThreads::~DeviceThreads() { start({.kind = Command::Kind::stop}); }

template <class Work>
void DeviceThreads::guarded(Worker& worker, const Work& work) {
  try {
    work();
  } catch (...) {
    worker.error = error_in(*worker.communicator, std::current_exception());
    worker.communicator->fail(message_of(worker.error->error));
  }
}

void DeviceThreads::work(Worker& worker) {
  guarded(worker, [&] { worker.runner = std::make_unique<DeviceRunner>(plan_, worker.place, worker.communicator); });
  const int num_spins = worker.place.is_crowded ? 0 : spins_for(1);
  for (std::uint32_t seen = 1;; ++seen) {
    worker.done.store(seen, std::memory_order_release);
    worker.done.notify_one();
    while (worker.posted.load(std::memory_order_acquire) == seen) wait_while(worker.posted, seen, num_spins);
    if (command_.kind == Command::Kind::stop) break;
    guarded(worker, [&] { worker.runner->execute(command_); });
  }
  worker.runner.reset();
}

void DeviceThreads::start(const Command& command) {
  command_ = command;
  for (const auto& worker : workers_) {
    worker->posted.fetch_add(1, std::memory_order_release);
    worker->posted.notify_one();
  }
}

void DeviceThreads::finish(std::exception_ptr own) {
  std::vector<DeviceError> errors;
  if (own) errors.push_back(error_in(*front_, own));
  for (const auto& worker : workers_) {
    const std::uint32_t wanted = worker->posted.load(std::memory_order_relaxed);
    const int num_spins = worker->place.is_crowded ? 0 : spins_for(1);
    front_->progress().wait_for(worker->communicator->rank());
    for (std::uint32_t done = worker->done.load(std::memory_order_acquire); done != wanted;)
      done = wait_while(worker->done, done, num_spins);
    front_->progress().wait_for(-1);
    if (worker->error) errors.push_back(*std::exchange(worker->error, std::nullopt));
  }
  throw_cause(errors, plan_.mesh);
}

std::vector<DeviceTrace> DeviceThreads::collect_traces() {
  std::vector<DeviceTrace> traces;
  for (const auto& worker : workers_) traces.push_back(worker->runner->collect_trace());
  return traces;
}

}  // namespace meshseek
