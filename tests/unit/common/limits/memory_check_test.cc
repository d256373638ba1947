#include "common/limits/memory_check.h"

#include <gmock/gmock.h>

#include "tests/unit/common/os/fake_tree.h"

namespace ballast::environment {
namespace {

using testing::HasSubstr;

v1::EnvironmentProfile Profile() {
  v1::EnvironmentProfile profile;
  profile.set_name("small");
  profile.set_memory_bytes(512U << 20U);
  return profile;
}

TEST(MemoryCheckTest, ADeviceWithLessIsAnotherMachine) {
  os::FakeTree tree;
  EXPECT_FALSE(CheckMachineMemory(Profile(), tree.root())) << "where nothing tells, nothing is in the way";
  tree.Write("proc/meminfo", "MemTotal:  524288 kB\n");
  EXPECT_FALSE(CheckMachineMemory(Profile(), tree.root()));
  tree.Write("proc/meminfo", "MemTotal:  524284 kB\n");
  const auto refusal = CheckMachineMemory(Profile(), tree.root());
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->cause, HasSubstr("'small' wants 512 MiB of memory, and the device has 512 MiB"));
}

TEST(MemoryCheckTest, Version1TellsOfALimitThatIsNotVisible) {
  os::FakeTree tree;
  tree.Write("group/memory.stat", "cache 0\nhierarchical_memory_limit 268435456\n");
  const auto refusal = CheckHiddenMemory(Profile(), 1, tree.root() + "/group");
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->place, HasSubstr("/group/memory.stat: hierarchical_memory_limit 268435456"));
  EXPECT_FALSE(CheckHiddenMemory(Profile(), 2, tree.root() + "/group"));
  tree.Write("group/memory.stat", "cache 0\nhierarchical_memory_limit 536866816\n");
  EXPECT_FALSE(CheckHiddenMemory(Profile(), 1, tree.root() + "/group")) << "a page less is rounding";
}

}  // namespace
}  // namespace ballast::environment
