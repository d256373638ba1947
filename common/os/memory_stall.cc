#include "common/os/memory_stall.h"

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/os/cgroup.h"
#include "common/os/file_reader.h"
#include "common/os/procfs.h"

namespace ballast::os {
namespace {

class OpenMemoryStall final : public MemoryStall {
 public:
  OpenMemoryStall(std::string path, FileReader file) : path_(std::move(path)), file_(std::move(file)) {}

  absl::StatusOr<StallReading> Read() override {
    const std::optional<std::string_view> text = file_.Read(buffer_);
    if (!text) return base::ErrnoStatus(file_.last_errno(), fmt::format("read {}", path_));
    const Pressure pressure = ParsePressure(*text);
    if (!pressure.some || !pressure.full) {
      return absl::InvalidArgumentError(fmt::format("{} has no lines 'some' and 'full'", path_));
    }
    return StallReading{.some = FigureOf(*pressure.some), .full = FigureOf(*pressure.full)};
  }

 private:
  static StallFigure FigureOf(const PressureLine& line) {
    return {.total_us = line.total_us, .avg10_percent = line.avg10_percent};
  }

  std::string path_;
  FileReader file_;
  std::array<char, kReadBufferBytes> buffer_;
};

std::optional<std::string> ReadOnce(const std::string& path) {
  std::array<char, kReadBufferBytes> buffer;
  FileReader file = FileReader::OpenOptional(path);
  const std::optional<std::string_view> text = file.valid() ? file.Read(buffer) : std::nullopt;
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

// The directory of the cgroup whose limit holds, in the hierarchy that has memory.pressure; empty where the machine's
// memory is the limit.
std::string LimitingDirectory(const std::string& root, const std::string& proc, const std::string& process) {
  const absl::StatusOr<CgroupLocation> location = LocateCgroups(root, process);
  if (!location.ok()) return {};
  const std::optional<std::string> meminfo = ReadOnce(proc + "/meminfo");
  std::string limiting = FindLimitingDirectory(*location, meminfo ? ParseMemInfo(*meminfo).total.value_or(0) : 0);
  return limiting.empty() || location->memory_version == 2 ? limiting : location->unified_directory;
}

}  // namespace

MemoryStall::Paths MemoryStall::FindPaths(const std::string& root, const std::string& process) {
  const std::string proc = root.ends_with('/') ? root + "proc" : root + "/proc";
  Paths paths;
  if (const std::string path = proc + "/pressure/memory"; FileReader::OpenOptional(path).valid()) paths.machine = path;
  paths.limiting = paths.machine;
  if (const std::string directory = LimitingDirectory(root, proc, process); !directory.empty()) {
    const std::string path = directory + "/memory.pressure";
    if (FileReader::OpenOptional(path).valid()) paths.limiting = path;
  }
  return paths;
}

absl::StatusOr<std::unique_ptr<MemoryStall>> MemoryStall::Open(const std::string& root, const std::string& process) {
  std::string path = FindPaths(root, process).limiting;
  if (FileReader file = FileReader::OpenOptional(path); file.valid()) {
    auto stall = std::make_unique<OpenMemoryStall>(path, std::move(file));
    if (stall->Read().ok()) return stall;
  }
  return absl::NotFoundError(fmt::format(
      "{} cannot be read: the kernel has no pressure stall information; it needs CONFIG_PSI, and psi=1 on its command "
      "line where that is off by default",
      path.empty() ? "/proc/pressure/memory" : path));
}

}  // namespace ballast::os
