#include "worker/environment/disk_of.h"

#include <gmock/gmock.h>

#include "tests/unit/worker/environment/group_fixture.h"

namespace ballast::environment {
namespace {

using testing::HasSubstr;

class DiskOfTest : public DirectoryFixture {};

TEST_F(DiskOfTest, APartitionStandsForItsDisk) {
  Write("sys/devices/pci0/sda/dev", "8:0\n");
  Write("sys/devices/pci0/sda/sda2/dev", "8:2\n");
  Write("sys/devices/pci0/sda/sda2/partition", "2\n");
  std::filesystem::create_directories(Path("sys/dev/block"));
  std::filesystem::create_directory_symlink("../../devices/pci0/sda/sda2", Path("sys/dev/block/8:2"));
  std::filesystem::create_directory_symlink("../../devices/pci0/sda", Path("sys/dev/block/8:0"));
  EXPECT_EQ(WholeDisk("8:2", directory_).value(), "8:0");
  EXPECT_EQ(WholeDisk("8:0", directory_).value(), "8:0");
  EXPECT_EQ(WholeDisk("8:7", directory_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DiskOfTest, WhatIsOnNoDiskSaysOnWhat) {
  const auto disk = DiskOf("/proc");
  EXPECT_EQ(disk.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(disk.status().message()), HasSubstr("/proc is on no disk, but on proc"));
  EXPECT_EQ(DiskOf("/no/such/place").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ballast::environment
