#include "mesh/device.hpp"
#include "mesh/shards.hpp"
#include "modules/expert_exchange/expert_exchange.hpp"
#include "ops/collectives.hpp"
#include "ops/concat.hpp"

namespace meshseek {
namespace {

/// The order that groups rows by expert when they lie grouped by sender, then by expert.
struct ByExpert {
  std::vector<std::int64_t> order = {};    ///< place among the grouped -> row
  std::vector<std::int64_t> offsets = {};  ///< [experts + 1]
};

/// \param counts [senders, experts]
ByExpert by_expert(std::span<const std::int64_t> counts, std::int64_t num_experts) {
  std::vector<std::int64_t> begins;  // of each sender's group of each expert
  std::int64_t num_rows = 0;
  for (const std::int64_t count : counts) {
    begins.push_back(num_rows);
    num_rows += count;
  }
  ByExpert result = {.offsets = {0}};
  for (std::size_t expert_idx = 0; expert_idx < static_cast<std::size_t>(num_experts); ++expert_idx) {
    for (std::size_t group = expert_idx; group < counts.size(); group += static_cast<std::size_t>(num_experts)) {
      for (std::int64_t idx = 0; idx < counts[group]; ++idx) result.order.push_back(begins[group] + idx);
    }
    result.offsets.push_back(static_cast<std::int64_t>(result.order.size()));
  }
  return result;
}

std::vector<std::int64_t> inverse(std::span<const std::int64_t> order) {
  std::vector<std::int64_t> places(order.size());
  for (std::size_t place = 0; place < order.size(); ++place)
    places[static_cast<std::size_t>(order[place])] = static_cast<std::int64_t>(place);
  return places;
}

}  // namespace

ExpertExchange::ExpertExchange(const HfConfig& hf, const MeshDevice& mesh)
    : mesh_rows_(mesh.shape.rows), per_device_(experts_per_device(hf.n_routed_experts, mesh.shape)) {}

/// [senders, experts of this device]. Numbers of rows are exact in float32, which every wire has.
std::vector<std::int64_t> ExpertExchange::received_counts(const Tensor& rows, std::span<const std::int64_t> offsets,
                                                          const Config& cfg) const {
  std::vector<float> sizes;
  for (std::size_t group = 0; group + 1 < offsets.size(); ++group) sizes.push_back(static_cast<float>(offsets[group + 1] - offsets[group]));
  const Shape shape = {1, mesh_rows_ * per_device_};
  const Tensor sent = Tensor::from<float>(shape, sizes, rows.device());  // [1, mesh rows * experts]
  const Tensor received = all_to_all(sent, cfg.counts);                  // [mesh rows, experts]
  std::vector<std::int64_t> counts;
  for (const float size : received.data<float>()) counts.push_back(static_cast<std::int64_t>(size));
  return counts;
}

Tensor ExpertExchange::forward(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg, const Experts& experts) const {
  const ByExpert groups = by_expert(received_counts(rows, offsets, cfg), per_device_);
  std::vector<std::int64_t> send_counts;
  for (std::int64_t row = 0; row < mesh_rows_; ++row) {
    const auto first = static_cast<std::size_t>(row * per_device_);
    send_counts.push_back(offsets[first + static_cast<std::size_t>(per_device_)] - offsets[first]);
  }
  ReceivedRows received = all_to_all_rows(rows, send_counts, cfg.dispatch);  // rows [S, hidden_size], by sender
  Tensor grouped = take_rows(received.rows, groups.order);                   // [S, hidden_size], by expert
  received.rows.deallocate();
  const Tensor results = experts(grouped, groups.offsets);                       // [S, hidden_size]
  const Tensor by_sender = take_rows(results, inverse(groups.order));            // [S, hidden_size]
  return all_to_all_rows(by_sender, received.receive_counts, cfg.combine).rows;  // [R, hidden_size]
}

}  // namespace meshseek
