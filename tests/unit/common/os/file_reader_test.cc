#include "common/os/file_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <vector>

#include "common/os/procfs.h"
#include "tests/unit/common/os/fake_tree.h"

namespace ballast::os {
namespace {

using ::testing::Eq;
using ::testing::Optional;

TEST(FileReaderTest, SeesTheContentOfNow) {
  FakeTree tree;
  tree.Write("file", "first\n");
  auto reader = FileReader::Open(tree.root() + "/file");
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::array<char, 64> buffer;
  EXPECT_THAT(reader->Read(buffer), Optional(Eq("first\n")));
  tree.Write("file", "second, longer\n");
  EXPECT_THAT(reader->Read(buffer), Optional(Eq("second, longer\n")));
  tree.Write("file", "");
  EXPECT_THAT(reader->Read(buffer), Optional(Eq("")));
}

TEST(FileReaderTest, CutsAfterAWholeLineWhenTheBufferIsSmall) {
  FakeTree tree;
  tree.Write("file", "a 111\nb 222\nc 333\n");
  auto reader = FileReader::Open(tree.root() + "/file");
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::array<char, 10> buffer;
  EXPECT_THAT(reader->Read(buffer), Optional(Eq("a 111\n")));
}

TEST(FileReaderTest, AMissingFileIsAnErrorOrNothing) {
  FakeTree tree;
  EXPECT_EQ(FileReader::Open(tree.root() + "/none").status().code(), absl::StatusCode::kNotFound);
  FileReader reader = FileReader::OpenOptional(tree.root() + "/none");
  std::array<char, 8> buffer;
  EXPECT_FALSE(reader.valid());
  EXPECT_FALSE(reader.Read(buffer).has_value());
  EXPECT_EQ(reader.last_errno(), EBADF);
}

// /proc/vmstat is handed out in pieces: all of them must arrive.
TEST(FileReaderTest, ReadsTheLongFilesOfThisKernelWhole) {
  auto reader = FileReader::Open("/proc/vmstat");
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<char> buffer(kReadBufferBytes);
  const auto content = reader->Read(buffer);
  ASSERT_TRUE(content.has_value());
  const VmStat stat = ParseVmStat(*content);
  EXPECT_TRUE(stat.faults.has_value());
  EXPECT_TRUE(stat.oom_kills.has_value());
  EXPECT_LT(content->size(), kReadBufferBytes);
}

}  // namespace
}  // namespace ballast::os
