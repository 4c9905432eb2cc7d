#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "mesh/communicator.hpp"
#include "modules/pipeline/pipeline.hpp"
#include "ops/collectives.hpp"

namespace meshseek {
namespace {

void check_peers(const Pipeline::Config& cfg) {
  if (cfg.send.to == 0 && cfg.send_result.to == 0 && cfg.recv.from == 0 && cfg.recv_result.from == 0) return;
  throw ConfigError(
      "[model.pipeline] \"to\" or \"from\" is set; expected neither: they follow from the row, and layer_map says which rows have what");
}

}  // namespace

void Pipeline::check(const Config& cfg) const {
  check_peers(cfg);
  if (cfg.chunk_tokens < 0)
    throw ConfigError(fmt::format("[model.pipeline.chunk_tokens] {}; expected at least 1, or 0: all tokens at once", cfg.chunk_tokens));
  const std::vector<std::int64_t>& map = cfg.layer_map;
  const bool fits = static_cast<std::int64_t>(map.size()) == num_layers_ && std::ranges::is_sorted(map) &&
                    (map.empty() || (map.front() >= 0 && map.back() < num_rows_));
  if (!fits) {
    throw ConfigError(
        fmt::format("[model.pipeline.layer_map] [{}]; expected a row for each of {} layers, from 0 to {}, none less than the one before",
                    fmt::join(map, ", "), num_layers_, num_rows_ - 1));
  }
}

Pipeline::Stage Pipeline::stage(const Config& cfg, std::int64_t row) const {
  const std::vector<std::int64_t>& map = cfg.layer_map;
  const auto [first, end] = std::ranges::equal_range(map, row);
  return {.first_layer = first - map.begin(), .end_layer = end - map.begin(), .is_first = row == 0, .is_last = row == last_row()};
}

Tensor Pipeline::receive(Device& device, const Config& cfg) const {
  RecvConfig from_before = cfg.recv;
  from_before.from = device.communicator().row() - 1;
  return recv(device, from_before);  // [T, piece]
}

void Pipeline::pass_on(const Tensor& h, const Config& cfg) const {
  SendConfig to_next = cfg.send;
  to_next.to = h.device()->communicator().row() + 1;
  send(h, to_next);
}

void Pipeline::send_result(const Tensor& x, const Config& cfg) const { send(x, cfg.send_result); }

Tensor Pipeline::receive_result(Device& device, std::int64_t row, const Config& cfg) const {
  RecvConfig from_row = cfg.recv_result;
  from_row.from = row;
  return recv(device, from_row);
}

}  // namespace meshseek
