// Memory of conversion and loading, at the size of real layers. Runs alone: it watches the memory of the whole process.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "hf/generated_checkpoint.hpp"
#include "hf/published_models.hpp"
#include "stage1_convert/convert.hpp"
#include "stage2_configure/configure.hpp"
#include "stage3_run/runner.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

/// A value of /proc/self/status in bytes: VmRSS, VmHWM (the largest VmRSS so far).
std::int64_t memory(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
  }
  return -1;
}

void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

/// Two layers of V2-Lite in FP8, one dense and one of experts: 1.1 GB.
class StoreMemory : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    Tree config = published_config("v2-lite");
    keep_first_layers(config, 2);
    set_fp8(config);
    checkpoint_bytes_ = generate_checkpoint(config, checkpoint()).bytes;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static Path checkpoint() { return folder_->path() / "checkpoint"; }

  static inline TemporaryFolder* folder_ = nullptr;
  static inline std::int64_t checkpoint_bytes_ = 0;
};

TEST_F(StoreMemory, ConversionStaysBelowItsLimitAndLoadingBelowTheFilesSize) {
  constexpr std::int64_t kLimit = 48 * kMiB;
  ASSERT_GT(checkpoint_bytes_, 10 * kLimit);
  const Path store = folder_->path() / "store";
  std::int64_t before = memory("VmRSS");
  forget_peak();
  const ConvertReport report = convert_checkpoint(checkpoint(), store, {.memory_limit = kLimit});
  const std::int64_t converting = memory("VmHWM") - before;
  std::printf("converting %ld MB took %ld MB of memory with a limit of %ld MB\n", checkpoint_bytes_ / kMiB, converting / kMiB,
              kLimit / kMiB);
  EXPECT_LT(converting, kLimit);
  ASSERT_GE(report.bytes, std::int64_t{1000} * 1000 * 1000);

  const HfConfig hf = read_hf_config(store);
  const auto config_for = [&](Mode mode) {
    ConfigureOptions options;
    options.mode = mode;
    options.weight_dtype = DataType::bfloat8_b;
    return make_model_config(hf, options);
  };
  for (const bool prefault : {false, true}) {
    before = memory("VmRSS");
    const Runner runner(store, config_for(Mode::prefill), config_for(Mode::decode), {.max_tokens = 64, .prefault = prefault});
    const std::int64_t loaded = memory("VmRSS") - before;
    std::printf("%s store of %ld MB is loaded: %ld MB resident\n", prefault ? "prefaulted," : "lazily,", report.bytes / kMiB,
                loaded / kMiB);
    EXPECT_LE(loaded, report.bytes + report.bytes / 20);
    if (prefault) {
      EXPECT_GE(loaded, report.bytes - report.bytes / 20);
    } else {
      EXPECT_LT(loaded, report.bytes / 4);
    }
  }
}

}  // namespace
}  // namespace meshseek
