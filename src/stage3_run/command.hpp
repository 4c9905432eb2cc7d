/// What the front of a mesh tells its devices to do. Every device does the same, each with its own piece.
#pragma once
#include <cstdint>
#include <span>

#include "modules/model/model.hpp"

namespace meshseek {

struct Command {
  enum class Kind : std::uint8_t { load, prefill, decode, mtp, create, copy, drop, start_trace, collect_trace, stop };
  Kind kind = Kind::stop;
  Model::Logits logits = Model::Logits::all;  ///< of prefill
  std::int64_t slot = 0;                      ///< prefill, mtp, create, copy, drop: the sequence
  std::int64_t source = 0;                    ///< copy: the sequence whose tokens the new one begins with; load: capacity of a sequence
  bool is_traced = false;                     ///< prefill, decode: all devices collect intermediate results, or none does
  std::span<const std::int64_t> ids = {};     ///< prefill, decode, mtp; alive until the command is done
  std::span<const std::int64_t> slots = {};   ///< decode: the sequence of each id
};

}  // namespace meshseek
