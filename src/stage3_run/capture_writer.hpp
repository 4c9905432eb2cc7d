/// Writes a capture while a model runs.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/file.hpp"
#include "ops/capture.hpp"
#include "stage3_run/capture_file.hpp"
#include "stage3_run/operator_names.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek {

/// Records every operator call of a device into a new capture. A crash leaves all lines but the last whole, and the values they name.
class CaptureWriter final : public OperatorRecorder {
 public:
  /// Starts a capture whose weights lie in `store`. \throws Error: the file or its data folder exists already, not writable.
  CaptureWriter(const Path& file, const Path& store, const MeshShape& mesh = {});

  /// Names the operators of a run config in the calls that follow; it must stay where it is.
  /// \param weight_config of the store; null: calls name no weight files
  template <class Config>
  void add_run_config(const Config& config, const std::string& root, const std::string& mode, const Tree& weight_config) {
    header_modes_.push_back(mode);
    add_weight_paths(weight_config, root);
    for_each_operator_config(config, root, [&](const auto& op, const std::string& path) { places_[&op] = {path, mode}; });
  }

  /// \throws Error naming the path when the disk is full; the lines before stay readable.
  void start(const OperatorCall& call) override;
  void finish(const CallValues& outputs) override;

 private:
  struct Place {
    std::string path = {};
    std::string mode = {};
  };

  void add_weight_paths(const Tree& weight_config, const std::string& root);
  void write_header();
  CapturedTensor store_value(const NamedTensor& value);
  std::vector<CapturedTensor> store_values(const std::vector<NamedTensor>& values);

  Path store_;
  MeshShape mesh_;
  AppendedFile lines_;
  Path data_;
  std::vector<std::string> header_modes_;
  bool has_header_ = false;
  std::unordered_map<const void*, Place> places_;
  std::map<std::string, std::string> weight_paths_;  ///< "model.norm.weight" -> file
  std::unordered_set<std::string> stored_;           ///< checksums
  Place last_;
  CapturedCall pending_;
  std::int64_t num_calls_ = 0;
};

/// While it lives, the operators of `runner` are recorded.
class RunnerCapture {
 public:
  RunnerCapture(const Path& file, const Path& store, Runner& runner);
  RunnerCapture(const RunnerCapture&) = delete;
  RunnerCapture& operator=(const RunnerCapture&) = delete;
  ~RunnerCapture() { device_->set_recorder(nullptr); }

 private:
  CaptureWriter writer_;
  Device* device_;
};

}  // namespace meshseek
