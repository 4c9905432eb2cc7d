#include "mesh/watchdog.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "mesh/beat.hpp"
#include "mesh/last_words.hpp"
#include "mesh/standstill.hpp"

namespace meshseek {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kBeatInterval = milliseconds(100);
/// Without a beat for so long a process counts as hanging. Much more than a busy machine delays a thread.
constexpr auto kSilence = milliseconds(10'000);
/// After a break of its own (stopped, or suspended with the machine) a process does not judge the others by it.
constexpr auto kOwnBreak = milliseconds(2'000);
/// Between the message and the end, so that it and the others' orders arrive.
constexpr auto kGrace = milliseconds(300);
/// After the launcher's SIGTERM: it comes when some rank has died, which is about to be found; its SIGKILL follows after a second.
constexpr auto kLastWords = milliseconds(700);

/// A file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void reset() { *this = Descriptor(); }

 private:
  int fd_;
};

/// A process at the other end of a connection.
struct Peer {
  std::int64_t rank = -1;  ///< unknown until its first beat
  Descriptor socket;
  Clock::time_point last_heard = Clock::now();
  Beat last = {};
  std::array<char, sizeof(Beat)> buffer = {};
  std::size_t num_buffered = 0;
  bool has_left = false;
};

std::vector<in_addr> own_addresses() {
  std::vector<in_addr> addresses;
  std::vector<in_addr> loopbacks;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET || (entry->ifa_flags & IFF_UP) == 0) continue;
    const in_addr address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr;
    ((entry->ifa_flags & IFF_LOOPBACK) != 0 ? loopbacks : addresses).push_back(address);
  }
  freeifaddrs(list);
  addresses.insert(addresses.end(), loopbacks.begin(), loopbacks.end());
  return addresses;
}

Descriptor open_socket() {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) throw Error(fmt::format("[mesh] no socket for the watchdog: {}", std::strerror(errno)));
  const int on = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return socket;
}

/// A connection, or nothing when the address does not answer in time.
std::optional<Descriptor> try_to_connect(const in_addr& address, std::uint16_t port) {
  constexpr int kTimeoutMs = 3'000;
  Descriptor socket = open_socket();
  const sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address, .sin_zero = {}};
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&target), sizeof(target)) != 0) {
    if (errno != EINPROGRESS) return std::nullopt;
    pollfd waiting = {.fd = socket.get(), .events = POLLOUT, .revents = 0};
    int error = 0;
    socklen_t size = sizeof(error);
    if (poll(&waiting, 1, kTimeoutMs) != 1 || getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
      return std::nullopt;
  }
  return socket;
}

/// Waits for one whole beat.
bool receive_beat(int fd, Beat& beat, milliseconds timeout) {
  std::size_t num_read = 0;
  const auto end = Clock::now() + timeout;
  while (num_read < sizeof(beat)) {
    pollfd waiting = {.fd = fd, .events = POLLIN, .revents = 0};
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now()).count();
    if (left <= 0 || poll(&waiting, 1, static_cast<int>(left)) < 0) return false;
    const ssize_t got = recv(fd, reinterpret_cast<char*>(&beat) + num_read, sizeof(beat) - num_read, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (got > 0) num_read += static_cast<std::size_t>(got);
  }
  return true;
}

void send_beat(int fd, const Beat& beat) {
  [[maybe_unused]] const ssize_t sent = ::send(fd, &beat, sizeof(beat), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

struct Watchdog::State {
  State(std::int64_t own_rank, std::int64_t num_processes, const Progress& own_progress)
      : rank(own_rank), num_ranks(num_processes), progress(own_progress) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    signals = Descriptor(signalfd(-1, &term, SFD_NONBLOCK | SFD_CLOEXEC));
    if (pipe2(wake_ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) throw Error("[mesh] no pipe for the watchdog");
    wake_read = Descriptor(wake_ends[0]);
    wake_write = Descriptor(wake_ends[1]);
  }

  bool is_hub() const { return rank == 0; }
  Beat beat(Beat::Kind kind) const { return make_beat(kind, rank, meeting_point.token, progress); }

  void listen();
  void meet();
  void watch(const std::stop_token& stop);
  void poll_once();
  void accept_peers();
  void hear(Peer& peer);
  void hear_for(milliseconds time);
  void take(Peer& peer, const Beat& beat);
  void lose(Peer& peer, std::string_view how);
  void judge_silence();
  void judge_standstill();
  void send_beats(Beat::Kind kind);
  [[noreturn]] void end_job(std::string_view message);
  [[noreturn]] void obey_signal();
  std::optional<Beat> waiting_for(std::int64_t lost) const;

  const std::int64_t rank;
  const std::int64_t num_ranks;
  const Progress& progress;
  MeetingPoint meeting_point;
  Descriptor listener;
  Descriptor signals;
  std::array<int, 2> wake_ends = {-1, -1};
  Descriptor wake_read;
  Descriptor wake_write;
  std::vector<Peer> peers;
  StandstillJudge standstill{hang_limit()};  ///< of rank 0
  Clock::time_point last_round = Clock::now();
  Clock::time_point next_beat = Clock::now();
  std::mutex failure_mutex;
  std::string failure;  ///< reported by this process
  std::jthread thread;
};

void Watchdog::State::listen() {
  listener = open_socket();
  sockaddr_in address = {.sin_family = AF_INET, .sin_port = 0, .sin_addr = {.s_addr = INADDR_ANY}, .sin_zero = {}};
  socklen_t size = sizeof(address);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(listener.get(), SOMAXCONN) != 0 ||
      getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw Error(fmt::format("[mesh] the watchdog cannot listen: {}", std::strerror(errno)));
  }
  meeting_point.port = ntohs(address.sin_port);
  if (getrandom(meeting_point.token.data(), sizeof(meeting_point.token), 0) != sizeof(meeting_point.token))
    throw Error("[mesh] no random token");
  const std::vector<in_addr> addresses = own_addresses();
  meeting_point.num_addresses = static_cast<std::uint16_t>(std::min(addresses.size(), meeting_point.addresses.size()));
  std::copy_n(addresses.begin(), meeting_point.num_addresses, meeting_point.addresses.begin());
}

void Watchdog::State::meet() {
  // Another host may have the same address (a loopback, a private network): only who answers with the token is rank 0.
  for (std::size_t idx = 0; idx < meeting_point.num_addresses; ++idx) {
    std::optional<Descriptor> socket = try_to_connect(meeting_point.addresses[idx], meeting_point.port);
    if (!socket) continue;
    send_beat(socket->get(), beat(Beat::Kind::alive));
    Beat answer;
    if (!receive_beat(socket->get(), answer, milliseconds(3'000)) || answer.token != meeting_point.token) continue;
    Peer& hub = peers.emplace_back();
    hub.socket = std::move(*socket);
    return take(hub, answer);
  }
  throw Error(fmt::format(
      "[mesh] rank {} on host {} cannot reach rank 0's watchdog on port {} at any of its {} addresses; let the hosts of the mesh "
      "connect to each other",
      rank, host_of(beat(Beat::Kind::alive)), meeting_point.port, meeting_point.num_addresses));
}

void Watchdog::State::watch(const std::stop_token& stop) {
  while (!stop.stop_requested()) poll_once();
  send_beats(Beat::Kind::leaving);
}

void Watchdog::State::poll_once() {
  std::vector<pollfd> waiting = {{.fd = wake_read.get(), .events = POLLIN, .revents = 0},
                                 {.fd = signals.get(), .events = POLLIN, .revents = 0}};
  if (listener.is_open()) waiting.push_back({.fd = listener.get(), .events = POLLIN, .revents = 0});
  for (const Peer& peer : peers) {
    if (peer.socket.is_open()) waiting.push_back({.fd = peer.socket.get(), .events = POLLIN, .revents = 0});
  }
  poll(waiting.data(), waiting.size(), static_cast<int>(kBeatInterval.count()));
  {
    const std::lock_guard lock(failure_mutex);
    if (!failure.empty()) end_job(failure);
  }
  const auto now = Clock::now();
  if (now - last_round > kOwnBreak) {
    for (Peer& peer : peers) peer.last_heard = now;
    standstill.forgive(now);
  }
  last_round = now;
  for (Peer& peer : peers) hear(peer);
  if (listener.is_open()) accept_peers();
  judge_silence();
  if (is_hub()) judge_standstill();
  signalfd_siginfo signal;
  if (read(signals.get(), &signal, sizeof(signal)) == sizeof(signal)) obey_signal();
  if (now >= next_beat) {
    send_beats(Beat::Kind::alive);
    next_beat = now + kBeatInterval;
  }
}

void Watchdog::State::accept_peers() {
  while (true) {
    Descriptor socket(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.is_open()) return;
    Beat hello;
    if (!receive_beat(socket.get(), hello, milliseconds(1'000)) || hello.token != meeting_point.token) continue;
    send_beat(socket.get(), beat(Beat::Kind::alive));
    Peer& peer = peers.emplace_back();
    peer.socket = std::move(socket);
    take(peer, hello);
  }
}

void Watchdog::State::hear(Peer& peer) {
  while (peer.socket.is_open()) {
    const ssize_t got = recv(peer.socket.get(), peer.buffer.data() + peer.num_buffered, peer.buffer.size() - peer.num_buffered, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      peer.socket.reset();
      if (!peer.has_left) lose(peer, "it died (its connection was closed)");
      return;
    }
    peer.num_buffered += static_cast<std::size_t>(got);
    if (peer.num_buffered < peer.buffer.size()) continue;
    Beat beat;
    std::memcpy(&beat, peer.buffer.data(), sizeof(beat));
    peer.num_buffered = 0;
    take(peer, beat);
  }
}

void Watchdog::State::take(Peer& peer, const Beat& beat) {
  peer.rank = beat.rank;
  peer.last_heard = Clock::now();
  peer.last = beat;
  standstill.note(beat, peer.last_heard);
  if (beat.kind == Beat::Kind::leaving) peer.has_left = true;
  // An order of rank 0: it has printed the message.
  if (beat.kind == Beat::Kind::end) _exit(kExitFailure);
  if (beat.kind == Beat::Kind::failed) end_job(message_of(beat));
}

void Watchdog::State::lose(Peer& peer, std::string_view how) {
  const std::optional<Beat> waiting = waiting_for(peer.rank);
  const std::string message = loss_of(peer.last, how, waiting ? &*waiting : nullptr);
  // When rank 0 is lost, the next ranks speak in turn.
  if (!is_hub()) wait_for_turn(rank - 1);
  end_job(message);
}

void Watchdog::State::judge_silence() {
  for (Peer& peer : peers) {
    if (!peer.has_left && Clock::now() - peer.last_heard > kSilence)
      lose(peer, fmt::format("it hangs or cannot be reached (no sign of life for {} s)",
                             std::chrono::duration_cast<std::chrono::seconds>(kSilence).count()));
  }
}

void Watchdog::State::judge_standstill() {
  const auto now = Clock::now();
  standstill.note(beat(Beat::Kind::alive), now);
  if (const std::optional<std::string> found = standstill.find(now)) end_job(*found);
}

void Watchdog::State::send_beats(Beat::Kind kind) {
  const Beat own = beat(kind);
  for (const Peer& peer : peers) {
    if (peer.socket.is_open()) send_beat(peer.socket.get(), own);
  }
}

void Watchdog::State::end_job(std::string_view message) {
  if (is_hub() || peers.empty() || !peers.front().socket.is_open() || Clock::now() - peers.front().last_heard > kSilence) {
    print_last_words(message);
    send_beats(Beat::Kind::end);
    std::this_thread::sleep_for(kGrace);
    _exit(kExitFailure);
  }
  // Rank 0 prints it and orders this process to end; if it does not, this process ends all the same.
  Beat report = beat(Beat::Kind::failed);
  set_message(report, message);
  send_beat(peers.front().socket.get(), report);
  hear_for(kTurn);
  print_last_words(message);
  _exit(kExitFailure);
}

void Watchdog::State::obey_signal() {
  // Whose death the launcher answers with this signal is found here; others than rank 0 linger, so that their end is not taken for the
  // cause.
  hear_for(is_hub() ? kLastWords : 2 * kLastWords);
  _exit(128 + SIGTERM);
}

void Watchdog::State::hear_for(milliseconds time) {
  const auto end = Clock::now() + time;
  while (Clock::now() < end) {
    for (Peer& peer : peers) hear(peer);
    std::this_thread::sleep_for(milliseconds(10));
  }
}

std::optional<Beat> Watchdog::State::waiting_for(std::int64_t lost) const {
  if (progress.awaited() == lost) return beat(Beat::Kind::alive);
  for (const Peer& peer : peers) {
    if (peer.last.awaited == lost) return peer.last;
  }
  return std::nullopt;
}

Watchdog::Watchdog(std::int64_t num_ranks, const Progress& progress) : state_(std::make_unique<State>(0, num_ranks, progress)) {
  state_->listen();
  state_->thread = std::jthread([state = state_.get()](const std::stop_token& stop) { state->watch(stop); });
}

Watchdog::Watchdog(std::int64_t rank, std::int64_t num_ranks, const MeetingPoint& meeting_point, const Progress& progress)
    : state_(std::make_unique<State>(rank, num_ranks, progress)) {
  state_->meeting_point = meeting_point;
  state_->meet();
  state_->thread = std::jthread([state = state_.get()](const std::stop_token& stop) { state->watch(stop); });
}

Watchdog::~Watchdog() {
  state_->thread.request_stop();
  [[maybe_unused]] const ssize_t written = write(state_->wake_write.get(), "", 1);
}

const MeetingPoint& Watchdog::meeting_point() const { return state_->meeting_point; }

void Watchdog::block_signals() {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, nullptr);
}

void Watchdog::fail(std::string_view message) {
  {
    const std::lock_guard lock(state_->failure_mutex);
    state_->failure = message;
  }
  [[maybe_unused]] const ssize_t written = write(state_->wake_write.get(), "", 1);
  // The watchdog's thread ends the process; if that hangs, too, this one does.
  std::this_thread::sleep_for(kSilence);
  _exit(kExitFailure);
}

}  // namespace meshseek
