#include "coordinator/rpc/connection_count.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <vector>

#include "common/base/fd.h"

namespace ballast::coordinator {
namespace {

base::Fd Socket() {
  return base::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

TEST(ConnectionCountTest, AnAddressHasSoManyAndOthersDoNotMissThem) {
  ConnectionCount count;
  std::vector<base::Fd> sockets;
  const auto add = [&](const char* address) {
    sockets.push_back(Socket());
    return count.Add(sockets.back().get(), address, 2);
  };
  EXPECT_TRUE(add("10.0.0.7"));
  EXPECT_TRUE(add("10.0.0.7"));
  EXPECT_FALSE(add("10.0.0.7"));
  EXPECT_TRUE(add("10.0.0.8"));
}

TEST(ConnectionCountTest, WhatWasClosedCountsNoMoreAlsoWhereItsNumberIsInUseAgain) {
  ConnectionCount count;
  base::Fd first = Socket();
  base::Fd second = Socket();
  ASSERT_TRUE(count.Add(first.get(), "10.0.0.7", 2));
  ASSERT_TRUE(count.Add(second.get(), "10.0.0.7", 2));
  const int number = first.get();
  first.Reset();
  const base::Fd not_counted = Socket();  // takes the number; the database does so, say
  ASSERT_EQ(not_counted.get(), number);
  const base::Fd third = Socket();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  bool added = false;
  while (!added && std::chrono::steady_clock::now() < deadline) added = count.Add(third.get(), "10.0.0.7", 2);
  EXPECT_TRUE(added);
}

TEST(ConnectionCountTest, ANumberThatIsGivenAgainMovesToItsNewAddress) {
  ConnectionCount count;
  base::Fd fd = Socket();
  const int number = fd.get();
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(fd.get(), number);
    ASSERT_TRUE(count.Add(fd.get(), "10.0.0." + std::to_string(i), 1));
    EXPECT_EQ(count.address_count(), 1U);
    fd.Reset();
    fd = Socket();
  }
}

}  // namespace
}  // namespace ballast::coordinator
