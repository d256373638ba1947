#include "worker/runner/system_user.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "common/base/file.h"

namespace ballast::runner {
namespace {

constexpr std::size_t kMaxFileBytes = 4U << 20U;

// Cuts what stands before the next `separator` off `*text`.
std::string_view Cut(std::string_view* text, char separator) {
  const std::size_t end = text->find(separator);
  const std::string_view piece = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return piece;
}

template <std::size_t N>
std::optional<std::array<std::string_view, N>> Fields(std::string_view line) {
  if (std::ranges::count(line, ':') + 1 < static_cast<std::ptrdiff_t>(N)) return std::nullopt;
  std::array<std::string_view, N> fields;
  for (std::string_view& field : fields) field = Cut(&line, ':');
  return fields;
}

std::optional<std::uint32_t> Id(std::string_view text) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

}  // namespace

std::optional<SystemUser> FindUserIn(std::string_view passwd, std::string_view name) {
  while (!passwd.empty()) {
    const auto fields = Fields<7>(Cut(&passwd, '\n'));  // name:password:uid:gid:comment:home:shell
    if (!fields || (*fields)[0] != name) continue;
    const auto uid = Id((*fields)[2]);
    const auto gid = Id((*fields)[3]);
    if (!uid || !gid) continue;
    return SystemUser{.name = std::string(name), .uid = *uid, .gid = *gid, .home = std::string((*fields)[5])};
  }
  return std::nullopt;
}

std::vector<gid_t> GroupsIn(std::string_view group, const SystemUser& user) {
  std::vector<gid_t> groups = {user.gid};
  while (!group.empty()) {
    const auto fields = Fields<4>(Cut(&group, '\n'));  // name:password:gid:members
    if (!fields) continue;
    const auto gid = Id((*fields)[2]);
    std::string_view members = (*fields)[3];
    bool member = false;
    while (!members.empty()) member = Cut(&members, ',') == user.name || member;
    if (gid && member && std::ranges::find(groups, *gid) == groups.end()) groups.push_back(*gid);
  }
  return groups;
}

std::optional<SystemUser> FindUser(std::string_view name) {
  const absl::StatusOr<std::string> passwd = base::ReadFile("/etc/passwd", kMaxFileBytes);
  return passwd.ok() ? FindUserIn(*passwd, name) : std::nullopt;
}

std::vector<gid_t> GroupsOf(const SystemUser& user) {
  const absl::StatusOr<std::string> group = base::ReadFile("/etc/group", kMaxFileBytes);
  return GroupsIn(group.ok() ? *group : std::string(), user);
}

}  // namespace ballast::runner
