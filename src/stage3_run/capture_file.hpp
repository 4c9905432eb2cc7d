/// The files of a capture: FILE.jsonl, one line per operator call behind a header, and FILE.jsonl.data/ with the values.
///
/// Each value lies once, under its checksum: `<16 hexadecimal digits>.bin`, row-major and little-endian, without a header.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"
#include "config/fields.hpp"
#include "config/tree.hpp"
#include "mesh/device.hpp"
#include "ops/common_config.hpp"

namespace meshseek {

inline constexpr std::int64_t kCaptureVersion = 1;

/// First line.
struct CaptureHeader {
  std::int64_t format_version = kCaptureVersion;
  std::string store = {};               ///< folder of the weights, absolute
  std::string mesh = {};                ///< "1x1"
  std::vector<std::string> modes = {};  ///< of the loaded configs
  std::string isa = {};                 ///< which kernels ran
  std::int64_t num_cores = 1;
  std::int64_t l2_bytes = 0;

  static constexpr auto fields() {
    return std::tuple{field("format_version", &CaptureHeader::format_version, "of the capture"),
                      field("store", &CaptureHeader::store, "folder of the weights"),
                      field("mesh", &CaptureHeader::mesh, "rows x columns"),
                      field("modes", &CaptureHeader::modes, "of the loaded configs"),
                      field("isa", &CaptureHeader::isa, "which kernels ran"),
                      field("num_cores", &CaptureHeader::num_cores, "of the device"),
                      field("l2_bytes", &CaptureHeader::l2_bytes, "of one core; 0: unknown")};
  }
};

/// An input or an output.
struct CapturedTensor {
  std::string name = {};
  std::vector<std::int64_t> shape = {};
  DataType dtype = DataType::float32;
  std::string checksum = {};  ///< checksum64 of the bytes, 16 hexadecimal digits

  static constexpr auto fields() {
    return std::tuple{field("name", &CapturedTensor::name, "of the argument"), field("shape", &CapturedTensor::shape, "row-major"),
                      field("dtype", &CapturedTensor::dtype, "element type"),
                      field("checksum", &CapturedTensor::checksum, "of the bytes, and name of their file")};
  }
  friend bool operator==(const CapturedTensor&, const CapturedTensor&) = default;
};

/// A weight, which stays in the store.
struct CapturedWeight {
  std::string name = {};  ///< path of the slot below the config
  std::string path = {};  ///< below the store; empty when the weight came from elsewhere
  std::vector<std::int64_t> shape = {};
  DataType dtype = DataType::float32;

  static constexpr auto fields() {
    return std::tuple{field("name", &CapturedWeight::name, "slot in the config"),
                      field("path", &CapturedWeight::path, "file below the store"), field("shape", &CapturedWeight::shape, "logical shape"),
                      field("dtype", &CapturedWeight::dtype, "element type")};
  }
};

/// One line.
struct CapturedCall {
  std::int64_t index = 0;
  std::string op = {};                    ///< "linear", ...
  std::optional<std::string> path = {};   ///< where its config stands; unset for operators without a config
  std::optional<std::string> after = {};  ///< path of the operator before, for operators without a path
  std::optional<std::string> mode = {};   ///< prefill or decode
  Tree config = {};                       ///< null for operators without
  Tree arguments = {};                    ///< inputs that are no tensors
  std::vector<CapturedWeight> weights = {};
  std::vector<CapturedTensor> inputs = {};
  std::vector<CapturedTensor> outputs = {};

  static constexpr auto fields() {
    return std::tuple{field("index", &CapturedCall::index, "number of the call, from 0"),
                      field("op", &CapturedCall::op, "operator"),
                      field("path", &CapturedCall::path, "where its config stands"),
                      field("after", &CapturedCall::after, "path of the operator before it"),
                      field("mode", &CapturedCall::mode, "prefill or decode"),
                      field("config", &CapturedCall::config, "of the operator"),
                      field("arguments", &CapturedCall::arguments, "inputs that are no tensors"),
                      field("weights", &CapturedCall::weights, "files of the store"),
                      field("inputs", &CapturedCall::inputs, "before the call"),
                      field("outputs", &CapturedCall::outputs, "after the call")};
  }
};

/// "call 12 linear model.layers.0.mlp.w1 (prefill)"
std::string to_string(const CapturedCall& call);

std::string checksum_text(std::uint64_t checksum);
/// FILE.data, the folder of the values.
Path data_folder_of(const Path& capture);

/// A capture that was read and checked.
class CaptureFile {
 public:
  /// A last line without its end (the program was killed) is left out. \throws Error, ConfigError naming file and line: no capture, another version,
  /// malformed JSON, unknown or missing fields, an index out of order, an impossible shape or checksum.
  explicit CaptureFile(const Path& path);

  const Path& path() const { return path_; }
  const CaptureHeader& header() const { return header_; }
  const std::vector<CapturedCall>& calls() const { return calls_; }
  /// \throws Error naming the number of calls.
  const CapturedCall& call(std::int64_t index) const;
  /// Reads a value into memory of its own. \throws Error naming its file: missing, another size than the shape says, damaged.
  Tensor load(const CapturedTensor& value, Device& device) const;

 private:
  void read_line(std::string_view line, std::size_t number);

  Path path_;
  CaptureHeader header_;
  std::vector<CapturedCall> calls_;
};

}  // namespace meshseek
