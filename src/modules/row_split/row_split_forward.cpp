#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "mesh/shards.hpp"
#include "modules/row_split/row_split.hpp"
#include "ops/collectives.hpp"
#include "ops/concat.hpp"

namespace meshseek {

std::vector<std::vector<std::int64_t>> RowSplit::tokens_of_rows(std::span<const std::int64_t> owners, std::int64_t num_tokens,
                                                                const Config& cfg) const {
  const bool shares_out = cfg.tokens_over_rows == TokensOverRows::sequence;
  if (shares_out && owners.size() != 1) {
    throw ConfigError(fmt::format(
        "[row_split] tokens_over_rows sequence for {} sequences at once; expected one, or users (the decode config)", owners.size()));
  }
  std::vector<std::vector<std::int64_t>> tokens(static_cast<std::size_t>(mesh_.rows));
  const std::int64_t run = shares_out ? row_piece(num_tokens, mesh_) : num_tokens / static_cast<std::int64_t>(owners.size());
  for (std::int64_t token = 0; token < num_tokens; ++token) {
    const std::int64_t row = shares_out ? token / run : owners[static_cast<std::size_t>(token / run)] / mesh_.cols;
    tokens.at(static_cast<std::size_t>(row)).push_back(token);
  }
  return tokens;
}

Tensor RowSplit::collect(const Tensor& x, const std::vector<std::vector<std::int64_t>>& tokens_of_rows,
                         const AllToAllRowsConfig& cfg) const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(mesh_.rows));
  counts.front() = x.dim(0);
  Tensor all = all_to_all_rows(x, counts, cfg).rows;  // [all tokens, ..], row by row of the mesh
  if (x.device()->communicator().row() != 0) return all;
  std::vector<std::int64_t> tokens;
  for (const std::vector<std::int64_t>& of_row : tokens_of_rows) tokens.insert(tokens.end(), of_row.begin(), of_row.end());
  if (std::is_sorted(tokens.begin(), tokens.end())) return all;
  std::vector<std::int64_t> order(tokens.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::int64_t a, std::int64_t b) { return tokens[static_cast<std::size_t>(a)] < tokens[static_cast<std::size_t>(b)]; });
  return take_rows(all, order);
}

}  // namespace meshseek
