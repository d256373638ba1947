#include "common/rpc/channel.h"

#include <gtest/gtest.h>

namespace ballast::rpc {
namespace {

TEST(IsLocalAddressTest, AcceptsPlainTextOnLoopbackAndUnixSocketsOnly) {
  for (const char* address :
       {"127.0.0.1:7850", "127.9.8.7:0", "localhost:65535", "[::1]:1", "[::ffff:127.0.0.1]:80", "unix:/run/x.sock"}) {
    const absl::StatusOr<bool> local = IsLocalAddress(address);
    ASSERT_TRUE(local.ok()) << address << ": " << local.status();
    EXPECT_TRUE(*local) << address;
  }
  for (const char* address :
       {"0.0.0.0:7850", "10.0.0.1:7850", "128.0.0.1:1", "[::]:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:80",
        "coordinator.lan:7850", "localhost.evil.example:1", "127.0.0.1.example:1"}) {
    const absl::StatusOr<bool> local = IsLocalAddress(address);
    ASSERT_TRUE(local.ok()) << address << ": " << local.status();
    EXPECT_FALSE(*local) << address;
  }
}

TEST(IsLocalAddressTest, RefusesWhatIsNoAddress) {
  const std::string long_path = "unix:/" + std::string(107, 'x');
  for (const std::string& address :
       {std::string(), std::string("localhost"), std::string(":7850"), std::string("localhost:"),
        std::string("localhost:65536"), std::string("localhost:-1"), std::string("localhost:+1"),
        std::string("localhost:7850x"), std::string("::1:7850"), std::string("[::1]"), std::string("[]:1"),
        std::string("[x]:1"), std::string("a b:1"), std::string("unix:relative"), std::string("unix:/"),
        std::string("unix:"), long_path}) {
    EXPECT_EQ(IsLocalAddress(address).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

TEST(CreateChannelTest, RefusesPlainTextThatLeavesTheMachineUnlessAsked) {
  EXPECT_EQ(CreateChannel("10.0.0.1:7850", false).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(CreateChannel("10.0.0.1:7850", true).ok());
  EXPECT_TRUE(CreateChannel("127.0.0.1:7850", false).ok());
  EXPECT_EQ(CreateChannel("nowhere", true).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StatusTest, EveryCodeGoesThereAndBackWithItsMessage) {
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "cause");
    EXPECT_EQ(static_cast<int>(ToGrpc(status).error_code()), code);
    EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
  }
}

TEST(StatusTest, WhatWasEndedForWantOfMemoryMayBeTriedAgain) {
  const absl::Status status =
      FromGrpc(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "Received RST_STREAM with error code 11"));
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(status.message().find("RST_STREAM"), std::string_view::npos) << status;
}

TEST(MakeContextTest, HasADeadline) {
  const auto before = std::chrono::system_clock::now();
  const auto context = MakeContext(std::chrono::seconds(5));
  EXPECT_GE(context->deadline(), before + std::chrono::seconds(5));
  EXPECT_LE(context->deadline(), std::chrono::system_clock::now() + std::chrono::seconds(5));
}

}  // namespace
}  // namespace ballast::rpc
