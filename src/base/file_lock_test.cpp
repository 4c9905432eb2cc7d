#include "base/file_lock.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <optional>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

class FileLocks : public testing::Test {
 protected:
  Path path() const { return folder_.path() / "lock"; }

  TemporaryFolder folder_;
};

TEST_F(FileLocks, CreateTheirFileWhenItIsMissing) {
  {
    const FileLock lock(path());
  }
  EXPECT_TRUE(std::filesystem::is_regular_file(path()));
  const FileLock again(path());
}

TEST_F(FileLocks, LetOneHolderInAtATime) {
  std::atomic<int> num_inside = 0;
  std::atomic<int> max_inside = 0;
  {
    std::vector<std::jthread> holders(4);
    for (std::jthread& holder : holders) {
      holder = std::jthread([&] {
        for (int round = 0; round < 50; ++round) {
          const FileLock lock(path());
          const int inside = ++num_inside;
          if (inside > max_inside) max_inside = inside;
          std::this_thread::yield();
          --num_inside;
        }
      });
    }
  }
  EXPECT_EQ(max_inside, 1);
}

TEST_F(FileLocks, MakeTheSecondHolderWaitForTheFirst) {
  std::optional<FileLock> first(path());
  std::atomic<bool> entered = false;
  std::jthread second([&] {
    const FileLock lock(path());
    entered = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(entered);
  first.reset();
  second.join();
  EXPECT_TRUE(entered);
}

TEST_F(FileLocks, EndWithTheProcessThatHeldThem) {
  std::array<int, 2> ready = {};
  ASSERT_EQ(pipe(ready.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    const FileLock lock(path());
    const bool told = write(ready[1], "x", 1) == 1;
    pause();
    _exit(told ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  kill(child, SIGKILL);
  const FileLock lock(path());  // hangs, and so fails by ctest's time limit, if the lock outlived its holder
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(FileLocks, RefuseAFolderThatDoesNotExist) {
  const Path missing = folder_.path() / "missing" / "lock";
  EXPECT_THAT([&] { FileLock{missing}; },
              testing::ThrowsMessage<Error>(testing::StartsWith(fmt::format("[{}] cannot open the lock file: ", missing.string()))));
}

}  // namespace
}  // namespace meshseek
