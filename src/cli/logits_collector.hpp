/// Runs token ids and keeps what `meshseek logits` writes.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {

/// How the ids go through the model: chunks of so many tokens with the prefill config, or one by one with the decode config.
struct LogitsVia {
  bool decode = false;
  std::int64_t chunk = 0;  ///< 0: all ids in one prefill
};

struct LogitsWanted {
  bool only_last = false;
  bool hidden = false;
  bool cache = false;
  bool router = false;
  bool mtp = false;
};

/// Named arrays, row-major, growing by rows.
class LogitsCollector {
 public:
  LogitsCollector(Runner& runner, LogitsWanted wanted) : runner_(&runner), wanted_(wanted) {}

  /// Runs all ids in a fresh context. \throws Error: see Runner; Interrupted.
  void run(std::span<const std::int64_t> ids, LogitsVia via);
  /// float32 tensors (int32 for router indices) in one safetensors file.
  void write(const Path& path) const;
  /// Name and shape of each array.
  std::vector<std::pair<std::string, Shape>> shapes() const;

 private:
  struct Array {
    Shape shape = {};  ///< [rows, columns]
    std::vector<float> floats = {};
    std::vector<std::int32_t> integers = {};
  };
  void run_piece(std::span<const std::int64_t> ids, std::size_t begin, std::size_t end, bool decode);
  void append(const std::string& name, const Tensor& rows);
  void append_trace(const Model::Trace& trace);
  void append_cache();

  Runner* runner_;
  LogitsWanted wanted_;
  std::map<std::string, Array> arrays_;
};

}  // namespace meshseek::cli
