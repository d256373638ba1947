#include "worker/agent/data_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/worker/agent/agent_fixture.h"

namespace ballast::agent {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class DataDirectoryTest : public AgentFixture {};

TEST_F(DataDirectoryTest, OneWorkerAtATime) {
  const std::filesystem::path path = directory_ / "made/where/missing";
  {
    const auto first = DataDirectory::Open(path);
    ASSERT_TRUE(first.ok()) << first.status();
    const absl::Status second = DataDirectory::Open(path).status();
    EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(second.message()), HasSubstr(path.string()));
  }
  EXPECT_TRUE(DataDirectory::Open(path).ok()) << "the lock ends with its owner";
}

TEST_F(DataDirectoryTest, TheDeviceKeepsItsIdentifier) {
  std::string id;
  {
    const auto directory = DataDirectory::Open(directory_);
    ASSERT_TRUE(directory.ok()) << directory.status();
    id = directory->DeviceId().value();
    EXPECT_THAT(id, MatchesRegex("d-[0-9a-z]{10}"));
  }
  const auto directory = DataDirectory::Open(directory_);
  EXPECT_EQ(directory->DeviceId().value(), id);
  const auto other = DataDirectory::Open(directory_ / "other");
  EXPECT_NE(other->DeviceId().value(), id);
}

TEST_F(DataDirectoryTest, ADamagedIdentifierIsNotReplaced) {
  const auto directory = DataDirectory::Open(directory_);
  ASSERT_TRUE(directory.ok()) << directory.status();
  for (const std::string content : {"", "a b\n", "x\ny\n"}) {
    std::ofstream(directory_ / "device_id", std::ios::trunc) << content;
    EXPECT_EQ(directory->DeviceId().status().code(), absl::StatusCode::kDataLoss) << content;
  }
}

TEST_F(DataDirectoryTest, TheScratchDirectoryBeginsEmpty) {
  const auto directory = DataDirectory::Open(directory_);
  ASSERT_TRUE(directory.ok()) << directory.status();
  const auto scratch = directory->ScratchDirectory();
  ASSERT_TRUE(scratch.ok()) << scratch.status();
  EXPECT_TRUE(scratch->is_absolute());
  std::ofstream(*scratch / "held-left") << "x";
  EXPECT_EQ(directory->ScratchDirectory().value(), *scratch);
  EXPECT_TRUE(std::filesystem::is_empty(*scratch));
}

TEST_F(DataDirectoryTest, AFileInItsPlaceIsAnError) {
  std::ofstream(directory_ / "file") << "x";
  EXPECT_FALSE(DataDirectory::Open(directory_ / "file").ok());
}

}  // namespace
}  // namespace ballast::agent
