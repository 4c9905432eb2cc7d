// What the front of a mesh says when devices fail.
#include "stage3_run/other_devices.hpp"

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "mesh/threads/thread_mesh.hpp"
#include "stage3_run/device_threads.hpp"

namespace meshseek {
namespace {

using ::testing::ContainsRegex;
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
  EXPECT_THAT(thrown([&] { communicators[0]->receive(1, MessageTag::send, {}); }), ContainsRegex("rank [123] on host .* failed in start"));  // nobody waits for them
}

}  // namespace
}  // namespace meshseek
