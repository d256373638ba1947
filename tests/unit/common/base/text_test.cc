#include "common/base/text.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace ballast::base {
namespace {

TEST(QuotedTest, FitsOnOneLine) {
  using namespace std::string_literals;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "''"},
      {"abc", "'abc'"},
      {"手机模拟", "'手机模拟'"},
      {"a\nb", "'a\\nb'"},
      {"\x1b[31m", "'\\x1b[31m'"},
      {"\0x"s, "'\\x00x'"},
      {"\x7f", "'\\x7f'"},
      {"\xc2\x85", "'\\x85'"},
      {"a\xff\x62", "'a\\xffb'"},
      {"a\u202e", "'a\\u202e'"},
  };
  for (const auto& [text, quoted] : cases) EXPECT_EQ(Quoted(text), quoted);
}

TEST(QuotedTest, CutsWhatIsLongBetweenCharacters) {
  const std::string quoted = Quoted(std::string(1'000'000, 'x'));
  EXPECT_LT(quoted.size(), 70U);
  EXPECT_NE(quoted.find("…'"), std::string::npos);
  std::string wide;
  for (int i = 0; i < 100; ++i) wide += "内";
  EXPECT_EQ(FindInvalidUtf8(Quoted(wide)), std::string_view::npos);
}

TEST(FindInvalidUtf8Test, TellsTheFirstBadByte) {
  constexpr std::size_t kNone = std::string_view::npos;
  const std::vector<std::pair<std::string_view, std::size_t>> cases = {
      {"", kNone},
      {"abc 内存 \xf0\x9f\x98\x80", kNone},
      {"\xf4\x8f\xbf\xbf", kNone},  // U+10FFFF
      {"ab\x80", 2},
      {"\xc0\x80", 0},          // overlong
      {"\xe0\x80\x80", 0},      // overlong
      {"\xf0\x80\x80\x80", 0},  // overlong
      {"\xed\xa0\x80", 0},      // surrogate
      {"\xf4\x90\x80\x80", 0},  // beyond U+10FFFF
      {"a\xe5\x86", 1},         // cut off
      {"a\xe5\x86z", 1},
      {"\xf8\x88\x80\x80\x80", 0},
  };
  for (const auto& [text, position] : cases) EXPECT_EQ(FindInvalidUtf8(text), position) << Quoted(text);
}

TEST(RepairUtf8Test, ReplacesWhatIsNoCharacter) {
  EXPECT_EQ(RepairUtf8(""), "");
  EXPECT_EQ(RepairUtf8("abc 内存"), "abc 内存");
  EXPECT_EQ(RepairUtf8("a\xff\xfe\x62"), "a\xef\xbf\xbd\xef\xbf\xbd\x62");
  EXPECT_EQ(RepairUtf8("cut \xe5\x86"), "cut \xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace ballast::base
