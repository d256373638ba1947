#include "coordinator/rpc/listen_address.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "coordinator/rpc/next_step.h"
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
  EXPECT_THAT(NextStepOf(CheckCanListen(taken)), HasSubstr("stop the other program"));
  EXPECT_TRUE(CheckCanListen("127.0.0.1:0").ok());
  EXPECT_TRUE(CheckCanListen("localhost:0").ok());
  // 192.0.2.0/24 is kept for documents: no machine has it.
  EXPECT_FALSE(CheckCanListen("192.0.2.1:0").ok());
  EXPECT_EQ(CheckCanListen("no-such-host.invalid:1").code(), absl::StatusCode::kNotFound);
}

TEST(CheckCanListenTest, UnixSocketsNeedADirectoryThatCanBeWrittenAndNothingElseInTheirPlace) {
  std::string directory = (std::filesystem::temp_directory_path() / "ballast-listen-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  EXPECT_TRUE(CheckCanListen("unix:" + directory + "/socket").ok());
  const auto expect = [](const std::string& address, absl::StatusCode code, const std::string& message,
                         const std::string& next_step) {
    const absl::Status status = CheckCanListen(address);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(address));
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(NextStepOf(status), HasSubstr(next_step));
  };
  expect("unix:" + directory + "/none/socket", absl::StatusCode::kNotFound, "no directory " + directory + "/none",
         "mkdir -p " + directory + "/none");
  expect("unix:/dev/null/socket", absl::StatusCode::kFailedPrecondition, "/dev/null is no directory", "directory");
  expect("unix:" + directory, absl::StatusCode::kFailedPrecondition, "is no socket", "move it away");
  expect("unix:/" + std::string(200, 'x'), absl::StatusCode::kInvalidArgument, "bytes", "shorter path");
  // No user may make a file there, root neither.
  EXPECT_FALSE(CheckCanListen("unix:/proc/ballast-socket").ok());
  EXPECT_THAT(NextStepOf(CheckCanListen("unix:/proc/ballast-socket")), HasSubstr("can write"));
  std::filesystem::remove_all(directory);
}

TEST(WithPortTest, ReplacesThePort) {
  EXPECT_EQ(WithPort("127.0.0.1:0", 5), "127.0.0.1:5");
  EXPECT_EQ(WithPort("[::1]:0", 5), "[::1]:5");
  EXPECT_EQ(WithPort("unix:/run/x", 1), "unix:/run/x");
}

}  // namespace
}  // namespace ballast::coordinator
