#include "common/environment/container.h"

#include <gmock/gmock.h>

#include "common/environment/catalogue.h"

namespace ballast::profiles {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kMib = 1U << 20U;

v1::EnvironmentProfile Everything() {
  v1::EnvironmentProfile profile;
  profile.set_name("all");
  profile.set_memory_bytes(512 * kMib);
  profile.set_memory_high_bytes(400 * kMib + 1);
  profile.mutable_swap()->set_kind(v1::SwapLimit::ZRAM);
  profile.mutable_swap()->set_size_bytes(256 * kMib + 4096);
  profile.set_swappiness(60);
  profile.set_cpus(1.5);
  profile.set_cpu_weight(50);
  profile.set_io_read_bytes_per_second(40 * kMib);
  profile.set_io_write_bytes_per_second(kMib);
  profile.set_page_cache(v1::COLD);
  return profile;
}

TEST(ContainerTest, TheProfilesThatComeWithIt) {
  const auto catalogue = BuiltinEnvironments();
  ASSERT_TRUE(catalogue.ok());
  const auto words = [&](const char* name) {
    return RunCommand(*FindProfile(*catalogue, name), {}, "ballast", {"ballast", "simple"}).value();
  };
  EXPECT_THAT(words("4gb-swap"), ElementsAre("docker", "run", "--rm", "--memory=3800m", "--memory-swap=5848m",
                                             "ballast", "ballast", "simple"));
  EXPECT_THAT(words("2gb-noswap"), ElementsAre("docker", "run", "--rm", "--memory=2048m", "--memory-swap=2048m",
                                               "ballast", "ballast", "simple"));
  EXPECT_THAT(words("old-2.5gb"), ElementsAre("docker", "run", "--rm", "--memory=2560m", "--memory-swap=2560m",
                                              "--cpus=2", "ballast", "ballast", "simple"));
}

TEST(ContainerTest, EveryLimitThatDockerHasOnVersion2) {
  const auto limits = LimitsOf(Everything(), {.io_device = "/dev/sda"});
  ASSERT_TRUE(limits.ok());
  EXPECT_THAT(limits->flags, ElementsAre("--memory=512m", "--memory-swap=805310464b", "--cpus=1.5", "--cpu-shares=1287",
                                         "--device-read-bps=/dev/sda:41943040", "--device-write-bps=/dev/sda:1048576"));
  EXPECT_THAT(limits->remarks, ElementsAre(HasSubstr("compressed memory"), HasSubstr("swappiness"),
                                           HasSubstr("no flag for memory.high"), HasSubstr("page cache")));
}

TEST(ContainerTest, PodmanCanSlowDownAndVersion1HasSwappiness) {
  const auto podman = LimitsOf(Everything(), {.engine = Engine::kPodman, .io_device = "/dev/sda"});
  EXPECT_THAT(podman->flags, testing::Contains("--cgroup-conf=memory.high=419430401"));
  EXPECT_THAT(podman->flags, testing::Contains("--cgroup-conf=cpu.weight=50"));
  const auto version1 =
      LimitsOf(Everything(), {.engine = Engine::kPodman, .cgroup_version = 1, .io_device = "/dev/sda"});
  EXPECT_THAT(version1->flags, testing::Contains("--memory-swappiness=60"));
  EXPECT_THAT(version1->flags, testing::Contains("--cpu-shares=512"));
  EXPECT_THAT(version1->remarks, testing::Contains(HasSubstr("written back later")));
  EXPECT_THAT(version1->flags, testing::Not(testing::Contains(HasSubstr("memory.high"))));
  v1::EnvironmentProfile eager = Everything();
  eager.set_swappiness(101);
  EXPECT_THAT(LimitsOf(eager, {.cgroup_version = 1, .io_device = "/dev/sda"})->remarks,
              testing::Contains(HasSubstr("swappiness 101 is more than containers take")));
}

TEST(ContainerTest, ALimitOfADiskNeedsToKnowWhich) {
  const absl::Status status = LimitsOf(Everything(), {}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(status.message(), HasSubstr("give the device"));
}

TEST(ContainerTest, NoSwapMeansAsMuchAsTheMemory) {
  v1::EnvironmentProfile profile;
  profile.set_memory_bytes(100 * kMib + 4096);
  const auto limits = LimitsOf(profile, {});
  EXPECT_THAT(limits->flags, ElementsAre("--memory=104861696b", "--memory-swap=104861696b"));
  EXPECT_THAT(limits->remarks, IsEmpty());
}

TEST(ContainerTest, EnginesAreNamedInFull) {
  EXPECT_EQ(ParseEngine("podman").value(), Engine::kPodman);
  EXPECT_THAT(std::string(ParseEngine("dokcer").status().message()), HasSubstr("did you mean 'docker'?"));
}

}  // namespace
}  // namespace ballast::profiles
