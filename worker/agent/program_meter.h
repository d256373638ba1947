// What the program under test takes, measured from outside.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "common/os/cgroup.h"
#include "common/os/file_reader.h"

namespace ballast::agent {

// Bytes that a version 2 cgroup's io.stat counts over all devices.
struct IoStat {
  std::uint64_t read_bytes = 0;
  std::uint64_t write_bytes = 0;
};
[[nodiscard]] IoStat ParseIoStat(std::string_view content);

// Figures of one execution. Reads while the program runs, and once more when it has ended. Not thread-safe.
class ProgramMeter {
 public:
  // Where it looks.
  struct Place {
    std::string root = "/";                         // where /proc is found
    pid_t pid = 0;                                  // the program's process, which leads its process group
    const os::CgroupLocation* own_group = nullptr;  // a cgroup that it has for itself; null where it has none
  };
  explicit ProgramMeter(const Place& place);

  // The runner is about to become the program. What it took until then is not the program's.
  void Begin(const v1::ProgramBegin& taken);
  // Looks at what is held now.
  void Sample(std::chrono::nanoseconds now);
  // The program has ended, and its cgroup is still there. `usage` is what the kernel counted for its process.
  void Finish(const std::optional<rusage>& usage);

  // The processes that belong to it now, as far as they are known: the program's own and, of the others, the first 63.
  [[nodiscard]] std::vector<pid_t> Processes();
  // Most memory at once until now, in bytes.
  [[nodiscard]] std::uint64_t peak_memory_bytes() const { return peak_memory_bytes_; }
  // Fills scope, peaks, counts and times in.
  void Fill(v1::CommandResult* result) const;

 private:
  // What is counted, for the program alone.
  struct Counts {
    std::uint64_t minor_faults = 0;
    std::uint64_t major_faults = 0;
    std::uint64_t read_bytes = 0;
    std::uint64_t write_bytes = 0;
    std::uint64_t user_us = 0;
    std::uint64_t system_us = 0;
  };
  struct Member {
    os::FileReader stat;
    os::FileReader status;
    os::FileReader io;
    Counts counts;  // as last seen
  };

  void SampleOwnProcess();
  void SampleGroup();
  void SampleMembers(std::chrono::nanoseconds now);
  void FindMembers();
  // Takes counts that had the runner's in them, where they are more than what is known.
  void Raise(const Counts& counts);

  const std::string proc_;
  const pid_t pid_;
  const bool in_group_;
  int version_ = 0;
  std::string directory_;  // of the cgroup
  std::vector<char> buffer_;
  bool begun_ = false;
  Counts before_;  // the runner's

  os::FileReader own_status_;
  os::FileReader own_io_;
  os::FileReader usage_;
  os::FileReader peak_;
  os::FileReader stat_;
  os::FileReader swap_;
  os::FileReader cpu_;
  os::FileReader io_;
  os::FileReader pressure_;
  os::FileReader processes_;
  std::map<pid_t, Member> members_;
  Counts ended_members_;
  std::optional<std::chrono::nanoseconds> members_found_;

  std::uint64_t peak_memory_bytes_ = 0;
  std::uint64_t peak_resident_bytes_ = 0;
  std::uint64_t peak_anon_bytes_ = 0;
  std::uint64_t peak_file_bytes_ = 0;
  std::uint64_t peak_swap_bytes_ = 0;
  std::uint64_t refault_bytes_ = 0;
  Counts counts_;
  std::optional<std::uint64_t> stall_some_us_;
  std::optional<std::uint64_t> stall_full_us_;
  std::uint64_t runner_resident_bytes_ = 0;
};

}  // namespace ballast::agent
