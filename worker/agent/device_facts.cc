#include "worker/agent/device_facts.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/program.h"
#include "common/base/version.h"
#include "common/os/cgroup.h"
#include "common/os/line_scanner.h"
#include "common/os/memory_gauge.h"
#include "common/os/processor_speed.h"
#include "common/os/procfs.h"
#include "common/os/swap_areas.h"
#include "worker/environment/oom_daemons.h"
#include "worker/guard/memory_guard.h"

namespace ballast::agent {
namespace {

constexpr std::size_t kMaxFileBytes = 1U << 20U;

class FactReader {
 public:
  FactReader(std::string root, v1::DeviceFacts* facts) : root_(std::move(root)), facts_(*facts) {
    while (root_.ends_with('/')) root_.pop_back();
  }

  void ReadAll() {
    ReadKernel();
    ReadProcessor();
    facts_.set_cpu_governor(os::ProcessorSpeed(root_.empty() ? "/" : root_).governor());
    ReadMemory();
    ReadOperatingSystem();
    ReadCgroups();
    facts_.set_worker_version(base::kVersion);
    facts_.set_page_size_bytes(static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)));
    facts_.add_capabilities(v1::WORKLOAD_PRESSURE);
    facts_.add_capabilities(v1::WORKLOAD_MODEL);
    facts_.add_capabilities(v1::WORKLOAD_QUANTIZATION);
    facts_.add_capabilities(v1::WORKLOAD_STABILITY);
    facts_.add_capabilities(v1::WORKLOAD_COMMAND);
    ProbePsi();
    for (const std::string& name : environment::FindOomDaemons(root_.empty() ? "/" : root_))
      facts_.add_oom_daemons(name);
    if (root_.empty()) {
      ProbeOomScore();
      ProbeKernelLog();
    }
  }

 private:
  // The content of a file under the root; empty where it cannot be read.
  [[nodiscard]] std::string Content(std::string_view path) const {
    absl::StatusOr<std::string> content = base::ReadFile(fmt::format("{}{}", root_, path), kMaxFileBytes);
    return content.ok() ? *std::move(content) : std::string();
  }

  // The first line of a file.
  [[nodiscard]] std::string Line(std::string_view path) const {
    const std::string content = Content(path);
    std::string_view text = content;
    std::string_view line;
    return os::NextLine(&text, &line) ? std::string(line) : std::string();
  }

  void Lacks(std::string sentence) { facts_.add_limitations(std::move(sentence)); }

  void ReadKernel() {
    utsname names{};
    if (::uname(&names) == 0) facts_.set_architecture(names.machine);
    facts_.set_hostname(Line("/proc/sys/kernel/hostname"));
    facts_.set_kernel_release(Line("/proc/sys/kernel/osrelease"));
    facts_.set_boot_id(Line("/proc/sys/kernel/random/boot_id"));
    if (facts_.boot_id().empty())
      Lacks("Reboots cannot be told apart: /proc/sys/kernel/random/boot_id is not readable.");
  }

  void ReadProcessor() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) == 0)
      facts_.set_cpu_count(static_cast<std::uint32_t>(CPU_COUNT(&set)));
    const std::string content = Content("/proc/cpuinfo");
    std::string_view text = content;
    std::string_view line;
    // x86 has a line `model name` a processor; ARM boards name the board in `Model`, or only in the device tree.
    while (facts_.cpu_model().empty() && os::NextLine(&text, &line)) {
      const std::size_t colon = line.find(':');
      if (colon == std::string_view::npos) continue;
      std::string_view key = line.substr(0, colon);
      key = key.substr(0, key.find_last_not_of(" \t") + 1);
      if (key != "model name" && key != "Model") continue;
      const std::size_t begin = line.find_first_not_of(' ', colon + 1);
      if (begin != std::string_view::npos) facts_.set_cpu_model(std::string(line.substr(begin)));
    }
    if (!facts_.cpu_model().empty()) return;
    std::string model = Content("/proc/device-tree/model");  // ends with a NUL
    facts_.set_cpu_model(model.substr(0, model.find('\0')));
  }

  void ReadMemory() {
    const os::MemInfo info = os::ParseMemInfo(Content("/proc/meminfo"));
    facts_.set_memory_bytes(info.total.value_or(0));
    facts_.set_swap_bytes(info.swap_total.value_or(0));
    facts_.set_zram_bytes(ZramBytes());
    const auto gauge = os::MemoryGauge::Open(root_.empty() ? "/" : root_);
    const auto reading = gauge.ok() ? (*gauge)->Read() : absl::StatusOr<os::MemoryReading>(gauge.status());
    if (!reading.ok()) {
      Lacks(fmt::format("Memory in use cannot be read: {}.", std::string(reading.status().message())));
      return;
    }
    facts_.set_limit_bytes(reading->limit_bytes);
    facts_.set_limit_available_bytes(reading->available_bytes);
    facts_.set_limit_source((*gauge)->limit_source());
  }

  // Swap on zram devices.
  [[nodiscard]] std::uint64_t ZramBytes() const {
    std::uint64_t bytes = 0;
    for (const os::SwapArea& area : os::ParseSwapAreas(Content("/proc/swaps"))) {
      if (area.zram) bytes += area.size_bytes;
    }
    return bytes;
  }

  void ReadOperatingSystem() {
    std::string content = Content("/etc/os-release");
    if (content.empty()) content = Content("/usr/lib/os-release");
    std::string_view text = content;
    std::string_view line;
    constexpr std::string_view kKey = "PRETTY_NAME=";
    while (os::NextLine(&text, &line)) {
      if (!line.starts_with(kKey)) continue;
      line.remove_prefix(kKey.size());
      if (line.size() >= 2 && (line.front() == '"' || line.front() == '\'') && line.back() == line.front()) {
        line = line.substr(1, line.size() - 2);
      }
      facts_.set_os_name(std::string(line));
    }
  }

  void ReadCgroups() {
    const absl::StatusOr<os::CgroupLocation> location = os::LocateCgroups(root_.empty() ? "/" : root_);
    if (!location.ok() || location->memory_directories.empty()) {
      Lacks("No memory cgroup is mounted: limits cannot be seen, and OOM kills at a cgroup's limit not be told apart.");
      return;
    }
    facts_.set_cgroup_version(static_cast<std::uint32_t>(location->memory_version));
  }

  void ProbePsi() {
    if (os::ParsePressure(Content("/proc/pressure/memory")).some) {
      facts_.add_capabilities(v1::PSI);
      if (std::string reason = root_.empty() ? guard::WhyNoTriggers() : ""; !reason.empty()) Lacks(std::move(reason));
    } else {
      Lacks(
          "No pressure stall information: /proc/pressure/memory is missing (the kernel was built or booted without "
          "PSI).");
    }
  }

  // A negative score takes CAP_SYS_RESOURCE. Tried on this process and taken back.
  void ProbeOomScore() {
    const std::string before = Line("/proc/self/oom_score_adj");
    const absl::StatusOr<base::Fd> fd = base::OpenFile("/proc/self/oom_score_adj", O_WRONLY);
    if (fd.ok() && base::WriteAll(fd->get(), "-1000").ok()) {
      facts_.add_capabilities(v1::OOM_SCORE_PROTECTED);
      (void)base::WriteAll(fd->get(), before);
      return;
    }
    Lacks("The agent cannot protect itself from the OOM killer: a negative oom_score_adj needs CAP_SYS_RESOURCE.");
  }

  void ProbeKernelLog() {
    const absl::StatusOr<base::Fd> fd = base::OpenFile("/dev/kmsg", O_RDONLY | O_NONBLOCK);
    char byte[8192];
    if (fd.ok() && (::read(fd->get(), byte, sizeof byte) >= 0 || errno == EAGAIN || errno == EPIPE)) {
      facts_.add_capabilities(v1::KERNEL_LOG);
      return;
    }
    Lacks(fmt::format("The kernel log cannot be read: /dev/kmsg ({}).", fd.ok() ? Reason(errno) : "cannot be opened"));
  }

  static std::string Reason(int error_number) { return std::generic_category().message(error_number); }

  std::string root_;
  v1::DeviceFacts& facts_;
};

}  // namespace

v1::DeviceFacts ReadDeviceFacts(const std::string& root) {
  v1::DeviceFacts facts;
  FactReader(root, &facts).ReadAll();
  return facts;
}

void AddFactsOf(const environment::CgroupHome& home, v1::DeviceFacts* facts) {
  facts->set_runner_isolation(home.isolation());
  if (home.isolation() != v1::PROCESS_GROUP) facts->add_capabilities(v1::MEMORY_CGROUP);
  if (const auto& why = home.WhyNoLimits()) {
    facts->add_limitations(fmt::format("{}: {}.", kNoEnvironments, why->ToText()));
  } else {
    facts->add_capabilities(v1::ENVIRONMENT_PROFILES);
  }
  for (const std::string& limitation : home.limitations()) facts->add_limitations(limitation);
}

void AddRuntimeFacts(const std::string& llama_server, v1::DeviceFacts* facts) {
  const absl::Status found = base::FindProgram(llama_server);
  if (found.ok()) {
    facts->add_capabilities(v1::RUNTIME_LLAMA_CPP);
    return;
  }
  facts->add_limitations(fmt::format(
      "llama.cpp is not installed ({}): install it, or name its program llama-server by llama_server: in the "
      "worker's configuration.",
      std::string(found.message())));
}

}  // namespace ballast::agent
