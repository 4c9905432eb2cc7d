// Devices of one process that never go on end it.
#include "mesh/threads/thread_watch.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <cstdlib>
#include <span>
#include <thread>

#include "mesh/threads/thread_mesh.hpp"

namespace meshseek {
namespace {

using std::chrono::seconds;

/// The limit is one second; the process of a test that dies is another one.
class ThreadWatching : public ::testing::Test {
 protected:
  ThreadWatching() {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    ::setenv("MESHSEEK_HANG_LIMIT_S", "1", 1);
  }
  ~ThreadWatching() override { ::unsetenv("MESHSEEK_HANG_LIMIT_S"); }

  std::vector<std::shared_ptr<Communicator>> devices_ = make_thread_mesh({.rows = 1, .cols = 2});
};

void receive_from(Communicator& communicator, std::int64_t peer) {
  std::byte value = {};
  communicator.progress().enter_layer(4);
  communicator.progress().enter_operator("recv");
  communicator.receive(peer, MessageTag::send, std::span(&value, 1));
}

using ThreadWatchingDeathTest = ThreadWatching;

TEST_F(ThreadWatchingDeathTest, ADeviceThatStaysInAnOperatorEndsTheProcessWithOneLine) {
  const auto loop = [&] {
    const ThreadWatch watch(devices_);
    const std::jthread other([&] { receive_from(*devices_[1], 0); });
    devices_[0]->progress().enter_operator("linear");
    while (true) std::this_thread::sleep_for(seconds(1));
  };
  EXPECT_EXIT(
      loop(), ::testing::ExitedWithCode(1),
      "^meshseek: \\[mesh\\] rank 0 on host [^ ]+ is lost in linear: it hangs \\(nothing has moved for 1 s; [^\n]*\\); rank 1 waits for "
      "it in recv, layer 4\n$");
}

TEST_F(ThreadWatchingDeathTest, DevicesThatWaitForEachOtherEndTheProcessWithOneLine) {
  const auto wait = [&] {
    const ThreadWatch watch(devices_);
    const std::jthread other([&] { receive_from(*devices_[1], 0); });
    receive_from(*devices_[0], 1);
  };
  EXPECT_EXIT(wait(), ::testing::ExitedWithCode(1),
              "rank 0 on host [^ ]+ is lost in recv, layer 4: it waits for rank 1, which waits for rank 0");
}

TEST_F(ThreadWatching, ADeviceWhoseWorkMovesMayTakeLongerThanTheLimit) {
  const ThreadWatch watch(devices_);
  const std::jthread other([&] { receive_from(*devices_[1], 0); });
  devices_[0]->progress().enter_operator("linear");
  for (const auto end = std::chrono::steady_clock::now() + seconds(4); std::chrono::steady_clock::now() < end;) {
    devices_[0]->progress().note_work();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  const std::byte value = {};
  devices_[0]->send(1, MessageTag::send, std::span(&value, 1));
}

}  // namespace
}  // namespace meshseek
