/// What this machine can do at most, measured in the same run as what is compared with it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_team.hpp"

namespace meshseek::cli {

struct MachineRates {
  double read_bytes_s = 0.0;  ///< from memory, the best of the read patterns
  double fp32_flop_s = 0.0;   ///< multiply-adds in registers count as two
  double bf16_flop_s = 0.0;   ///< the same with bf16 on tiles; without tiles that of float32, which bf16 is multiplied as
  double int16_op_s = 0.0;  ///< of int16 panels, which HiFi2 products of block floats take in prefill where there are no tiles; 0: nowhere
  double int8_op_s = 0.0;   ///< the same with int8, on tiles where there are any
  bool has_tiles = false;   ///< Intel AMX
};

/// Measures on all threads of a team. Holds its memory while it lives.
class Calibration {
 public:
  static constexpr std::size_t kStandardBytes = std::size_t{3} << 30;

  /// Reads go over `most_bytes`, or over a quarter of the free memory where that is less. \throws Error when even that cannot be allocated
  explicit Calibration(ThreadTeam& team, std::size_t most_bytes = kStandardBytes);
  ~Calibration();
  Calibration(const Calibration&) = delete;
  Calibration& operator=(const Calibration&) = delete;

  /// The best of 4 KiB and huge pages, each with and without prefetching and as four streams; each the median of five. About two seconds.
  MachineRates measure();

  std::size_t bytes() const { return bytes_; }

 private:
  /// Anonymous memory, written once.
  struct Region {
    std::byte* data = nullptr;
    std::size_t bytes = 0;
  };
  Region map(bool huge) const;
  double read_rate(const Region& region, int pattern);
  /// Of `multiply(rounds)`, which makes `products` products a round.
  template <class Multiply>
  double compute_rate(std::int64_t products, Multiply&& multiply);

  ThreadTeam& team_;
  std::size_t bytes_ = 0;
  std::vector<Region> regions_;  ///< small pages, huge pages; half of bytes_ each
};

}  // namespace meshseek::cli
