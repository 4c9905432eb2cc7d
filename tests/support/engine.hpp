/// All three stages in one process: what most cross-room tests start from.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "stage1_convert/convert.hpp"
#include "stage2_configure/configure.hpp"
#include "stage3_run/runner.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek::testing {

struct EngineOptions {
  MeshShape mesh = {};
  bool deterministic = false;
  DataType dtype = DataType::float32;
  Tree dtype_policy = {};
  std::vector<std::string> sets = {};          ///< applied to both configs
  std::vector<std::string> prefill_sets = {};  ///< applied to the prefill config after `sets`
  std::size_t num_threads = 0;
  std::int64_t max_tokens = 0;              ///< capacity; 0: max_position_embeddings
  ParallelPlan plan = ParallelPlan::users;  ///< of a MeshEngine
};

/// Converts a checkpoint into a temporary store, configures and loads it.
class Engine {
 public:
  explicit Engine(const Path& checkpoint, const EngineOptions& options = {});
  Runner& runner() { return *runner_; }
  const Path& store() const { return store_; }

 private:
  TemporaryFolder folder_;
  Path store_;
  std::unique_ptr<Runner> runner_;
};

/// Assignments that make every product and every activation float32, whatever the weights are stored in.
std::vector<std::string> exact_arithmetic();

}  // namespace meshseek::testing
