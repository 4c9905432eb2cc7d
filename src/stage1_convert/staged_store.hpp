/// A store while it is converted: new files are staged beside the old ones and take their places together at the end.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "base/file_lock.hpp"
#include "base/thread_team.hpp"
#include "stage1_convert/manifest.hpp"

namespace meshseek {

inline constexpr const char* kWeightConfigFile = "weight_config.json";
inline constexpr const char* kUnfinishedMark = "conversion_unfinished";
inline constexpr const char* kLockFile = "conversion_lock";
inline constexpr const char* kStagingFolder = "conversion_staging";

/// Until commit() a finished store stays as it is and usable, whatever happens; a store that never was finished carries a mark that stage 3 refuses. What was
/// finished before a crash is in the staging folder and its journal, and counts. Holds the store's lock: a second conversion waits.
class StagedStore {
 public:
  /// Makes the folder when it is missing. Staged files of an earlier conversion are checked by content, on the team.
  /// \throws Error: files that are no store, not writable, ...
  StagedStore(Path store, ThreadTeam& team);

  /// Entry of a finished file, in place or staged, that is there with its size; a null pointer otherwise.
  const ManifestEntry* find(const std::string& path) const;
  /// Whether stage 3 would take the store as it is now.
  bool is_finished() const { return is_finished_; }
  /// The manifest of the finished store, possibly empty.
  const Manifest& manifest() const { return manifest_; }
  const Path& path() const { return store_; }
  /// Where new files are written; made on first use. A store that is not finished gets its mark.
  const Path& prepare_staging();
  /// A staged file is whole.
  void add(const std::string& path, ManifestEntry entry);
  /// Forgets what is known of a file: it will be built again.
  void forget(const std::string& path);

  /// Small files of the store and their contents.
  using Documents = std::map<std::string, std::string>;
  /// Moves staged files into place, removes tensor files that `tensors` does not name, writes the documents and the manifest, in an order in which a crash
  /// leaves a store that is either the old one, or refused and completed by the next conversion, or the new one.
  void commit(const std::set<std::string>& tensors, const Documents& documents, ThreadTeam& team);
  /// Whether commit() would change anything.
  bool needs_commit(const std::set<std::string>& tensors, const Documents& documents) const;

 private:
  void recover(ThreadTeam& team);
  void move_staged(ThreadTeam& team);
  void remove_orphans(const std::set<std::string>& tensors) const;

  Path store_;
  Path staging_;
  std::optional<FileLock> lock_;
  bool is_finished_ = false;
  Manifest manifest_;
  std::map<std::string, ManifestEntry> staged_;  ///< in the staging folder, or moved into place by a commit that was interrupted
  std::optional<AppendedFile> journal_;
};

/// Tensor files below a folder, as paths relative to it; staged ones are left out.
std::vector<std::string> tensor_files_of(const Path& store);

}  // namespace meshseek
