#include "hf/generated_checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/stopwatch.hpp"
#include "base/thread_team.hpp"
#include "hf/generated_tensors.hpp"
#include "hf/generated_values.hpp"
#include "hf/hf_config.hpp"

namespace meshseek {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kPieceBytes = 1 << 20;    ///< what one thread draws and writes at once, or one row when that is more
constexpr std::int64_t kStepBytes = 64'000'000;  ///< what is written between two reports

std::int64_t bytes_of(const GeneratedTensor& tensor) { return stored_bytes(tensor.shape, tensor.dtype); }

/// The tensors of one file.
struct WeightFile {
  std::string name = {};
  std::span<const GeneratedTensor> tensors = {};
};

/// Deals the tensors in their order; a weight may be parted from its scales, as in published checkpoints.
std::vector<WeightFile> deal_into_files(std::span<const GeneratedTensor> tensors, std::int64_t max_file_bytes) {
  std::vector<WeightFile> files;
  std::size_t first = 0;
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (i > first && bytes + bytes_of(tensors[i]) > max_file_bytes) {
      files.push_back({.tensors = tensors.subspan(first, i - first)});
      first = i;
      bytes = 0;
    }
    bytes += bytes_of(tensors[i]);
  }
  files.push_back({.tensors = tensors.subspan(first)});
  for (std::size_t i = 0; i < files.size(); ++i) files[i].name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, files.size());
  return files;
}

/// Rows of one tensor and where they lie in the file.
struct Piece {
  const GeneratedTensor* tensor = nullptr;
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
};

std::vector<Piece> cut_into_pieces(std::span<const GeneratedTensor> tensors, std::int64_t offset) {
  std::vector<Piece> pieces;
  for (const GeneratedTensor& tensor : tensors) {
    const std::int64_t rows = matrix_size(tensor).rows;
    const std::int64_t row_bytes = bytes_of(tensor) / rows;
    const std::int64_t rows_per_piece = std::max<std::int64_t>(1, kPieceBytes / row_bytes);
    for (std::int64_t row = 0; row < rows; row += rows_per_piece) {
      const std::int64_t num_rows = std::min(rows_per_piece, rows - row);
      pieces.push_back({.tensor = &tensor, .first_row = row, .num_rows = num_rows, .offset = offset, .bytes = num_rows * row_bytes});
      offset += pieces.back().bytes;
    }
  }
  return pieces;
}

/// Refuses a folder that holds anything.
void check_folder(const Path& folder) {
  if (!std::filesystem::exists(folder)) return;
  if (!std::filesystem::is_directory(folder)) {
    throw Error(fmt::format("[{}] is a file; expected a folder for the checkpoint; name a new or empty folder", folder.string()));
  }
  if (!std::filesystem::is_empty(folder)) {
    throw Error(
        fmt::format("[{}] is not empty; expected a new or empty folder; name another one or remove what it holds", folder.string()));
  }
}

/// Refuses what will not fit on the disk; the header of a file is small beside its tensors.
void check_space(const Path& folder, std::int64_t bytes) {
  Path existing = std::filesystem::absolute(folder);
  while (!std::filesystem::exists(existing)) existing = existing.parent_path();
  const auto available = std::filesystem::space(existing).available;
  if (static_cast<std::uintmax_t>(bytes) <= available) return;
  throw Error(fmt::format(
      "[{}] the checkpoint has {:.1f} GB, but the disk has {:.1f} GB free; expected enough for all of it; keep fewer layers or name "
      "a folder on another disk",
      folder.string(), static_cast<double>(bytes) / 1e9, static_cast<double>(available) / 1e9));
}

/// The folder while it is filled: whatever ends the work early, nothing of it stays.
class UnfinishedFolder {
 public:
  /// Makes the folder when it is missing. \throws Error naming it when that fails.
  explicit UnfinishedFolder(const Path& folder) : folder_(folder), is_new_(!std::filesystem::exists(folder)) {
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    if (failed) throw Error(fmt::format("[{}] cannot make the folder: {}; name another one", folder.string(), failed.message()));
  }
  UnfinishedFolder(const UnfinishedFolder&) = delete;
  UnfinishedFolder& operator=(const UnfinishedFolder&) = delete;
  ~UnfinishedFolder() {
    std::error_code ignored;
    for (const std::string& name : names_) std::filesystem::remove(folder_ / name, ignored);
    if (is_new_ && !is_finished_) std::filesystem::remove(folder_, ignored);  // only when it is empty
  }

  /// The path of a file that is about to be written.
  Path add(const std::string& name) {
    names_.push_back(name);
    return folder_ / name;
  }
  void finish() {
    is_finished_ = true;
    names_.clear();
  }

 private:
  Path folder_;
  bool is_new_;
  bool is_finished_ = false;
  std::vector<std::string> names_;
};

/// Draws and writes files one after the other, the pieces of each on all threads.
class Writer {
 public:
  Writer(const GenerateOptions& options, std::int64_t total_bytes)
      : options_(options), team_(options.num_threads), workers_(team_.size(), Worker{ValueSource(options.seed), {}}) {
    progress_.total_bytes = total_bytes;
  }

  void write(const Path& path, std::span<const GeneratedTensor> tensors) {
    std::vector<NamedShape> shapes;
    for (const GeneratedTensor& tensor : tensors) shapes.push_back({.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape});
    const std::string header = safetensors_header(shapes, path.string(), Tree(Tree::Object{{"format", "pt"}}));
    AtomicFile file(path);
    file.write_at(0, std::as_bytes(std::span(header)));
    const std::vector<Piece> pieces = cut_into_pieces(tensors, static_cast<std::int64_t>(header.size()));
    for (std::size_t first = 0; first < pieces.size();) {
      std::size_t count = 0;
      std::int64_t bytes = 0;
      while (first + count < pieces.size() && bytes < kStepBytes) bytes += pieces[first + count++].bytes;
      write_pieces(file, std::span(pieces).subspan(first, count));
      file.start_flush();
      first += count;
      report(bytes);
    }
    file.publish();
    ++progress_.files_done;
  }

  double seconds() const { return seconds_since(start_); }

 private:
  struct Worker {
    ValueSource source;
    std::vector<std::byte> buffer;
  };

  /// Each thread takes the next piece that nobody has; a piece is the same whoever draws it.
  void write_pieces(AtomicFile& file, std::span<const Piece> pieces) {
    std::atomic<std::size_t> next = 0;
    team_.parallel_for(workers_.size(), 1, [&](std::size_t begin, std::size_t) {
      Worker& worker = workers_[begin];
      for (std::size_t i = next++; i < pieces.size(); i = next++) {
        const Piece& piece = pieces[i];
        worker.buffer.resize(static_cast<std::size_t>(piece.bytes));
        worker.source.draw_rows(*piece.tensor, piece.first_row, piece.num_rows, worker.buffer);
        file.write_at(static_cast<std::size_t>(piece.offset), worker.buffer);
      }
    });
  }

  void report(std::int64_t bytes) {
    progress_.bytes_done += bytes;
    progress_.seconds = seconds();
    if (options_.on_progress) options_.on_progress(progress_);
  }

  const GenerateOptions& options_;
  ThreadTeam team_;
  std::vector<Worker> workers_;
  GenerateProgress progress_;
  Clock::time_point start_ = Clock::now();
};

Tree index_of(std::span<const WeightFile> files, std::int64_t total_bytes) {
  Tree::Object weight_map;
  for (const WeightFile& file : files) {
    for (const GeneratedTensor& tensor : file.tensors) weight_map.emplace_back(tensor.name, file.name);
  }
  Tree index;
  index.set("metadata", Tree(Tree::Object{{"total_size", total_bytes}}));
  index.set("weight_map", Tree(std::move(weight_map)));
  return index;
}

}  // namespace

GenerateReport generate_checkpoint(const Tree& config, const Path& folder, const GenerateOptions& options) {
  const std::string config_text = to_json(config);
  const std::vector<GeneratedTensor> tensors = generated_tensors(parse_hf_config(config_text, "config.json"), options.seed);
  std::int64_t total_bytes = 0;
  for (const GeneratedTensor& tensor : tensors) total_bytes += bytes_of(tensor);
  check_folder(folder);
  check_space(folder, total_bytes);

  UnfinishedFolder unfinished(folder);
  Writer writer(options, total_bytes);
  const std::vector<WeightFile> files = deal_into_files(tensors, options.max_file_bytes);
  for (const WeightFile& file : files) writer.write(unfinished.add(file.name), file.tensors);
  write_file_atomically(unfinished.add("model.safetensors.index.json"), to_json(index_of(files, total_bytes)));
  write_file_atomically(unfinished.add("config.json"), config_text);
  unfinished.finish();
  return {.num_tensors = static_cast<std::int64_t>(tensors.size()), .bytes = total_bytes, .seconds = writer.seconds()};
}

}  // namespace meshseek
