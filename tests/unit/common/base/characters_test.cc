#include "common/base/characters.h"

#include <string_view>

#include <gtest/gtest.h>

namespace ballast::base {
namespace {

TEST(FirstCharacterTest, ReadsOneCharacter) {
  const Character chinese = FirstCharacter("内存");
  EXPECT_TRUE(chinese.valid);
  EXPECT_EQ(chinese.code, U'内');
  EXPECT_EQ(chinese.size, 3U);
  EXPECT_EQ(FirstCharacter("\xf4\x8f\xbf\xbf").code, 0x10FFFFU);
  for (const std::string_view text : {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe5\x86"}) {
    const Character none = FirstCharacter(text);
    EXPECT_FALSE(none.valid);
    EXPECT_EQ(none.size, 1U);
  }
}

TEST(UnsafeCharactersTest, AreWhatSteersATerminalOrTurnsTheDirection) {
  for (const std::string_view text : {"a\x1b[31m", "\n", "\t", "\r", "\x7f", "\u0080", "\u009b", "\u009f", "\u202a",
                                      "\u202e", "\u2066", "b\u2069", "\x9b", "cut \xe5\x86"}) {
    EXPECT_TRUE(HasUnsafeCharacters(text)) << EscapeUnsafe(text);
  }
  for (const std::string_view text : {"", "a b~", "\u00a0", "设备 ü 🚀", "\u2029", "\u202f", "\u2065", "\u206a"}) {
    EXPECT_FALSE(HasUnsafeCharacters(text)) << text;
  }
}

TEST(UnsafeCharactersTest, AreEscapedForOneLine) {
  EXPECT_EQ(EscapeUnsafe("设备 ok"), "设备 ok");
  EXPECT_EQ(EscapeUnsafe("x\x1b[31m\nFORGED\r\xff"), "x\\x1b[31m\\nFORGED\\x0d\\xff");
  EXPECT_EQ(EscapeUnsafe("\u009b1m\u202e"), "\\x9b1m\\u202e");
}

}  // namespace
}  // namespace ballast::base
