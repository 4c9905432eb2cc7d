#include "mesh/mpi_mesh.hpp"

#include <fmt/format.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <exception>
#include <thread>
#include <vector>

#include "base/waiting.hpp"
#include "mesh/handshake.hpp"
#include "mesh/last_words.hpp"
#include "mesh/watchdog.hpp"

namespace meshseek {
namespace {

std::string text_of_error(int error) {
  std::string text(MPI_MAX_ERROR_STRING, '\0');
  int size = 0;
  MPI_Error_string(error, text.data(), &size);
  text.resize(static_cast<std::size_t>(size));
  return text;
}

void check(int error, std::string_view what) {
  if (error != MPI_SUCCESS) throw MeshError(fmt::format("[mpi] {}: {}", what, text_of_error(error)));
}

/// A launcher binds a process to few cores. How many threads a device has is decided by our own options, so the process gets what its
/// parent, the launcher, has.
void undo_binding() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (sched_getaffinity(getppid(), sizeof(cpus), &cpus) == 0) sched_setaffinity(0, sizeof(cpus), &cpus);
}

/// Rank 0 says what is wrong with all; when another one ends first, the launcher leaves it a second.
[[noreturn]] void leave_silently() {
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  _exit(kExitFailure);
}

/// Polls, for MPI has no sleep: a moment at full speed when cores are free, then with pauses that grow to a quarter of a millisecond.
class Poll {
 public:
  explicit Poll(int num_spins) : num_spins_(num_spins) {}
  void pause() {
    constexpr int kYields = 200;
    constexpr std::chrono::microseconds kLongest(250);
    if (++round_ < num_spins_) return pause_core();
    if (round_ < num_spins_ + kYields) return std::this_thread::yield();
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(2 * sleep_, kLongest);
  }

 private:
  int num_spins_;
  int round_ = 0;
  std::chrono::microseconds sleep_{10};
};

class MpiTransport : public Transport {
 public:
  MpiTransport(MPI_Comm comm, int num_spins) : comm_(comm), num_spins_(num_spins) {}
  void set_watchdog(Watchdog* watchdog) { watchdog_ = watchdog; }

  Ticket start_send(std::int64_t peer, MessageTag tag, std::span<const std::byte> bytes) override {
    Operation& operation = add(tag, bytes.size());
    check(MPI_Isend(bytes.data(), operation.count, MPI_BYTE, static_cast<int>(peer), static_cast<int>(tag), comm_, &operation.request),
          "send");
    return {.peer = peer, .number = last_number_, .is_send = true};
  }

  Ticket start_receive(std::int64_t peer, MessageTag tag, std::span<std::byte> bytes) override {
    Operation& operation = add(tag, bytes.size());
    check(MPI_Irecv(bytes.data(), operation.count, MPI_BYTE, static_cast<int>(peer), MPI_ANY_TAG, comm_, &operation.request), "receive");
    return {.peer = peer, .number = last_number_, .is_send = false};
  }

  void wait(const Ticket& ticket) override {
    const auto found = std::ranges::find(operations_, ticket.number, &Operation::number);
    if (found == operations_.end()) return;  // was waited for
    MPI_Status status;
    int is_done = 0;
    Poll poll(num_spins_);
    while (true) {
      const int error = MPI_Test(&found->request, &is_done, &status);
      if (error != MPI_SUCCESS) {
        throw MeshError(
            fmt::format("[mesh] a message of device {} does not arrive as {} of {} bytes: {}; all devices must run the same operators in "
                        "the same order, on equal shapes",
                        ticket.peer, to_string(found->tag), found->count, text_of_error(error)));
      }
      if (is_done != 0) break;
      poll.pause();
    }
    const Operation operation = *found;
    operations_.erase(found);
    if (!ticket.is_send) check_message(operation, status, ticket.peer);
  }

  void fail(std::string_view message) override {
    std::fflush(stdout);
    watchdog_->fail(message);
  }

 private:
  struct Operation {
    std::uint64_t number = 0;
    MPI_Request request = MPI_REQUEST_NULL;
    MessageTag tag = MessageTag::command;
    int count = 0;
  };

  Operation& add(MessageTag tag, std::size_t num_bytes) {
    if (num_bytes > INT_MAX)
      throw MeshError(fmt::format("[mesh] a message of {} bytes; expected at most {}: compute fewer tokens at once", num_bytes, INT_MAX));
    operations_.push_back({.number = ++last_number_, .tag = tag, .count = static_cast<int>(num_bytes)});
    return operations_.back();
  }

  static void check_message(const Operation& operation, const MPI_Status& status, std::int64_t peer) {
    int count = 0;
    MPI_Get_count(&status, MPI_BYTE, &count);
    const auto tag = static_cast<MessageTag>(status.MPI_TAG);
    if (tag != operation.tag) {
      throw MeshError(
          fmt::format("[mesh] device {} sent a message of {} where {} was expected; all devices must run the same operators in the same "
                      "order, on equal shapes",
                      peer, to_string(tag), to_string(operation.tag)));
    }
    if (count != operation.count) {
      throw MeshError(
          fmt::format("[mesh] device {} sent {} bytes in {} where {} were expected; all devices must run the same operators in the same "
                      "order, on equal shapes",
                      peer, count, to_string(tag), operation.count));
    }
  }

  MPI_Comm comm_;
  int num_spins_;
  Watchdog* watchdog_ = nullptr;
  std::uint64_t last_number_ = 0;
  std::vector<Operation> operations_;  ///< under way
};

}  // namespace

struct MpiMesh::State {
  MPI_Comm comm = MPI_COMM_NULL;
  int num_local_ranks = 1;
  int local_rank = 0;
  std::shared_ptr<Communicator> communicator;
  std::unique_ptr<Watchdog> watchdog;

  void join(const MeshShape& shape);
};

void MpiMesh::State::join(const MeshShape& shape) {
  int rank = 0;
  int size = 0;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  MPI_Comm host = MPI_COMM_NULL;
  MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_size(host, &num_local_ranks);
  MPI_Comm_rank(host, &local_rank);
  MPI_Comm_free(&host);
  if (size != shape.num_devices()) {
    MPI_Finalize();
    if (rank != 0) leave_silently();
    throw Error(fmt::format("[mpi] {} ranks for the {} devices of mesh {}; expected mpirun -n {}", size, shape.num_devices(),
                            to_string(shape), shape.num_devices()));
  }
  auto transport = std::make_unique<MpiTransport>(comm, spins_for(static_cast<std::size_t>(num_local_ranks)));
  MpiTransport& own_transport = *transport;
  communicator = std::make_shared<Communicator>(shape, rank, std::move(transport));
  MeetingPoint meeting_point;
  if (rank == 0) {
    watchdog = std::make_unique<Watchdog>(size, communicator->progress());
    meeting_point = watchdog->meeting_point();
  }
  check(MPI_Bcast(&meeting_point, sizeof(meeting_point), MPI_BYTE, 0, comm), "broadcast");
  if (rank != 0) watchdog = std::make_unique<Watchdog>(rank, size, meeting_point, communicator->progress());
  own_transport.set_watchdog(watchdog.get());
  agree(*communicator, facts_of_program(shape));
}

MpiMesh::MpiMesh(const MeshShape& shape) : state_(std::make_unique<State>()) {
  undo_binding();
  Watchdog::block_signals();
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  if (provided < MPI_THREAD_SERIALIZED)
    throw Error("[mpi] this MPI allows calls from its first thread only; expected MPI_THREAD_SERIALIZED");
  // It binds processes itself when a launcher asked for it.
  undo_binding();
  state_->join(shape);
}

MpiMesh::~MpiMesh() {
  if (std::uncaught_exceptions() > 0) state_->communicator->fail("it ended with an error");
  state_->communicator->progress().enter_pause("the end of the job");
  MPI_Comm_free(&state_->comm);
  MPI_Finalize();
  state_->watchdog.reset();
}

const std::shared_ptr<Communicator>& MpiMesh::communicator() const { return state_->communicator; }
std::int64_t MpiMesh::num_local_ranks() const { return state_->num_local_ranks; }
std::int64_t MpiMesh::local_rank() const { return state_->local_rank; }

}  // namespace meshseek
