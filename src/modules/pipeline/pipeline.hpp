/// Layers over the rows of a mesh.
#pragma once
#include <cstdint>
#include <vector>

#include "hf/hf_config.hpp"
#include "mesh/device.hpp"
#include "mesh/mesh_device.hpp"
#include "ops/collectives_config.hpp"

namespace meshseek {

/// Every row has a run of layers and runs them for all tokens; the residual stream goes from row to row. The first row has the embedding,
/// the last one final norm and head, whose results go back to the first. A row without a layer passes on what it gets. Within a row the
/// columns share each layer as on a mesh of one row. A prompt goes through in chunks, so that rows work at once; what is decoded goes
/// through together. It has no weights. Source: GPipe, arXiv:1811.06965, 2.
class Pipeline {
 public:
  struct Config {
    std::vector<std::int64_t> layer_map = {};  ///< [num_hidden_layers]: row of the mesh that has the layer; never falls
    std::int64_t chunk_tokens = 0;             ///< of a prompt; 0: all
    SendConfig send = {};
    RecvConfig recv = {};
    SendConfig send_result = {};
    RecvConfig recv_result = {};

    static constexpr auto fields() {
      return std::tuple{field("layer_map", &Config::layer_map, "for each layer the row of the mesh that has it, from the first row on"),
                        field("chunk_tokens", &Config::chunk_tokens,
                              "tokens of a prompt that a row passes on at once, so that the next row works on them meanwhile; 0: all"),
                        field("send", &Config::send, "residual stream to the next row"),
                        field("recv", &Config::recv, "residual stream of the row before"),
                        field("send_result", &Config::send_result, "logits, and what is traced, to the first row"),
                        field("recv_result", &Config::recv_result, "the same on the first row")};
    }
  };
  /// What one row has of a model.
  struct Stage {
    std::int64_t first_layer = 0;
    std::int64_t end_layer = 0;
    bool is_first = true;  ///< has the embedding
    bool is_last = true;   ///< has final norm and head
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Pipeline(const HfConfig& hf, const MeshDevice& mesh) : num_layers_(hf.num_hidden_layers), num_rows_(mesh.shape.rows) {}

  /// Once for each config, before any of it runs. \throws ConfigError for a layer_map of another model or mesh, or one that goes back; for negative
  /// chunks; for a peer in a config, because the row says who it is
  void check(const Config& cfg) const;
  /// \param cfg was checked
  Stage stage(const Config& cfg, std::int64_t row) const;

  /// \return h [T, piece of hidden_size] of the row before
  Tensor receive(Device& device, const Config& cfg) const;
  /// \param h [T, piece of hidden_size] for the row after this one
  void pass_on(const Tensor& h, const Config& cfg) const;
  /// Any tensor for the first row, on another one; and there: the next one of `row`.
  void send_result(const Tensor& x, const Config& cfg) const;
  Tensor receive_result(Device& device, std::int64_t row, const Config& cfg) const;
  /// \return final norm and head are on it
  std::int64_t last_row() const { return num_rows_ - 1; }

 private:
  std::int64_t num_layers_;
  std::int64_t num_rows_;
};

}  // namespace meshseek
