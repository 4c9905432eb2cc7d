/// Tokens go to the rows of the mesh that have their experts, and results come back.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "ops/collectives_config.hpp"
#include "ops/concat_config.hpp"

namespace meshseek {

/// The devices of a column exchange rows; any number of them, none as well. It has no weights. Source: DeepSeek-V3, arXiv:2412.19437, 3.2.
class ExpertExchange {
 public:
  struct Config {
    AllToAllConfig counts = {};
    AllToAllRowsConfig dispatch = {};
    AllToAllRowsConfig combine = {};

    static constexpr auto fields() {
      return std::tuple{field("counts", &Config::counts, "how many rows each expert gets from each row of the mesh"),
                        field("dispatch", &Config::dispatch, "rows to the devices that have their experts"),
                        field("combine", &Config::combine, "the experts' results back to where the rows came from")};
    }
  };
  /// The experts of this device: rows grouped by expert and the offsets of the groups [experts + 1] to results, row by row.
  using Experts = std::function<Tensor(const Tensor& rows, std::span<const std::int64_t> offsets)>;

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  ExpertExchange(const HfConfig& hf, const MeshDevice& mesh);
  /// \param rows [R, hidden_size], grouped by row of the mesh, then by expert there
  /// \param offsets of these groups [rows of the mesh * experts of a device + 1]
  /// \return [R, hidden_size], in the same order
  Tensor forward(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg, const Experts& experts) const;

 private:
  std::vector<std::int64_t> received_counts(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg) const;

  std::int64_t mesh_rows_;
  std::int64_t per_device_;  ///< experts
};

}  // namespace meshseek
