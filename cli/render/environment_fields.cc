#include "cli/render/environment_fields.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/render/text_width.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

using Profile = v1::EnvironmentProfile;

constexpr int kNameColumns = 18;

std::string Aliases(const Profile& profile) {
  return fmt::format("{}", fmt::join(profile.aliases(), ","));
}

std::string SwapText(const Profile& profile) {
  switch (profile.swap().kind()) {
    case v1::SwapLimit::DEVICE:
      return base::FormatBytes(profile.swap().size_bytes());
    case v1::SwapLimit::ZRAM:
      return base::FormatBytes(profile.swap().size_bytes()) + " zram";
    default:
      return "none";
  }
}

std::string CpusText(const Profile& profile) {
  return profile.cpus() == 0 ? "all" : fmt::format("{:g}", profile.cpus());
}

std::string SpeedText(std::uint64_t bytes_per_second) {
  return bytes_per_second == 0 ? "" : base::FormatBytes(bytes_per_second) + "/s";
}

void AddLine(const std::string& name, const std::string& value, std::string* text) {
  if (!value.empty()) *text += fmt::format("{:<{}} {}\n", name + ":", kNameColumns, Printable(value));
}

}  // namespace

std::vector<Field<Profile>> EnvironmentFields() {
  const auto number = [](std::uint64_t value) { return std::to_string(value); };
  return {
      {"name", "NAME", Align::kLeft, [](const Profile& p) { return p.name(); }},
      {"aliases", "ALIASES", Align::kLeft, Aliases},
      {"memory_bytes", "MEMORY", Align::kRight, [](const Profile& p) { return base::FormatBytes(p.memory_bytes()); },
       [number](const Profile& p) { return number(p.memory_bytes()); }},
      {"memory_high_bytes", "", Align::kRight, [number](const Profile& p) { return number(p.memory_high_bytes()); }},
      {"swap_kind", "", Align::kLeft, [](const Profile& p) { return v1::SwapLimit::Kind_Name(p.swap().kind()); }},
      {"swap_bytes", "SWAP", Align::kRight, SwapText,
       [number](const Profile& p) { return number(p.swap().size_bytes()); }},
      {"swappiness", "", Align::kRight,
       [](const Profile& p) { return p.has_swappiness() ? std::to_string(p.swappiness()) : ""; }},
      {"cpus", "CPUS", Align::kRight, CpusText, [](const Profile& p) { return fmt::format("{:g}", p.cpus()); }},
      {"cpu_weight", "", Align::kRight, [number](const Profile& p) { return number(p.cpu_weight()); }},
      {"io_read_bytes_per_second", "", Align::kRight,
       [number](const Profile& p) { return number(p.io_read_bytes_per_second()); }},
      {"io_write_bytes_per_second", "", Align::kRight,
       [number](const Profile& p) { return number(p.io_write_bytes_per_second()); }},
      {"page_cache", "", Align::kLeft, [](const Profile& p) { return v1::CacheState_Name(p.page_cache()); }},
      {"description", "DESCRIPTION", Align::kLeft, [](const Profile& p) { return p.description(); }},
      {"description_zh", "", Align::kLeft, [](const Profile& p) { return p.description_zh(); }},
  };
}

std::string MemoryText(const Profile& profile) {
  const bool none = profile.swap().size_bytes() == 0;
  return fmt::format("{}, {}", base::FormatBytes(profile.memory_bytes()),
                     none ? "no swap" : SwapText(profile) + " swap");
}

std::string AppliedText(const v1::AppliedEnvironment& applied) {
  return fmt::format("{}: {}, {}", applied.profile_name(), base::FormatBytes(applied.memory_bytes()),
                     applied.swap_bytes() == 0 ? "no swap" : base::FormatBytes(applied.swap_bytes()) + " of swap");
}

std::string AppliedEnvironments(const std::vector<const v1::RunReport*>& runs) {
  std::vector<std::pair<std::string, std::vector<std::string>>> texts;  // and the runs that have it
  for (const v1::RunReport* entry : runs) {
    const v1::Run& run = entry->run();
    if (run.attempts().empty()) continue;
    const v1::AppliedEnvironment& applied = run.attempts(run.attempts_size() - 1).result().environment();
    if (applied.profile_name().empty()) continue;
    std::string text = fmt::format("environment {}\n", Printable(AppliedText(applied)));
    for (const std::string& remark : applied.remarks()) text += fmt::format("  {}\n", Printable(remark));
    auto known = std::ranges::find(texts, text, &std::pair<std::string, std::vector<std::string>>::first);
    if (known == texts.end()) known = texts.insert(known, {text, {}});
    known->second.push_back(run.run_id());
  }
  std::string all;
  for (const auto& [text, names] : texts) {
    all += names.size() == runs.size() ? text : fmt::format("{}: {}", fmt::join(names, ", "), text);
  }
  return all;
}

std::string EnvironmentDetails(const Profile& profile) {
  std::string text;
  AddLine("name", profile.name(), &text);
  AddLine("aliases", Aliases(profile), &text);
  AddLine("description", profile.description(), &text);
  AddLine("description (zh)", profile.description_zh(), &text);
  AddLine("memory", base::FormatBytes(profile.memory_bytes()), &text);
  if (profile.memory_high_bytes() > 0)
    AddLine("slowed down from", base::FormatBytes(profile.memory_high_bytes()), &text);
  AddLine("swap", SwapText(profile), &text);
  if (profile.has_swappiness()) AddLine("swappiness", std::to_string(profile.swappiness()), &text);
  AddLine("processors", CpusText(profile), &text);
  if (profile.cpu_weight() > 0) AddLine("processor weight", std::to_string(profile.cpu_weight()), &text);
  AddLine("disk reads", SpeedText(profile.io_read_bytes_per_second()), &text);
  AddLine("disk writes", SpeedText(profile.io_write_bytes_per_second()), &text);
  if (profile.page_cache() == v1::COLD) AddLine("page cache", "dropped at the start", &text);
  return text;
}

}  // namespace ballast::cli
