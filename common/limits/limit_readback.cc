#include "common/limits/limit_readback.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/file.h"

namespace ballast::environment {
namespace {

// One level of the ancestry.
struct Level {
  std::string place;  // the file, or both, for people
  std::string text;   // the content in one line, for people
  absl::StatusOr<std::optional<double>> value = std::optional<double>();
};

// Nothing where a file is missing.
std::optional<Level> ReadLevel(LimitKind kind, int version, const std::string& disk, const std::string& directory) {
  Level level;
  std::vector<std::string> contents;
  std::vector<std::string> lines;
  for (const std::string_view file : LimitFilesOf(kind, version)) {
    absl::StatusOr<std::string> content = base::ReadFile(fmt::format("{}/{}", directory, file), 1U << 20U);
    if (!content.ok()) return std::nullopt;
    if (level.place.empty()) level.place = fmt::format("{}/{}", directory, file);
    std::string line = *content;
    while (!line.empty() && line.back() == '\n') line.pop_back();
    std::ranges::replace(line, '\n', ',');
    lines.push_back(std::move(line));
    contents.push_back(*std::move(content));
  }
  level.text = fmt::format("{}", fmt::join(lines, " of "));
  level.value = ParseLimit(kind, version, contents, disk);
  return level;
}

void Keep(const Level& level, LimitReadback* found) {
  found->readings.push_back(fmt::format("{}: {}", level.place, level.text));
  if (!level.value.ok() || !*level.value) return;
  found->tightest = std::min(found->tightest.value_or(**level.value), **level.value);
}

std::string NoFile(LimitKind kind, int version, const std::string& directory) {
  return fmt::format("{}/{} is missing", directory, LimitFilesOf(kind, version)[0]);
}

}  // namespace

std::optional<EnvironmentRefusal> CheckLimit(const PlannedLimit& limit, int version, const std::string& disk,
                                             const std::string& profile, const std::vector<std::string>& directories,
                                             LimitReadback* found) {
  const std::optional<Level> own = ReadLevel(limit.kind, version, disk, directories.front());
  const std::string wanted = fmt::format("the environment '{}' wants {} of {}", profile, LimitName(limit.kind),
                                         LimitText(limit.kind, limit.asked));
  if (!own) {
    return EnvironmentRefusal{.cause = fmt::format("{}, and the kernel cannot limit that", wanted),
                              .place = NoFile(limit.kind, version, directories.front()),
                              .next_step = "choose a profile without that limit, or another device"};
  }
  Keep(*own, found);
  if (!own->value.ok()) {
    return EnvironmentRefusal{.cause = fmt::format("{}, and what the kernel says of it makes no sense: {}", wanted,
                                                   std::string(own->value.status().message())),
                              .place = own->place,
                              .next_step = "choose a profile without that limit, or another device"};
  }
  const std::optional<double>& value = *own->value;
  if (!value || std::abs(*value - limit.asked) > ToleranceOf(limit.kind, limit.asked)) {
    return EnvironmentRefusal{
        .cause = fmt::format("{}, and the kernel made {} of it", wanted, LimitText(limit.kind, value)),
        .place = fmt::format("{}: {}", own->place, own->text),
        .next_step = "choose a profile without that limit, or another device"};
  }
  if (!HoldsForDescendants(limit.kind)) return std::nullopt;
  return CheckAncestors(limit.kind, limit.asked, version, disk, profile, directories, found);
}

std::optional<EnvironmentRefusal> CheckAncestors(LimitKind kind, double asked, int version, const std::string& disk,
                                                 const std::string& profile,
                                                 const std::vector<std::string>& directories, LimitReadback* found) {
  std::optional<EnvironmentRefusal> refusal;
  for (std::size_t i = 1; i < directories.size(); ++i) {
    const std::optional<Level> level = ReadLevel(kind, version, disk, directories[i]);
    if (!level) continue;  // the root has few limits
    Keep(*level, found);
    if (refusal || (level->value.ok() && (!*level->value || **level->value + ToleranceOf(kind, asked) >= asked)))
      continue;
    refusal = EnvironmentRefusal{
        .cause = level->value.ok()
                     ? fmt::format("the environment '{}' wants {} of {}, and a cgroup above it allows only {}", profile,
                                   LimitName(kind), LimitText(kind, asked), LimitText(kind, *level->value))
                     : fmt::format("the limit of {} of a cgroup above the environment '{}' makes no sense: {}",
                                   LimitName(kind), profile, std::string(level->value.status().message())),
        .place = fmt::format("{}: {}", level->place, level->text),
        .next_step = "raise that limit, start the worker outside of that cgroup, or choose a smaller profile"};
  }
  return refusal;
}

}  // namespace ballast::environment
