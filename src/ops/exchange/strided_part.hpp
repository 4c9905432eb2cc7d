/// Parts of row-major tensors, read as one sequence of elements.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/thread_team.hpp"
#include "tensor/shape.hpp"

namespace meshseek::exchange {

/// `rows` runs of `run` elements; a run begins `stride` elements after the one before it, the first at element `offset`.
struct StridedPart {
  std::int64_t offset = 0;
  std::int64_t rows = 1;
  std::int64_t run = 0;
  std::int64_t stride = 0;
  std::int64_t volume() const { return rows * run; }
  bool is_contiguous() const { return rows <= 1 || run == stride; }
};

/// Elements [begin, end) in storage.
inline StridedPart contiguous_part(std::int64_t begin, std::int64_t end) {
  return {.offset = begin, .run = end - begin, .stride = end - begin};
}

/// Indices [begin, end) of dimension `dim`, which is not negative, of a tensor of that shape.
StridedPart part_of(const Shape& shape, std::int64_t dim, std::int64_t begin, std::int64_t end);

/// Calls body(position in the sequence, element in storage, count) for each piece of [begin, end) of the sequence that lies together.
template <class Body>
void for_each_run(const StridedPart& part, std::int64_t begin, std::int64_t end, const Body& body) {
  while (begin < end) {
    const std::int64_t row = begin / part.run;
    const std::int64_t within = begin % part.run;
    const std::int64_t count = std::min(end - begin, part.is_contiguous() ? end - begin : part.run - within);
    body(begin, part.offset + row * part.stride + within, count);
    begin += count;
  }
}

/// Copies `from` of one tensor to `to` of another, which has the same volume.
void copy_part(const std::byte* source, const StridedPart& from, std::byte* target, const StridedPart& to, std::int64_t element_bytes,
               ThreadTeam& team);

}  // namespace meshseek::exchange
