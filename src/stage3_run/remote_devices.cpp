#include "stage3_run/remote_devices.hpp"

#include <array>
#include <string>
#include <utility>

#include "base/error.hpp"

namespace meshseek {
namespace {

/// What precedes ids and slots: kind, logits, slot, source, traced, number of ids, number of slots. Processes of a mesh run the same program.
using Head = std::array<std::int64_t, 7>;

template <class T>
std::span<const std::byte> bytes_of(const T& values) {
  return std::as_bytes(std::span(values));
}

/// A command with the memory of its ids and slots.
struct ReceivedCommand {
  Command command = {};
  std::vector<std::int64_t> ids = {};
  std::vector<std::int64_t> slots = {};
};

void receive(Communicator& communicator, ReceivedCommand& received) {
  Head head = {};
  communicator.receive(0, MessageTag::command, std::as_writable_bytes(std::span(head)));
  received.ids.resize(static_cast<std::size_t>(head[5]));
  received.slots.resize(static_cast<std::size_t>(head[6]));
  for (std::vector<std::int64_t>* list : {&received.ids, &received.slots}) {
    if (!list->empty()) communicator.receive(0, MessageTag::command, std::as_writable_bytes(std::span(*list)));
  }
  received.command = {.kind = static_cast<Command::Kind>(head[0]),
                      .logits = static_cast<Model::Logits>(head[1]),
                      .slot = head[2],
                      .source = head[3],
                      .is_traced = head[4] != 0,
                      .ids = received.ids,
                      .slots = received.slots};
}

void send_trace(Communicator& communicator, const DeviceTrace& trace) {
  const std::string text = to_lines(trace);
  const std::array<std::int64_t, 1> size = {static_cast<std::int64_t>(text.size())};
  communicator.send(0, MessageTag::command, bytes_of(size));
  communicator.send(0, MessageTag::command, bytes_of(text));
}

DeviceTrace receive_trace(Communicator& communicator, std::int64_t rank) {
  std::array<std::int64_t, 1> size = {};
  communicator.receive(rank, MessageTag::command, std::as_writable_bytes(std::span(size)));
  std::string text(static_cast<std::size_t>(size[0]), '\0');
  communicator.receive(rank, MessageTag::command, std::as_writable_bytes(std::span(text)));
  DeviceTrace trace = from_lines(text);
  trace.rank = rank;
  trace.mesh = communicator.shape();
  return trace;
}

}  // namespace

RemoteDevices::~RemoteDevices() {
  try {
    start({.kind = Command::Kind::stop});
  } catch (...) {  // a mesh that has failed ends without being told
  }
}

void RemoteDevices::load(std::int64_t capacity) { start({.kind = Command::Kind::load, .source = capacity}); }

void RemoteDevices::start(const Command& command) {
  const Head head = {static_cast<std::int64_t>(command.kind), static_cast<std::int64_t>(command.logits), command.slot, command.source,
                     command.is_traced ? 1 : 0,               static_cast<std::int64_t>(command.ids.size()),
                     static_cast<std::int64_t>(command.slots.size())};
  std::vector<Ticket> sent;
  for (std::int64_t rank = 1; rank < communicator_->shape().num_devices(); ++rank) {
    sent.push_back(communicator_->start_send(rank, MessageTag::command, bytes_of(head)));
    for (const std::span<const std::int64_t> list : {command.ids, command.slots}) {
      if (!list.empty()) sent.push_back(communicator_->start_send(rank, MessageTag::command, std::as_bytes(list)));
    }
  }
  for (const Ticket& ticket : sent) communicator_->wait(ticket);
}

void RemoteDevices::finish(std::exception_ptr own) {
  if (own) std::rethrow_exception(own);
}

std::vector<DeviceTrace> RemoteDevices::collect_traces() {
  std::vector<DeviceTrace> traces;
  for (std::int64_t rank = 1; rank < communicator_->shape().num_devices(); ++rank) traces.push_back(receive_trace(*communicator_, rank));
  return traces;
}

std::optional<std::int64_t> wait_for_load(Communicator& communicator) {
  ReceivedCommand received;
  receive(communicator, received);
  if (received.command.kind == Command::Kind::load) return received.command.source;
  return std::nullopt;
}

void serve_commands(DeviceRunner& runner, Communicator& communicator) {
  ReceivedCommand received;
  while (true) {
    receive(communicator, received);
    if (received.command.kind == Command::Kind::stop) return;
    if (received.command.kind == Command::Kind::collect_trace)
      send_trace(communicator, runner.collect_trace());
    else
      runner.execute(received.command);
  }
}

}  // namespace meshseek
