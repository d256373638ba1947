#include "coordinator/rpc/listen_address.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include "coordinator/rpc/next_step.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

using testing::HasSubstr;

TEST(ResolveListenAddressTest, NamesWhatIsNotThere) {
  EXPECT_TRUE(ResolveListenAddress("localhost:0").ok());
  EXPECT_TRUE(ResolveListenAddress("[::1]:7850").ok());
  const absl::Status missing = ResolveListenAddress("no-such-host.invalid:1").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(NextStepOf(missing), HasSubstr("of this machine"));
}

TEST(CheckUnixSocketTest, UnixSocketsNeedADirectoryThatCanBeWrittenAndNothingElseInTheirPlace) {
  std::string directory = (std::filesystem::temp_directory_path() / "ballast-listen-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  EXPECT_TRUE(CheckUnixSocket("unix:" + directory + "/socket").ok());
  const auto expect = [](const std::string& address, absl::StatusCode code, const std::string& message,
                         const std::string& next_step) {
    const absl::Status status = CheckUnixSocket(address);
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
  EXPECT_FALSE(CheckUnixSocket("unix:/proc/ballast-socket").ok());
  EXPECT_THAT(NextStepOf(CheckUnixSocket("unix:/proc/ballast-socket")), HasSubstr("can write"));
  std::filesystem::remove_all(directory);
}

TEST(WithPortTest, ReplacesThePort) {
  EXPECT_EQ(WithPort("127.0.0.1:0", 5), "127.0.0.1:5");
  EXPECT_EQ(WithPort("[::1]:0", 5), "[::1]:5");
  EXPECT_EQ(WithPort("unix:/run/x", 1), "unix:/run/x");
}

}  // namespace
}  // namespace ballast::coordinator
