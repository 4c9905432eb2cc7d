/// Checks a store against its manifest.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "base/thread_team.hpp"

namespace meshseek {

/// One thing that is wrong with a file.
struct StoreProblem {
  std::string path = {};  ///< below the store
  std::string what = {};
};

struct VerifyReport {
  std::int64_t num_files = 0;
  std::int64_t bytes = 0;  ///< read
  double seconds = 0.0;
  std::vector<StoreProblem> problems = {};  ///< by path
};

struct VerifyProgress {
  std::int64_t files_done = 0;
  std::int64_t bytes_done = 0;
  std::int64_t num_bytes = 0;
  double seconds = 0.0;
};

/// Reads every file of the manifest once: presence, size, SHA-256, and for tensor files header, shape, dtype and shards. One changed byte is located by its
/// tile (TILE) or row and column (ROW_MAJOR); more of them by the MiB. Files that the manifest does not name are problems, too.
/// \param on_progress one call at a time; an exception ends the check. \throws Error, ConfigError: no manifest, or an unreadable one
VerifyReport verify_store(const Path& store, ThreadTeam& team, const std::function<void(const VerifyProgress&)>& on_progress = {});

}  // namespace meshseek
