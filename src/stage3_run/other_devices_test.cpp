// What the front of a mesh says when devices fail.
#include "stage3_run/other_devices.hpp"

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "mesh/threads/thread_mesh.hpp"
#include "stage3_run/device_threads.hpp"
#include "tests/support/engine.hpp"

namespace meshseek {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr MeshShape kMesh = {.rows = 2, .cols = 2};

template <class Function>
std::string thrown(Function&& function) {
  try {
    function();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(ThrowCause, NamesTheDeviceThatFailedAndNotThoseThatWaitedForIt) {
  const std::vector<DeviceError> errors = {{.rank = 0, .error = std::make_exception_ptr(MeshError("device 3 left"))},
                                           {.rank = 3, .error = std::make_exception_ptr(Error("[linear] no such shape"))}};
  EXPECT_EQ(thrown([&] { throw_cause(errors, kMesh); }), "[device 3 (1, 1) of mesh 2x2] [linear] no such shape");
  EXPECT_EQ(thrown([&] { throw_cause(std::span(errors).first(1), kMesh); }), "device 3 left");
  EXPECT_EQ(thrown([&] { throw_cause({}, kMesh); }), "nothing was thrown");
}

TEST(ThrowCause, NamesTheOperatorWhereThereIsOne) {
  const auto communicators = make_thread_mesh(kMesh);
  Progress& progress = communicators[2]->progress();
  progress.enter_operator("linear");
  progress.enter_layer(5);
  const std::exception_ptr error = std::make_exception_ptr(Error("no room"));
  EXPECT_EQ(thrown([&] { throw_cause(std::vector{error_in(*communicators[2], error)}, kMesh); }),
            "[device 2 (1, 0) of mesh 2x2 in linear, layer 5] no room");
  progress.enter_preparation("loading");
  EXPECT_EQ(thrown([&] { throw_cause(std::vector{error_in(*communicators[2], error)}, kMesh); }), "[device 2 (1, 0) of mesh 2x2] no room");
}

TEST(ThrowCause, SaysOfMemoryWhatToDo) {
  const std::vector<DeviceError> errors = {{.rank = 1, .error = std::make_exception_ptr(std::bad_alloc())}};
  EXPECT_EQ(thrown([&] { throw_cause(errors, kMesh); }),
            "[device 1 (0, 1) of mesh 2x2] out of memory; expected more free memory or a smaller model or context");
}

TEST(DeviceThreads, EndWithTheErrorOfADeviceThatCannotLoad) {
  const RunPlan plan = {.store = "/nowhere", .info = {.mesh = kMesh}, .mesh = kMesh};
  const std::vector<DevicePlace> places = place_here(4, Bind::none, 1);
  const auto communicators = make_thread_mesh(kMesh);
  DeviceThreads others(plan, places, communicators);
  EXPECT_THAT(thrown([&] { others.finish(nullptr); }), StartsWith("[device 1 (0, 1) of mesh 2x2] "));
  EXPECT_THAT(thrown([&] { communicators[0]->receive(1, MessageTag::send, {}); }),
              ContainsRegex("rank [123] on host .* failed in loading"));  // nobody waits for them
}

TEST(Runner, AnErrorInTheMiddleOfAPassNamesDeviceOperatorAndLayerAndStays) {
  testing::Engine engine(testing::data_folder() / "checkpoints" / "v2lite-tiny", {.mesh = {.rows = 1, .cols = 2}, .num_threads = 1});
  Runner& runner = engine.runner();
  runner.device().set_observer([&](const OpRecord& record) {
    if (record.op == "linear" && runner.device().communicator().progress().layer_idx() == 1) throw Error("[linear] no room");
  });
  const std::vector<std::int64_t> ids = {1, 2, 3};
  EXPECT_EQ(thrown([&] { runner.prefill(ids, Model::Logits::last); }), "[device 0 (0, 0) of mesh 1x2 in linear, layer 1] [linear] no room");
  EXPECT_THAT(thrown([&] { runner.prefill(ids, Model::Logits::last); }), HasSubstr("failed in linear, layer 1: [linear] no room"));
}

/// Device 1 loops where device 0 has nothing more to wait for but its end, and where it needs its part of a sum.
TEST(RunnerDeathTest, ADeviceThatLoopsInAnOperatorEndsTheProcessWithOneLine) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const std::string op : {"linear", "all_gather"}) {
    const auto loop = [&] {
      ::setenv("MESHSEEK_HANG_LIMIT_S", "1", 1);
      testing::Engine engine(testing::data_folder() / "checkpoints" / "v2lite-tiny", {.mesh = {.rows = 1, .cols = 2}, .num_threads = 1});
      engine.runner().device().set_observer([&](const OpRecord& record) {
        while (record.op == op) std::this_thread::sleep_for(std::chrono::seconds(1));
      });
      engine.runner().prefill(std::vector<std::int64_t>{1, 2, 3}, Model::Logits::last);
    };
    EXPECT_EXIT(loop(), ::testing::ExitedWithCode(1),
                "^meshseek: \\[mesh\\] rank 0 on host [^ ]+ is lost in " + op + "[^\n]*: it hangs [^\n]*\n$");
  }
}

}  // namespace
}  // namespace meshseek
