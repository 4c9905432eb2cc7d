/// Which tokens of a call belong to which row of a mesh.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "ops/collectives_config.hpp"

namespace meshseek {

/// users: a sequence's tokens belong to the row of the device that keeps its cache (decode). sequence: one sequence's tokens are shared out to
/// the rows in even runs (prefill).
enum class TokensOverRows : std::uint8_t { users, sequence };
constexpr auto enum_names(TokensOverRows) {
  return std::array<std::pair<TokensOverRows, std::string_view>, 2>{
      {{TokensOverRows::users, "users"}, {TokensOverRows::sequence, "sequence"}}};
}

/// Every row runs all layers for its tokens; a row may have none. It has no weights.
class RowSplit {
 public:
  struct Config {
    TokensOverRows tokens_over_rows = TokensOverRows::users;
    AllToAllRowsConfig collect = {};

    static constexpr auto fields() {
      return std::tuple{
          field("tokens_over_rows", &Config::tokens_over_rows, "users: each sequence has a row; sequence: rows have runs of one"),
          field("collect", &Config::collect, "results of all rows for the first row")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  RowSplit(const HfConfig&, const MeshDevice& mesh) : mesh_(mesh.shape) {}

  /// For each row of the mesh its tokens, ascending. Token t belongs to sequence t / (T / B).
  /// \param owners rank of the device that keeps each of B sequences
  /// \throws Error for B > 1 sequences that are to be shared out
  std::vector<std::vector<std::int64_t>> tokens_of_rows(std::span<const std::int64_t> owners, std::int64_t num_tokens,
                                                        const Config& cfg) const;

  /// Results of some tokens for the first row. \param x [tokens of this row, ..]; \param tokens_of_rows of those tokens
  /// \return on the first row [all tokens, ..] in ascending order, elsewhere no rows
  Tensor collect(const Tensor& x, const std::vector<std::vector<std::int64_t>>& tokens_of_rows, const AllToAllRowsConfig& cfg) const;

 private:
  MeshShape mesh_;
};

}  // namespace meshseek
