/// What a mesh would hold, read, compute and send for a model, from the shape of the model alone, and how fast that makes it.
#pragma once
#include <cstdint>

#include "config/tree.hpp"
#include "hf/hf_config.hpp"
#include "mesh/parallel_plan.hpp"
#include "tensor/dtype.hpp"

namespace meshseek::cli {

/// What one host can do.
struct HostRates {
  double read_bytes_s = 0.0;
  double bf16_flop_s =
      0.0;  ///< attention, in prefill its projections and the head; without tiles (AMX), and with --deterministic, that of float32
  double int16_op_s = 0.0;  ///< projections of prefill with block-float weights; 0: as bf16
  double int8_op_s = 0.0;   ///< the rest, with block-float weights
};

/// One link, in one direction.
struct LinkRates {
  double bytes_s = 0.0;
  double latency_s = 0.0;  ///< until two programs have sent each other the smallest message
  double message_s = 0.0;  ///< of each further message that goes with it, to another device or to the same
};

struct MeshPlanInput {
  HfConfig hf = {};
  DataType dtype = DataType::bfloat8_b;  ///< of the projections
  MeshShape mesh = {};
  ParallelPlan plan = ParallelPlan::users;
  bool deterministic = false;
  std::int64_t hosts = 1;       ///< neighbouring ranks share one
  std::int64_t context = 4096;  ///< tokens that a sequence has room for, and that decode finds in the cache
  std::int64_t batch = 1;       ///< sequences that are decoded at once
  std::int64_t prompt = 512;    ///< tokens of a prefill
  HostRates host = {};
  LinkRates link = {};         ///< between hosts
  LinkRates local = {};        ///< between devices of one host
  double memory_share = 0.8;   ///< of the read rate that decode reaches: the share that bench shows, see docs/performance.md
  double compute_share = 0.5;  ///< the same of the compute rate that prefill reaches
};

/// What a device sends along one axis in one pass.
struct AxisTraffic {
  double bytes = 0.0;
  double messages = 0.0;
  double rounds = 0.0;  ///< exchanges that follow each other
};

/// One pass: on the busiest device, or through all rows of a pipeline, one after the other.
struct PassPlan {
  double read_bytes = 0.0;
  double bf16_flop = 0.0;
  double int16_flop = 0.0;
  double int8_flop = 0.0;

  double flop() const { return bf16_flop + int16_flop + int8_flop; }

  AxisTraffic over_rows = {};  ///< axis 0: to the devices of the same column; of the busiest device
  AxisTraffic over_cols = {};  ///< axis 1: to the devices of the same row; of the busiest device
  double read_s = 0.0;
  double compute_s = 0.0;
  double link_s = 0.0;
  double tok_s = 0.0;  ///< tokens of all sequences
};

struct MeshPlan {
  double weight_bytes = 0.0;  ///< of one device, MTP modules left out
  double cache_bytes = 0.0;   ///< of one device
  PassPlan decode = {};
  PassPlan prefill = {};
};

/// Weights are cut as docs/store.md says. Plan users: users lie over rows, a prompt is cut over rows. Plan pipeline: rows have layers, as modules/pipeline
/// shares them out; chunks of a prompt follow each other, what is decoded goes through together. Collectives are those of the standard configs
/// (collectives_of_pass). Reading and computing overlap, links wait for both. Experts are chosen evenly; a mesh is as fast as its busiest device.
/// \throws Error: more hosts than devices
MeshPlan plan_mesh(const MeshPlanInput& input);

/// Of `drawn` different experts that each device has `per_device` of: how many the busiest one is expected to have when every choice is equally likely.
double busiest_experts(std::int64_t drawn, std::int64_t per_device, std::int64_t num_devices);

Tree to_tree(const MeshPlanInput& input, const MeshPlan& plan);
std::string to_text(const MeshPlanInput& input, const MeshPlan& plan);

}  // namespace meshseek::cli
