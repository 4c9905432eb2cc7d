#include "cli/calibration.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/error.hpp"
#include "base/stopwatch.hpp"
#include "cli/bench_convert.hpp"
#include "ops/cpu/kernels.hpp"

namespace meshseek::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kReps = 5;
constexpr std::size_t kLine = 64;

std::uint64_t line_at(const std::byte* data) {
  std::array<std::uint64_t, kLine / sizeof(std::uint64_t)> line;
  std::memcpy(line.data(), data, kLine);
  std::uint64_t sum = 0;
  for (const std::uint64_t word : line) sum ^= word;
  return sum;
}

/// One after the other; `ahead` bytes are asked for in advance, 0: none.
template <std::size_t kAhead>
std::uint64_t read_forward(const std::byte* data, std::size_t bytes) {
  std::uint64_t sum = 0;
  for (std::size_t offset = 0; offset + kLine <= bytes; offset += kLine) {
    if constexpr (kAhead > 0) __builtin_prefetch(data + offset + kAhead);
    sum ^= line_at(data + offset);
  }
  return sum;
}

/// Four places at once.
std::uint64_t read_four_streams(const std::byte* data, std::size_t bytes) {
  const std::size_t part = bytes / 4 / kLine * kLine;
  std::uint64_t sum = 0;
  for (std::size_t offset = 0; offset < part; offset += kLine) {
    for (std::size_t stream = 0; stream < 4; ++stream) sum ^= line_at(data + stream * part + offset);
  }
  return sum;
}

using Reader = std::uint64_t (*)(const std::byte*, std::size_t);
constexpr std::array<Reader, 4> kReaders = {read_forward<0>, read_forward<1024>, read_forward<4096>, read_four_streams};

}  // namespace

Calibration::Calibration(ThreadTeam& team, std::size_t most_bytes) : team_(team) {
  const auto free = static_cast<std::size_t>(std::max(0L, ::sysconf(_SC_AVPHYS_PAGES))) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  bytes_ = std::min(most_bytes, std::max<std::size_t>(free / 4, std::size_t{64} << 20));
  regions_.reserve(2);
  for (const bool huge : {false, true}) regions_.push_back(map(huge));
}

Calibration::~Calibration() {
  for (const Region& region : regions_) ::munmap(region.data, region.bytes);
}

Calibration::Region Calibration::map(bool huge) const {
  const std::size_t bytes = bytes_ / 2;
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw Error(fmt::format("[calibration] cannot allocate {} bytes: {}", bytes, std::strerror(errno)));
  ::madvise(data, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);  // advice: where it is not taken, the pages are alike
  auto* begin = static_cast<std::byte*>(data);
  team_.parallel_for(bytes, std::size_t{1} << 20, [&](std::size_t from, std::size_t to) { std::memset(begin + from, 1, to - from); });
  return {begin, bytes};
}

double Calibration::read_rate(const Region& region, int pattern) {
  std::atomic<std::uint64_t> keep = 0;
  std::vector<double> rates;
  for (int rep = 0; rep < kReps; ++rep) {
    const auto start = Clock::now();
    team_.parallel_for(region.bytes / kLine, 1, [&](std::size_t begin, std::size_t end) {
      keep += kReaders[static_cast<std::size_t>(pattern)](region.data + begin * kLine, (end - begin) * kLine);
    });
    rates.push_back(static_cast<double>(region.bytes) / seconds_since(start));
  }
  return median(rates);
}

template <class Multiply>
double Calibration::compute_rate(std::int64_t products, Multiply&& multiply) {
  constexpr std::int64_t kRounds = 400'000;
  std::atomic<double> keep = 0.0;
  std::vector<double> rates;
  for (int rep = 0; rep < kReps; ++rep) {
    const auto start = Clock::now();
    team_.parallel_for(team_.size(), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t idx = begin; idx < end; ++idx) keep = static_cast<double>(multiply(kRounds));
    });
    rates.push_back(2.0 * static_cast<double>(products * kRounds) * static_cast<double>(team_.size()) / seconds_since(start));
  }
  return median(rates);
}

MachineRates Calibration::measure() {
  MachineRates rates = {.fp32_flop_s = compute_rate(cpu::kFmaRound, cpu::kernels().multiply_add),
                        .int8_op_s = compute_rate(4 * cpu::kFmaRound, cpu::kernels().multiply_add_int8)};
  rates.bf16_flop_s = rates.fp32_flop_s;
  const cpu::TileKernels* tiles = cpu::kernels().tiles;
  if (tiles != nullptr && tiles->multiply_add_int16 != nullptr)
    rates.int16_op_s = compute_rate(cpu::kInt16Round, tiles->multiply_add_int16);
  if (tiles != nullptr && tiles->multiply_add_bf16 != nullptr) {
    constexpr std::int64_t kTileSums = cpu::kTileRows * cpu::kTileRows;
    rates.has_tiles = true;
    rates.bf16_flop_s = compute_rate(cpu::kTileRound * kTileSums * cpu::kBf16Step, tiles->multiply_add_bf16);
    rates.int8_op_s = compute_rate(cpu::kTileRound * kTileSums * cpu::kInt8Step, tiles->multiply_add_int8);
  }
  for (const Region& region : regions_) {
    for (std::size_t pattern = 0; pattern < kReaders.size(); ++pattern)
      rates.read_bytes_s = std::max(rates.read_bytes_s, read_rate(region, static_cast<int>(pattern)));
  }
  return rates;
}

}  // namespace meshseek::cli
