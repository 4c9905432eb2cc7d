// The choice of instruction set is made once per process: each test runs in a child of its own, started anew.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/amx_permission.hpp"
#include "base/error.hpp"
#include "ops/cpu/kernels.hpp"

namespace meshseek::cpu {
namespace {

/// Prints what kernels() chooses (exit 0) or refuses with (exit 3). `forced` null: the variable is unset.
[[noreturn]] void choose_and_exit(const char* forced) {
  if (forced == nullptr)
    unsetenv("MESHSEEK_FORCE_ISA");
  else
    setenv("MESHSEEK_FORCE_ISA", forced, 1);
  try {
    std::fprintf(stderr, "chose %s\n", kernels().isa);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(3);
  }
  std::_Exit(0);
}

class DispatchDeathTest : public ::testing::Test {
 protected:
  DispatchDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(DispatchDeathTest, ObeysTheForcedInstructionSet) {
  for (const char* isa : {"scalar", "avx2", "avx512", "amx"}) {
    if (find_kernels(isa) == nullptr) continue;
    EXPECT_EXIT(choose_and_exit(isa), ::testing::ExitedWithCode(0), std::string("chose ") + isa + "\n");
  }
}

TEST_F(DispatchDeathTest, RefusesUnknownNamesInsteadOfRunningSomethingElse) {
  for (const char* name : {"sse9", "", "AVX2", "avx2 "}) {
    EXPECT_EXIT(choose_and_exit(name), ::testing::ExitedWithCode(3), "\\[MESHSEEK_FORCE_ISA\\] \"" + std::string(name) + "\" is unknown")
        << name;
  }
}

TEST_F(DispatchDeathTest, RefusesAmxInWordsWhereTheMachineLacksIt) {
  const bool has = amx_is_permitted();
  EXPECT_EXIT(choose_and_exit("amx"), ::testing::ExitedWithCode(has ? 0 : 3),
              has ? "chose amx" : "\\[MESHSEEK_FORCE_ISA\\] \"amx\" is unknown or not supported by this machine");
}

TEST_F(DispatchDeathTest, TakesTheWidestInstructionSetWhenNothingIsForced) {
  const char* widest = "scalar";
  for (const char* isa : {"avx2", "avx512"}) {
    if (find_kernels(isa) != nullptr) widest = isa;
  }
  if (amx_is_permitted()) widest = "amx";
  EXPECT_EXIT(choose_and_exit(nullptr), ::testing::ExitedWithCode(0), std::string("chose ") + widest + "\n");
}

}  // namespace
}  // namespace meshseek::cpu
