#include "worker/agent/data_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/common/base/small_disk.h"
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
    EXPECT_THAT(NextStepOfDataDirectory(second), HasSubstr("a --data-dir of its own"));
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
    const absl::Status status = directory->DeviceId().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << content;
    EXPECT_THAT(NextStepOfDataDirectory(status), HasSubstr("write the device's identifier there"));
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
  const absl::Status status = DataDirectory::Open(directory_ / "file").status();
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(NextStepOfDataDirectory(status), "give a --data-dir that is a directory or does not exist yet");
}

TEST(DataDirectoryOnASmallDiskTest, AFullDiskWantsRoomAndNoIdentifier) {
  const base::SmallDisk disk(1U << 20U);
  if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
  const auto directory = DataDirectory::Open(disk.path() / "w");
  ASSERT_TRUE(directory.ok()) << directory.status();
  disk.Fill(2U << 20U);
  const absl::Status status = directory->DeviceId().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(NextStepOfDataDirectory(status), HasSubstr("free space on the disk"));
  disk.Free();
  EXPECT_TRUE(directory->DeviceId().ok());
}

TEST(NextStepOfDataDirectoryTest, WhatMayNotBeWrittenIsToBeAllowed) {
  EXPECT_THAT(NextStepOfDataDirectory(absl::PermissionDeniedError("open /w/lock: Permission denied")),
              HasSubstr("let this user write in the data directory"));
}

}  // namespace
}  // namespace ballast::agent
