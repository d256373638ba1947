#include "worker/agent/device_facts.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::agent {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

bool Has(const v1::DeviceFacts& facts, v1::Capability capability) {
  return std::ranges::find(facts.capabilities(), capability) != facts.capabilities().end();
}

class DeviceFactsTest : public testing::Test {
 protected:
  DeviceFactsTest() {
    std::string name = testing::TempDir() + "/device_facts_test_XXXXXX";
    root_ = ::mkdtemp(name.data());
  }
  ~DeviceFactsTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, std::string_view content) {
    const std::filesystem::path file = std::filesystem::path(root_) / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content;
  }

  std::string root_;
};

TEST_F(DeviceFactsTest, ReadsABoard) {
  Write("proc/sys/kernel/hostname", "pi\n");
  Write("proc/sys/kernel/osrelease", "6.1.0-rpi7\n");
  Write("proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
  Write("proc/cpuinfo",
        "processor\t: 0\nBogoMIPS\t: 108.00\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B\n");
  Write("proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\nSwapTotal: 600000 kB\n");
  Write("proc/swaps",
        "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 524288 0 100\n/var/swap file 75712 0 -2\n");
  Write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  Write("proc/812/comm", "earlyoom\n");
  Write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n");
  Write("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
  Write("proc/self/cgroup", "0::/box\n");
  Write("proc/self/mountinfo", "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
  Write("sys/fs/cgroup/box/memory.max", "2147483648\n");
  Write("sys/fs/cgroup/box/memory.current", "1048576\n");
  const v1::DeviceFacts facts = ReadDeviceFacts(root_);
  EXPECT_EQ(facts.hostname(), "pi");
  EXPECT_EQ(facts.cpu_governor(), "ondemand");
  EXPECT_EQ(facts.kernel_release(), "6.1.0-rpi7");
  EXPECT_EQ(facts.boot_id(), "11111111-2222-3333-4444-555555555555");
  EXPECT_EQ(facts.cpu_model(), "Raspberry Pi 4 Model B");
  EXPECT_EQ(facts.memory_bytes(), 4000000ULL * 1024);
  EXPECT_EQ(facts.swap_bytes(), 600000ULL * 1024);
  EXPECT_EQ(facts.zram_bytes(), 524288ULL * 1024);
  EXPECT_EQ(facts.os_name(), "Debian GNU/Linux 12 (bookworm)");
  EXPECT_EQ(facts.cgroup_version(), 2U);
  EXPECT_EQ(facts.limit_bytes(), 2147483648ULL);
  EXPECT_EQ(facts.limit_available_bytes(), 2147483648ULL - 1048576);
  EXPECT_EQ(facts.limit_source(), "/box");
  EXPECT_TRUE(Has(facts, v1::PSI));
  EXPECT_THAT(facts.oom_daemons(), testing::ElementsAre("earlyoom"));
}

TEST_F(DeviceFactsTest, SaysWhatADeviceLacks) {
  Write("proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n");
  const v1::DeviceFacts facts = ReadDeviceFacts(root_);
  EXPECT_EQ(facts.limit_source(), "machine");
  EXPECT_FALSE(Has(facts, v1::PSI));
  EXPECT_THAT(facts.limitations(), Contains(HasSubstr("/proc/pressure/memory")));
  EXPECT_THAT(facts.limitations(), Contains(HasSubstr("boot_id")));
  EXPECT_THAT(facts.limitations(), Contains(HasSubstr("cgroup")));
}

TEST_F(DeviceFactsTest, SayWhetherLlamaCppIsThere) {
  v1::DeviceFacts facts;
  AddRuntimeFacts("/bin/sh", &facts);
  EXPECT_TRUE(Has(facts, v1::RUNTIME_LLAMA_CPP));
  EXPECT_THAT(facts.limitations(), testing::IsEmpty());
  facts.Clear();
  AddRuntimeFacts(root_ + "/llama-server", &facts);
  EXPECT_FALSE(Has(facts, v1::RUNTIME_LLAMA_CPP));
  EXPECT_THAT(facts.limitations(),
              testing::ElementsAre(testing::AllOf(HasSubstr("llama.cpp is not installed"),
                                                  HasSubstr(root_ + "/llama-server"), HasSubstr("llama_server:"))));
}

TEST(DeviceFactsOnThisMachineTest, AreComplete) {
  v1::DeviceFacts facts = ReadDeviceFacts();
  const auto home = environment::CgroupHome::Prepare();
  AddFactsOf(*home, &facts);
  utsname names{};
  ASSERT_EQ(::uname(&names), 0);
  EXPECT_EQ(facts.hostname(), names.nodename);
  EXPECT_EQ(facts.architecture(), names.machine);
  EXPECT_EQ(facts.kernel_release(), names.release);
  EXPECT_GE(facts.cpu_count(), 1U);
  EXPECT_GT(facts.memory_bytes(), 0U);
  EXPECT_GT(facts.limit_bytes(), 0U);
  EXPECT_LE(facts.limit_available_bytes(), facts.limit_bytes());
  EXPECT_EQ(facts.page_size_bytes(), static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)));
  EXPECT_TRUE(Has(facts, v1::WORKLOAD_PRESSURE));
  // Kept apart by a cgroup, or it says why not.
  EXPECT_NE(facts.runner_isolation(), v1::RUNNER_ISOLATION_UNSPECIFIED);
  EXPECT_EQ(Has(facts, v1::MEMORY_CGROUP), facts.runner_isolation() != v1::PROCESS_GROUP);
  if (!Has(facts, v1::MEMORY_CGROUP)) {
    EXPECT_THAT(facts.limitations(), Contains(HasSubstr("Runners have no memory cgroup of their own")));
  }
  // Able to limit what it runs, or it says why not.
  if (!Has(facts, v1::ENVIRONMENT_PROFILES)) {
    EXPECT_THAT(facts.limitations(), Contains(HasSubstr(std::string(kNoEnvironments))));
  }
  EXPECT_EQ(Has(facts, v1::ENVIRONMENT_PROFILES), !home->WhyNoLimits().has_value());
  // Protected, or it says why not.
  if (!Has(facts, v1::OOM_SCORE_PROTECTED)) {
    EXPECT_THAT(facts.limitations(), Contains(HasSubstr("oom_score_adj")));
  } else {
    EXPECT_THAT(facts.limitations(), Not(Contains(HasSubstr("oom_score_adj"))));
  }
}

}  // namespace
}  // namespace ballast::agent
