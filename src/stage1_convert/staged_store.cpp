#include "stage1_convert/staged_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "base/error.hpp"
#include "config/serialise.hpp"
#include "stage1_convert/convert.hpp"
#include "stage1_convert/file_sums.hpp"

namespace meshseek {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJournal = "journal.jsonl";

void check_folder(const Path& store) {
  if (!fs::exists(store)) return;
  if (!fs::is_directory(store)) throw Error(fmt::format("[{}] is a file; expected a folder for the store", store.string()));
  // In this order: another converter may begin at any moment, and what it writes first is the lock.
  if (fs::is_empty(store) || fs::exists(store / kLockFile) || fs::exists(store / kWeightConfigFile)) return;
  throw Error(fmt::format("[{}] holds other files and is no store; name a new or empty folder", store.string()));
}

bool has_size(const Path& path, std::int64_t bytes) {
  std::error_code failed;
  const auto size = fs::file_size(path, failed);
  return !failed && static_cast<std::int64_t>(size) == bytes;
}

std::string journal_line(const std::string& path, const ManifestEntry& entry) {
  Tree line;
  line.set("path", Tree(path));
  line.set("entry", to_tree(entry));
  return to_json_line(line) + "\n";
}

/// Entries of the journal in their order. A line that a crash cut short ends it.
std::map<std::string, ManifestEntry> read_journal(const Path& path) {
  std::map<std::string, ManifestEntry> entries;
  if (!fs::exists(path)) return entries;
  const std::string text = read_text_file(path);
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    try {
      const Tree line = parse_json(std::string_view(text).substr(begin, end - begin), "journal");
      const Tree* name = line.find("path");
      const Tree* entry = line.find("entry");
      if (name == nullptr || entry == nullptr) break;
      entries.insert_or_assign(name->as_string("journal path"), from_tree<ManifestEntry>(*entry, "journal entry"));
    } catch (const ConfigError&) {
      break;
    }
  }
  return entries;
}

/// A manifest that cannot be read counts as none: everything is built again.
Manifest readable_manifest(const Path& store) {
  try {
    return read_manifest(store).value_or(Manifest{});
  } catch (const ConfigError&) {
    return {};
  }
}

}  // namespace

std::vector<std::string> tensor_files_of(const Path& store) {
  std::vector<std::string> files;
  if (!fs::exists(store)) return files;
  for (auto entry = fs::recursive_directory_iterator(store); entry != fs::recursive_directory_iterator(); ++entry) {
    if (entry->path().filename() == kStagingFolder) entry.disable_recursion_pending();
    const std::string extension = entry->path().extension().string();
    if (extension == ".tensorbin" || extension == ".tmp") files.push_back(entry->path().lexically_relative(store).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

StagedStore::StagedStore(Path store, ThreadTeam& team) : store_(std::move(store)), staging_(store_ / kStagingFolder) {
  check_folder(store_);
  std::error_code failed;
  fs::create_directories(store_, failed);
  if (failed) throw Error(fmt::format("[{}] cannot make the folder of the store: {}", store_.string(), failed.message()));
  lock_.emplace(store_ / kLockFile);
  is_finished_ = fs::exists(store_ / kWeightConfigFile) && !fs::exists(store_ / kUnfinishedMark);
  manifest_ = readable_manifest(store_);
  recover(team);
}

void StagedStore::recover(ThreadTeam& team) {
  if (!fs::exists(staging_)) return;
  const std::map<std::string, ManifestEntry> entries = read_journal(staging_ / kJournal);
  std::vector<std::pair<std::string, ManifestEntry>> known(entries.begin(), entries.end());
  std::vector<char> is_whole(known.size(), 0);
  // The size says enough of a process that was killed, but not of a power failure.
  team.parallel_for(known.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t idx = begin; idx < end; ++idx) {
      const auto& [path, entry] = known[idx];
      const Path file = fs::exists(staging_ / path) ? staging_ / path : store_ / path;
      is_whole[idx] = has_size(file, entry.bytes) && sums_of_file(file).sha256 == entry.sha256 ? 1 : 0;
    }
  });
  for (std::size_t idx = 0; idx < known.size(); ++idx) {
    if (is_whole[idx] != 0) staged_.insert(std::move(known[idx]));
  }
}

const ManifestEntry* StagedStore::find(const std::string& path) const {
  if (const auto staged = staged_.find(path); staged != staged_.end()) return &staged->second;
  const auto entry = manifest_.files.find(path);
  if (entry == manifest_.files.end() || !has_size(store_ / path, entry->second.bytes)) return nullptr;
  return &entry->second;
}

const Path& StagedStore::prepare_staging() {
  if (journal_) return staging_;
  if (!is_finished_) write_file_atomically(store_ / kUnfinishedMark, std::string_view("run `meshseek convert` again\n"));
  fs::create_directories(staging_);
  std::string lines;
  for (const auto& [path, entry] : staged_) lines += journal_line(path, entry);
  write_file_atomically(staging_ / kJournal, std::string_view(lines));
  for (const auto& entry : fs::recursive_directory_iterator(staging_)) {
    if (entry.path().extension() == ".tmp") fs::remove(entry.path());
  }
  journal_.emplace(staging_ / kJournal, true);
  return staging_;
}

void StagedStore::add(const std::string& path, ManifestEntry entry) {
  journal_->write(journal_line(path, entry));
  staged_.insert_or_assign(path, std::move(entry));
}

void StagedStore::forget(const std::string& path) { staged_.erase(path); }

bool StagedStore::needs_commit(const std::set<std::string>& tensors, const Documents& documents) const {
  if (!is_finished_ || !staged_.empty() || fs::exists(staging_)) return true;
  if (manifest_.converter_version != kConverterVersion || manifest_.files.size() != tensors.size() + documents.size()) return true;
  const std::vector<std::string> present = tensor_files_of(store_);
  if (std::set<std::string>(present.begin(), present.end()) != tensors) return true;
  return std::any_of(documents.begin(), documents.end(), [&](const auto& document) {
    const auto& [name, content] = document;
    return !fs::exists(store_ / name) || read_text_file(store_ / name) != content || !manifest_.files.contains(name);
  });
}

void StagedStore::move_staged(ThreadTeam& team) {
  std::vector<std::string> paths;
  for (const auto& [path, entry] : staged_) {
    if (fs::exists(staging_ / path)) paths.push_back(path);
  }
  team.parallel_for(paths.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t idx = begin; idx < end; ++idx) {
      flush_to_disk(staging_ / paths[idx]);
      forget_cached(staging_ / paths[idx]);
    }
  });
  write_file_atomically(store_ / kUnfinishedMark, std::string_view("run `meshseek convert` again\n"));
  std::set<Path> folders;
  for (const std::string& path : paths) {
    const Path target = store_ / path;
    fs::create_directories(target.parent_path());
    fs::rename(staging_ / path, target);
    folders.insert(target.parent_path());
  }
  for (const Path& folder : folders) flush_to_disk(folder);
}

void StagedStore::remove_orphans(const std::set<std::string>& tensors) const {
  for (const std::string& path : tensor_files_of(store_)) {
    if (!tensors.contains(path)) fs::remove(store_ / path);
  }
}

void StagedStore::commit(const std::set<std::string>& tensors, const Documents& documents, ThreadTeam& team) {
  prepare_staging();
  move_staged(team);
  remove_orphans(tensors);
  Manifest manifest = {.converter_version = kConverterVersion};
  for (const std::string& path : tensors) manifest.files.emplace(path, *find(path));
  for (const auto& [name, content] : documents) {
    write_file_atomically(store_ / name, std::string_view(content));
    manifest.files.emplace(name, entry_of_copy(store_ / name));
  }
  write_file_atomically(store_ / kManifestFile, std::string_view(manifest_text(manifest)));
  fs::remove(store_ / kUnfinishedMark);
  journal_.reset();
  fs::remove_all(staging_);
  flush_to_disk(store_);
  manifest_ = std::move(manifest);
  staged_.clear();
  is_finished_ = true;
}

}  // namespace meshseek
