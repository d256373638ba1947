#include "coordinator/rpc/pki.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <cstdlib>
#include <fstream>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "coordinator/rpc/next_step.h"

namespace ballast::coordinator {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

class PkiTest : public testing::Test {
 protected:
  PkiTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-pki-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~PkiTest() override { std::filesystem::remove_all(directory_); }

  absl::Status Create() { return Pki::Create(directory_, {}, base::RealClock().Now(), hours(1)); }
  // What a Create that was killed leaves.
  std::filesystem::path Leave() {
    std::filesystem::path left = directory_ / ".pki.a1B2c3";
    std::filesystem::create_directory(left);
    std::ofstream(left / "authority.key") << "x";
    return left;
  }
  // As somebody who is making an authority.
  base::Fd Lock() {
    base::Fd fd = *base::OpenFile(directory_, O_RDONLY | O_DIRECTORY);
    EXPECT_EQ(::flock(fd.get(), LOCK_EX | LOCK_NB), 0);
    return fd;
  }

  std::filesystem::path directory_;
};

TEST_F(PkiTest, AKeyThatOthersMayReadIsToBeClosedToThem) {
  ASSERT_TRUE(Create().ok());
  for (const char* file : {"authority.key", "token.key"}) {
    const std::filesystem::path path = directory_ / "pki" / file;
    std::filesystem::permissions(path, std::filesystem::perms(0644));
    const absl::Status status = Pki::Open(directory_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(NextStepOf(status), HasSubstr("chmod 600 " + path.string()));
    std::filesystem::permissions(path, std::filesystem::perms(0600));
  }
  EXPECT_TRUE(Pki::Open(directory_).ok());
}

TEST_F(PkiTest, APartThatIsMissingComesFromACopyOfAll) {
  ASSERT_TRUE(Create().ok());
  for (const char* file : {"authority.key", "authority.pem", "token.key"}) {
    const std::filesystem::path path = directory_ / "pki" / file;
    std::filesystem::rename(path, directory_ / "kept");
    const absl::Status status = Pki::Open(directory_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << file;
    EXPECT_EQ(status.message(), path.string() + " is missing");
    EXPECT_THAT(NextStepOf(status), HasSubstr("put a copy of the whole directory pki in its place"));
    std::filesystem::rename(directory_ / "kept", path);
  }
}

TEST_F(PkiTest, WhatACreateThatWasCutOffLeftIsRemoved) {
  const std::filesystem::path left = Leave();
  // Others' files, that look like it.
  std::filesystem::create_directory(directory_ / ".pki.copy-of-2026");
  std::filesystem::create_directory(directory_ / "elsewhere");
  std::filesystem::create_directory_symlink(directory_ / "elsewhere", directory_ / ".pki.linked");
  ASSERT_TRUE(Create().ok());
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(directory_ / ".pki.copy-of-2026"));
  EXPECT_TRUE(std::filesystem::exists(directory_ / ".pki.linked"));
  EXPECT_TRUE(Pki::Open(directory_).ok());
  Leave();
  Pki::RemoveLeftovers(directory_);
  EXPECT_FALSE(std::filesystem::exists(left));
}

TEST_F(PkiTest, NobodyDisturbsWhoIsAtWork) {
  const std::filesystem::path left = Leave();
  {
    const base::Fd lock = Lock();
    Pki::RemoveLeftovers(directory_);
    const absl::Status second = Create();
    EXPECT_EQ(second.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(NextStepOf(second), HasSubstr("wait until it is through"));
  }
  EXPECT_TRUE(std::filesystem::exists(left / "authority.key"));
  EXPECT_TRUE(Create().ok());
}

}  // namespace
}  // namespace ballast::coordinator
