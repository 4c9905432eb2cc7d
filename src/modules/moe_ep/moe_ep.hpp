/// Mixture-of-experts feed-forward block with the experts over all devices of a mesh of several rows.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "modules/column_split/column_split.hpp"
#include "modules/expert_exchange/expert_exchange.hpp"
#include "modules/moe/moe.hpp"

namespace meshseek {

/// Every device has whole experts. A token goes to the devices of its own column that have its experts. Columns
/// share their row's tokens: each adds up, in float32, what its experts and its part of the shared expert give, and
/// the sum over the columns follows. Deterministic: each column gets its piece of every expert's results, and adds them up in the order in which
/// its tokens chose them, as one device does. The weights are Moe's; every device has the router.
class MoeEp {
 public:
  struct Config {
    std::vector<std::int64_t> expert_map = {};  ///< [n_routed_experts]: rank of the device that has it
    ColumnSplit::Config columns = {};
    ExpertExchange::Config exchange = {};
    std::optional<AllToAllRowsConfig> pieces_of_rows = {};  ///< deterministic, on meshes of several columns

    static constexpr auto fields() {
      return std::tuple{
          field("expert_map", &Config::expert_map, "for each expert the rank of the device that has it, as the store deals them"),
          field("columns", &Config::columns, "whole tokens in, terms of a sum out"),
          field("exchange", &Config::exchange, "rows of tokens to the mesh rows that have their experts, and back"),
          field("pieces_of_rows", &Config::pieces_of_rows, "deterministic: of each expert's result a piece to every column")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  MoeEp(const HfConfig& hf, const MeshDevice& mesh);
  /// \param x [T, piece of hidden_size], deterministic [T, hidden_size]; \param moe with this device's experts
  /// \return y [T, piece of hidden_size], and the routing, equal on all columns. \throws ConfigError when expert_map is not what the store has
  Moe::Output forward(const Tensor& x, const Moe::Config& moe, const Config& cfg) const;

 private:
  std::vector<std::int64_t> places(const Config& cfg, std::int64_t col) const;
  Tensor in_order(const Tensor& rows, const Routing& routing, const Moe::Config& moe, const Config& cfg) const;

  MeshShape mesh_;
  std::int64_t num_experts_;
  std::int64_t per_device_;
  ColumnSplit columns_;
  MoeGate gate_;
  Experts experts_;
  SharedExpert shared_expert_;
  ExpertExchange exchange_;
};

}  // namespace meshseek
