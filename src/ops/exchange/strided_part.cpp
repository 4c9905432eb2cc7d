#include "ops/exchange/strided_part.hpp"

#include <cstring>

namespace meshseek::exchange {
namespace {

/// Elements that are worth another thread.
constexpr std::size_t kGrain = 16 * 1024;

}  // namespace

StridedPart part_of(const Shape& shape, std::int64_t dim, std::int64_t begin, std::int64_t end) {
  const auto middle = shape.begin() + dim;
  const std::int64_t outer = volume({shape.begin(), middle});
  const std::int64_t inner = volume({middle + 1, shape.end()});
  return {.offset = begin * inner, .rows = outer, .run = (end - begin) * inner, .stride = *middle * inner};
}

void copy_part(const std::byte* source, const StridedPart& from, std::byte* target, const StridedPart& to, std::int64_t element_bytes,
               ThreadTeam& team) {
  team.parallel_for(static_cast<std::size_t>(from.volume()), kGrain, [&](std::size_t begin, std::size_t end) {
    for_each_run(from, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end),
                 [&](std::int64_t seq, std::int64_t at, std::int64_t count) {
                   for_each_run(to, seq, seq + count, [&](std::int64_t piece, std::int64_t to_at, std::int64_t num) {
                     std::memcpy(target + to_at * element_bytes, source + (at + piece - seq) * element_bytes,
                                 static_cast<std::size_t>(num * element_bytes));
                   });
                 });
  });
}

}  // namespace meshseek::exchange
