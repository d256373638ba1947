#include "worker/agent/attempt_key.h"

#include <gtest/gtest.h>

namespace ballast::agent {
namespace {

TEST(AttemptKeyTest, TextReadsBack) {
  const AttemptKey key{"j-0123456789.12", 3};
  EXPECT_EQ(ToText(key), "j-0123456789.12@3");
  EXPECT_EQ(ParseAttemptKey("j-0123456789.12@3"), key);
}

TEST(AttemptKeyTest, OnlyHarmlessNamesBecomeFiles) {
  EXPECT_TRUE(IsUsableRunId("j-0123456789.12"));
  for (const char* const bad : {"", ".", "..", ".hidden", "a/b", "a@b", "a b", "a\n"})
    EXPECT_FALSE(IsUsableRunId(bad)) << bad;
  EXPECT_FALSE(IsUsableRunId(std::string(129, 'a')));
  for (const char* const bad : {"", "@1", "a", "a@", "a@0", "a@-1", "a@1x", "a@4294967296", "../a@1"}) {
    EXPECT_FALSE(ParseAttemptKey(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace ballast::agent
