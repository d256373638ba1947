#include "common/base/label.h"

#include <string>

#include "gtest/gtest.h"

namespace ballast::base {
namespace {

TEST(LabelTest, RefusesWhatCouldNotBeWrittenOnACommandLine) {
  for (const char* key : {"", "a=b", "a,b", "a b", "a\n", "a\x1b", "a\u009b", "a\u202e"}) {
    EXPECT_EQ(CheckLabel(key, "v").code(), absl::StatusCode::kInvalidArgument) << key;
  }
  for (const char* value : {"a,b", "\x1b[31m", "\u009b31m", "a\u2066"}) {
    EXPECT_EQ(CheckLabel("k", value).code(), absl::StatusCode::kInvalidArgument) << value;
  }
  EXPECT_EQ(CheckLabel(std::string(129, 'k'), "v").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckLabel("k", std::string(129, 'v')).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(CheckLabel("机型", "老旧 设备").ok());
  EXPECT_TRUE(CheckLabel("ballast.io/class", "a=b").ok());
}

}  // namespace
}  // namespace ballast::base
