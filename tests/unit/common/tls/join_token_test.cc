#include "common/tls/join_token.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"

namespace ballast::tls {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

constexpr base::SystemTime kNow{seconds(1'764'460'800)};
constexpr char kSecret[] = "0123456789abcdef0123456789abcdef";
const std::string kFingerprint(64, 'a');

std::string NewToken(v1::Role role = v1::WORKER, const std::string& name = "mini-3") {
  return *MakeJoinToken(role, name, minutes(15), kNow, kFingerprint, kSecret);
}

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

TEST(JoinTokenTest, SaysWhatItWasMadeFor) {
  const std::string text = NewToken();
  EXPECT_THAT(text, testing::MatchesRegex("[A-Za-z0-9._-]+"));
  const auto token = CheckJoinToken(text, kSecret, kNow);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->role, v1::WORKER);
  EXPECT_EQ(token->name, "mini-3");
  EXPECT_EQ(token->expire_time, kNow + minutes(15));
  EXPECT_EQ(token->make_time, kNow);
  EXPECT_EQ(token->maker.name, "") << "made on the coordinator's machine";
  EXPECT_EQ(token->authority_fingerprint, kFingerprint);
  EXPECT_EQ(token->token_id.size(), 16U);
  EXPECT_EQ(ReadJoinToken(text)->token_id, token->token_id);
}

TEST(JoinTokenTest, SaysWhoMadeIt) {
  const base::SystemTime now = kNow + std::chrono::milliseconds(7);
  const TokenMaker maker = {.role = v1::ADMIN, .name = "kim+work@lab", .serial = "4f00"};
  const auto token =
      CheckJoinToken(*MakeJoinToken(v1::WORKER, "", hours(24), now, kFingerprint, kSecret, maker), kSecret, now);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->make_time, now);
  EXPECT_EQ(token->maker.role, v1::ADMIN);
  EXPECT_EQ(token->maker.name, "kim+work@lab");
  EXPECT_EQ(token->maker.serial, "4f00");
}

TEST(JoinTokenTest, EachIsAnother) {
  EXPECT_NE(ReadJoinToken(NewToken())->token_id, ReadJoinToken(NewToken())->token_id);
}

TEST(JoinTokenTest, EndsWithItsTime) {
  const std::string text = NewToken();
  EXPECT_TRUE(CheckJoinToken(text, kSecret, kNow + minutes(15) - seconds(1)).ok());
  const absl::Status status = CheckJoinToken(text, kSecret, kNow + minutes(15)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(status), HasSubstr("expired on 2025-11-30 00:15:00 UTC"));
}

TEST(JoinTokenTest, NoByteOfItMayChange) {
  const std::string text = NewToken();
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string altered = text;
    altered[i] = altered[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(CheckJoinToken(altered, kSecret, kNow).status().code(), absl::StatusCode::kUnauthenticated) << i;
  }
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(CheckJoinToken(text.substr(0, size), kSecret, kNow).ok()) << size;
  }
  EXPECT_FALSE(CheckJoinToken(text + "A", kSecret, kNow).ok());
}

TEST(JoinTokenTest, ARoleThatIsRaisedByHandIsSeen) {
  const std::string text = NewToken();
  const std::size_t first = text.find('.');
  const std::size_t last = text.rfind('.');
  std::string content;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(text.substr(first + 1, last - first - 1), &content));
  content.replace(0, content.find('|'), "admin");
  const std::string forged = "bjt1." + absl::WebSafeBase64Escape(content) + text.substr(last);
  ASSERT_EQ(ReadJoinToken(forged)->role, v1::ADMIN);
  EXPECT_THAT(Message(CheckJoinToken(forged, kSecret, kNow).status()), HasSubstr("altered"));
}

TEST(JoinTokenTest, AnotherCoordinatorsTokenIsNotTaken) {
  EXPECT_EQ(CheckJoinToken(NewToken(), "another secret", kNow).status().code(), absl::StatusCode::kUnauthenticated);
}

TEST(JoinTokenTest, WhatMakesNoTokenIsRefused) {
  const auto make = [](v1::Role role, const std::string& name, std::chrono::nanoseconds ttl) {
    return MakeJoinToken(role, name, ttl, kNow, kFingerprint, kSecret).status().code();
  };
  EXPECT_EQ(make(v1::ROLE_UNSPECIFIED, "a", minutes(1)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(make(v1::WORKER, "a|b", minutes(1)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(make(v1::WORKER, "a", seconds(0)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(make(v1::WORKER, "a", hours(24 * 7) + seconds(1)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(make(v1::WORKER, "", hours(24 * 7)), absl::StatusCode::kOk);
}

TEST(JoinTokenTest, ATargetIsSplitAtItsLastAt) {
  const std::string token = NewToken(v1::CLIENT, "anna@desk");
  const auto target = SplitJoinTarget(token + "@[::1]:7850");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->token, token);
  EXPECT_EQ(target->address, "[::1]:7850");
  for (const std::string& bad : std::vector<std::string>{token, token + "@", "@lab:7850", "hunter2@lab:7850", ""}) {
    const absl::Status status = SplitJoinTarget(bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(Message(status), Not(HasSubstr("hunter2")));
  }
}

}  // namespace
}  // namespace ballast::tls
