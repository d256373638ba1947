#include "coordinator/rpc/listen_address.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

using testing::HasSubstr;

TEST(CheckCanListenTest, SaysWhyNot) {
  const base::Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(::listen(fd.get(), 1), 0);
  socklen_t size = sizeof(name);
  ASSERT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  const std::string taken = fmt::format("127.0.0.1:{}", ntohs(name.sin_port));
  EXPECT_EQ(CheckCanListen(taken).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(CheckCanListen(taken).message()), HasSubstr(taken));
  EXPECT_TRUE(CheckCanListen("127.0.0.1:0").ok());
  EXPECT_TRUE(CheckCanListen("localhost:0").ok());
  // 192.0.2.0/24 is kept for documents: no machine has it.
  EXPECT_FALSE(CheckCanListen("192.0.2.1:0").ok());
  EXPECT_EQ(CheckCanListen("no-such-host.invalid:1").code(), absl::StatusCode::kNotFound);
}

TEST(CheckCanListenTest, UnixSocketsNeedNothingToBeThere) {
  EXPECT_TRUE(CheckCanListen("unix:/tmp/ballast-no-such-socket").ok());
  EXPECT_FALSE(CheckCanListen("unix:/dev/null/socket").ok());
}

TEST(WithPortTest, ReplacesThePort) {
  EXPECT_EQ(WithPort("127.0.0.1:0", 5), "127.0.0.1:5");
  EXPECT_EQ(WithPort("[::1]:0", 5), "[::1]:5");
  EXPECT_EQ(WithPort("unix:/run/x", 1), "unix:/run/x");
}

}  // namespace
}  // namespace ballast::coordinator
