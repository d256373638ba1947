#include "coordinator/rpc/rate_limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "coordinator/rpc/client_key.h"

namespace ballast::coordinator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class FakeClock final : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override { return base::SystemTime(now); }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return now; }
  std::chrono::nanoseconds now = seconds(1'000);
};

class RateLimiterTest : public testing::Test {
 protected:
  FakeClock clock_;
};

TEST_F(RateLimiterTest, ABurstAndThenARate) {
  RateLimiter limiter(2, 3, &clock_);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(limiter.Take("a").has_value()) << i;
  const auto wait = limiter.Take("a");
  ASSERT_TRUE(wait.has_value());
  EXPECT_GT(*wait, milliseconds(499));
  EXPECT_LT(*wait, milliseconds(501));
  EXPECT_FALSE(limiter.Take("b").has_value()) << "others do not miss it";
  clock_.now += *wait;
  EXPECT_FALSE(limiter.Take("a").has_value()) << "after the time that was told";
  EXPECT_TRUE(limiter.Take("a").has_value());
  clock_.now += seconds(100);
  for (int i = 0; i < 3; ++i)
    EXPECT_FALSE(limiter.Take("a").has_value()) << "no more than the burst is saved up: " << i;
  EXPECT_TRUE(limiter.Take("a").has_value());
}

TEST_F(RateLimiterTest, ZeroIsNoBound) {
  RateLimiter limiter(0, 0, &clock_);
  for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(limiter.Take("a").has_value());
}

TEST_F(RateLimiterTest, RemembersNoMoreThanItMay) {
  RateLimiter limiter(1, 2, &clock_, 10);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limiter.Take(std::to_string(i)).has_value());
  int refused = 0;
  for (int i = 10; i < 100; ++i) refused += limiter.Take(std::to_string(i)).has_value() ? 1 : 0;
  EXPECT_EQ(limiter.key_count(), 10U);
  EXPECT_EQ(refused, 90 - 2) << "strangers in a crowd share one bucket";
  EXPECT_FALSE(limiter.Take("5").has_value()) << "who was there before has a bucket";
  clock_.now += seconds(10);
  for (int i = 100; i < 110; ++i) EXPECT_FALSE(limiter.Take(std::to_string(i)).has_value()) << "the crowd is gone";
  EXPECT_LE(limiter.key_count(), 10U);
}

TEST_F(RateLimiterTest, EnrollmentsAMinute) {
  EnrollmentLimit limit(30, &clock_);
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(limit.Admit("10.0.0.7").ok());
  const absl::Status refused = limit.Admit("10.0.0.7");
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(refused.message()),
            "more than 30 tries to enrol in a minute came from this address; try again in 2.0 s");
  EXPECT_TRUE(limit.Admit("10.0.0.8").ok());
  clock_.now += milliseconds(2'001);
  EXPECT_TRUE(limit.Admit("10.0.0.7").ok());
  EXPECT_FALSE(limit.Admit("10.0.0.7").ok());
}

TEST(ClientKeyTest, AnAddressWithoutItsPort) {
  EXPECT_EQ(HostOf("ipv4:10.0.0.7:40112"), "10.0.0.7");
  EXPECT_EQ(HostOf("ipv6:[2001:db8::7]:40112"), "2001:db8::7");
  EXPECT_EQ(HostOf("ipv6:%5B2001:db8::7%5D:40112"), "2001:db8::7");
  EXPECT_EQ(HostOf("unix:"), "unix:");
  EXPECT_EQ(HostOf(""), "");
  EXPECT_EQ(HostOf("ipv4:"), "");
  EXPECT_EQ(HostOf("ipv6:%"), "%");
}

TEST(ClientKeyTest, OneClientHasOneKey) {
  Caller caller;
  caller.peer = "ipv6:%5B2001:db8:1:2:3:4:5:6%5D:1";
  EXPECT_EQ(ClientKeyOf(caller), "2001:db8:1:2::/64");
  caller.peer = "ipv6:%5B::ffff:10.0.0.7%5D:1";
  EXPECT_EQ(ClientKeyOf(caller), "10.0.0.7");
  caller.peer = "ipv4:10.0.0.7:2";
  EXPECT_EQ(ClientKeyOf(caller), "10.0.0.7");
  caller.authenticated = true;
  caller.role = v1::WORKER;
  caller.name = "d-1";
  EXPECT_EQ(ClientKeyOf(caller), "WORKER d-1") << "wherever it calls from";
}

}  // namespace
}  // namespace ballast::coordinator
