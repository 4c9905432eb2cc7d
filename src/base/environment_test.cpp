#include "base/environment.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/error.hpp"

namespace meshseek {
namespace {

std::optional<std::int64_t> number_in(const char* text) {
  ::setenv("MESHSEEK_TEST_NUMBER", text, 1);
  return number_of_environment("MESHSEEK_TEST_NUMBER", 100, "seconds");
}

TEST(Environment, NumbersUpToTheMostAreTaken) {
  EXPECT_EQ(number_in("0"), 0);
  EXPECT_EQ(number_in("100"), 100);
  ::unsetenv("MESHSEEK_TEST_NUMBER");
  EXPECT_EQ(number_of_environment("MESHSEEK_TEST_NUMBER", 100, "seconds"), std::nullopt);
}

TEST(Environment, WhatIsNoSuchNumberIsRefusedWithItsName) {
  for (const char* text : {"", "101", "-1", "5s", "soon"}) {
    try {
      number_in(text);
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()), "[MESHSEEK_TEST_NUMBER] \"" + std::string(text) + "\"; expected seconds from 0 to 100");
    }
  }
}

}  // namespace
}  // namespace meshseek
