#include "stage3_run/capture_writer.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/checksum.hpp"
#include "base/error.hpp"
#include "mesh/mesh_device.hpp"
#include "ops/cpu/kernels.hpp"

namespace meshseek {
namespace {

template <class Visit>
void visit_weight_files(const Tree& node, const std::string& where, Visit&& visit) {
  if (node.is_string()) return visit(where, node.as_string(where));
  if (const Tree* path = node.find("path")) return visit(where, path->as_string(where));
  if (!node.is_object()) return;
  for (const auto& [name, child] : node.as_object(where)) visit_weight_files(child, where + "." + name, visit);
}

Path make_data_folder(const Path& capture) {
  const Path folder = data_folder_of(capture);
  std::error_code error;
  if (!std::filesystem::create_directory(folder, error)) {
    std::filesystem::remove(capture, error);  // made a moment ago, still empty
    throw Error(fmt::format("[{}] cannot be made, or is there already; remove the old capture or give another name", folder.string()));
  }
  return folder;
}

}  // namespace

CaptureWriter::CaptureWriter(const Path& file, const Path& store, const MeshShape& mesh)
    : store_(std::filesystem::absolute(store)), mesh_(mesh), lines_(file), data_(make_data_folder(file)) {}

void CaptureWriter::add_weight_paths(const Tree& weight_config, const std::string& root) {
  if (weight_config.is_null()) return;
  const Tree expanded = expand_tree(weight_config, {}, LayerPlaceholder::substitute, root);
  visit_weight_files(expanded, root, [&](const std::string& where, const std::string& path) { weight_paths_[where] = path; });
}

void CaptureWriter::write_header() {
  const DeviceDescription device = probe_device();
  const CaptureHeader header = {.store = store_.string(),
                                .mesh = to_string(mesh_),
                                .modes = header_modes_,
                                .isa = cpu::kernels().isa,
                                .num_cores = device.num_cores,
                                .l2_bytes = device.l2_bytes};
  lines_.write(to_json_line(to_tree(header)) + "\n");
  has_header_ = true;
}

CapturedTensor CaptureWriter::store_value(const NamedTensor& value) {
  const Tensor& tensor = value.tensor;
  if (tensor.layout() != Layout::row_major || is_block_float(tensor.dtype())) {
    throw Error(fmt::format("[capture {}] is {} {} {}; only ROW_MAJOR values can be captured", value.name, to_string(tensor.shape()),
                            to_string(tensor.dtype()), to_string(tensor.layout())));
  }
  CapturedTensor entry = {
      .name = value.name, .shape = tensor.shape(), .dtype = tensor.dtype(), .checksum = checksum_text(checksum64(tensor.bytes()))};
  // What one operator returns is what the next is given: each value is written once.
  if (stored_.insert(entry.checksum).second) AppendedFile(data_ / (entry.checksum + ".bin")).write(tensor.bytes());
  return entry;
}

std::vector<CapturedTensor> CaptureWriter::store_values(const std::vector<NamedTensor>& values) {
  std::vector<CapturedTensor> entries;
  for (const NamedTensor& value : values) entries.push_back(store_value(value));
  return entries;
}

void CaptureWriter::start(const OperatorCall& call) {
  if (!has_header_) write_header();
  pending_ = {.index = num_calls_, .op = std::string(call.op), .config = call.config_tree};
  if (const auto place = places_.find(call.config); place != places_.end()) {
    last_ = place->second;
    pending_.path = last_.path;
  } else if (!last_.path.empty()) {
    pending_.after = last_.path;
  }
  if (!last_.mode.empty()) pending_.mode = last_.mode;
  if (!call.inputs.arguments().empty()) pending_.arguments = Tree(call.inputs.arguments());
  for (const auto& [name, tensor] : call.weights) {
    const auto file = weight_paths_.find(last_.path + "." + name);
    const bool is_known = pending_.path && file != weight_paths_.end();
    pending_.weights.push_back({.name = name, .path = is_known ? file->second : "", .shape = tensor.shape(), .dtype = tensor.dtype()});
  }
  pending_.inputs = store_values(call.inputs.tensors());
}

void CaptureWriter::finish(const CallValues& outputs) {
  pending_.outputs = store_values(outputs.tensors());
  lines_.write(to_json_line(to_tree(pending_)) + "\n");
  ++num_calls_;
}

RunnerCapture::RunnerCapture(const Path& file, const Path& store, Runner& runner)
    : writer_(file, store, read_store_info(store).mesh), device_(&runner.device()) {
  const Tree weight_config = read_store_info(store).weight_config;
  writer_.add_run_config(runner.prefill_run_config(), "model", "prefill", weight_config);
  writer_.add_run_config(runner.decode_run_config(), "model", "decode", weight_config);
  device_->set_recorder(&writer_);
}

}  // namespace meshseek
