// Messages from text, which is how they read best in tests.
#pragma once

#include <string>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace ballast::report {

// The message; fails the test where the text is not one.
template <typename Message>
[[nodiscard]] Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

}  // namespace ballast::report
