#include "base/error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace meshseek {
namespace {

// Parts of files and names stand in messages: none may forge a second line or fill the terminal.
TEST(Error, MessagesAreOneLine) {
  EXPECT_STREQ(Error("[a\nb] \x1b[2J\x7f").what(), "[a b]  [2J ");
  EXPECT_STREQ(ConfigError("[größe] 5").what(), "[größe] 5");
}

TEST(Error, LongMessagesKeepWhereAndWhatToDo) {
  const std::string message = Error("[where] " + std::string(100000, 'x') + "; what to do").what();
  EXPECT_LT(message.size(), 2000u);
  EXPECT_TRUE(message.starts_with("[where] xx"));
  EXPECT_TRUE(message.ends_with("xx; what to do"));
}

}  // namespace
}  // namespace meshseek
