#include "mesh/handshake.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <span>

#include "base/host_name.hpp"
#include "base/sha256.hpp"

namespace meshseek {
namespace {

/// Raised whenever messages between devices change.
constexpr std::string_view kProtocol = "2";

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

void send_text(Communicator& communicator, std::int64_t peer, const std::string& text) {
  const std::uint64_t size = text.size();
  communicator.send(peer, MessageTag::handshake, std::as_bytes(std::span(&size, 1)));
  if (size > 0) communicator.send(peer, MessageTag::handshake, bytes_of(text));
}

std::string receive_text(Communicator& communicator, std::int64_t peer) {
  constexpr std::uint64_t kMost = 1 << 20;
  std::uint64_t size = 0;
  communicator.receive(peer, MessageTag::handshake, std::as_writable_bytes(std::span(&size, 1)));
  if (size > kMost) throw MeshError(fmt::format("[mesh] device {} sends {} bytes of facts; expected at most {}", peer, size, kMost));
  std::string text(size, '\0');
  if (size > 0) communicator.receive(peer, MessageTag::handshake, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string sha256_of_file(const std::string& path) {
  constexpr std::size_t kPiece = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(fmt::format("[mesh] {} cannot be read", path));
  Sha256 sha;
  std::string piece(kPiece, '\0');
  while (file.read(piece.data(), kPiece), file.gcount() > 0)
    sha.update(std::string_view(piece).substr(0, static_cast<std::size_t>(file.gcount())));
  return sha.finish();
}

/// One line a fact, the host first.
std::string to_text(const std::vector<Fact>& facts) {
  std::string text = host_name() + "\n";
  for (const Fact& fact : facts) text += fmt::format("{}={}\n", fact.name, fact.value);
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

/// Empty when all facts are equal.
std::string difference(std::int64_t rank, std::string_view theirs, std::string_view ours) {
  const std::vector<std::string_view> their_lines = lines_of(theirs);
  const std::vector<std::string_view> our_lines = lines_of(ours);
  const auto line = [](const std::vector<std::string_view>& lines, std::size_t idx) {
    return idx < lines.size() ? lines[idx] : std::string_view("nothing");
  };
  for (std::size_t idx = 1; idx < std::max(their_lines.size(), our_lines.size()); ++idx) {
    if (line(their_lines, idx) == line(our_lines, idx)) continue;
    return fmt::format(
        "[mesh] rank {} on host {} has {}, but rank 0 on host {} has {}; start all ranks with the same program, store, config and mesh",
        rank, line(their_lines, 0), line(their_lines, idx), line(our_lines, 0), line(our_lines, idx));
  }
  return "";
}

}  // namespace

std::vector<Fact> facts_of_program(const MeshShape& shape) {
  return {{"protocol", std::string(kProtocol)}, {"mesh", to_string(shape)}, {"program", sha256_of_file("/proc/self/exe")}};
}

void agree(Communicator& communicator, const std::vector<Fact>& facts) {
  const std::int64_t num_devices = communicator.shape().num_devices();
  communicator.progress().enter_preparation("handshake");
  const std::string ours = to_text(facts);
  if (communicator.rank() != 0) {
    send_text(communicator, 0, ours);
    const std::string verdict = receive_text(communicator, 0);
    if (!verdict.empty()) throw MeshError(verdict);
    return;
  }
  std::string verdict;
  for (std::int64_t rank = 1; rank < num_devices; ++rank) {
    const std::string found = difference(rank, receive_text(communicator, rank), ours);
    if (verdict.empty()) verdict = found;
  }
  if (!verdict.empty()) {
    communicator.end_mesh(verdict);
    throw MeshError(verdict);
  }
  for (std::int64_t rank = 1; rank < num_devices; ++rank) send_text(communicator, rank, verdict);
}

std::int64_t least_of(Communicator& communicator, std::int64_t value) {
  const auto receive = [&](std::int64_t peer) {
    std::int64_t theirs = 0;
    communicator.receive(peer, MessageTag::handshake, std::as_writable_bytes(std::span(&theirs, 1)));
    return theirs;
  };
  const auto send = [&](std::int64_t peer) { communicator.send(peer, MessageTag::handshake, std::as_bytes(std::span(&value, 1))); };
  if (communicator.rank() != 0) {
    send(0);
    return receive(0);
  }
  const std::int64_t num_devices = communicator.shape().num_devices();
  for (std::int64_t rank = 1; rank < num_devices; ++rank) value = std::min(value, receive(rank));
  for (std::int64_t rank = 1; rank < num_devices; ++rank) send(rank);
  return value;
}

}  // namespace meshseek
