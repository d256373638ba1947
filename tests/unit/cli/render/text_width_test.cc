#include "cli/render/text_width.h"

#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

TEST(TextWidthTest, Widths) {
  EXPECT_EQ(DisplayWidth(""), 0U);
  EXPECT_EQ(DisplayWidth("abc"), 3U);
  EXPECT_EQ(DisplayWidth("café"), 4U);
  EXPECT_EQ(DisplayWidth("cafe\u0301"), 4U);
  EXPECT_EQ(DisplayWidth("极限2GB模式"), 11U);
  EXPECT_EQ(DisplayWidth("한글カナ"), 8U);
  EXPECT_EQ(DisplayWidth("🚀"), 2U);
  EXPECT_EQ(DisplayWidth("\xFF\xC3"), 2U);
}

TEST(TextWidthTest, TruncationNeverCutsACharacter) {
  EXPECT_EQ(Truncate("abcdef", 6), "abcdef");
  EXPECT_EQ(Truncate("abcdef", 4), "abc…");
  EXPECT_EQ(Truncate("极限模式", 8), "极限模式");
  EXPECT_EQ(Truncate("极限模式", 7), "极限模…");
  EXPECT_EQ(Truncate("极限模式", 6), "极限…");
  EXPECT_EQ(Truncate("abc", 1), "…");
  EXPECT_EQ(Truncate("abc", 0), "");
}

TEST(TextWidthTest, WhatCouldSteerATerminalIsReplaced) {
  EXPECT_EQ(Printable("a\x1b[2Jb\r\n\tc\x7f"), "a?[2Jb???c?");
  EXPECT_EQ(Printable("\xC2\x9B"
                      "1m"),
            "?1m")
      << "a control sequence in one character";
  EXPECT_EQ(Printable("设备 ü"), "设备 ü");
  EXPECT_EQ(Printable("a\u202Eb\u2066c"), "a?b?c") << "what turns the direction";
  EXPECT_EQ(Printable("a\xC0\xAF"
                      "b\xED\xA0\x80\xF5"),
            "a??b????")
      << "overlong, surrogate, beyond Unicode";
}

}  // namespace
}  // namespace ballast::cli
