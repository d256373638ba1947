// Users of this machine, as /etc/passwd and /etc/group name them.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ballast::runner {

// A line of /etc/passwd.
struct SystemUser {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
};

// The user of this name in the content of /etc/passwd; lines that make no sense are passed over.
[[nodiscard]] std::optional<SystemUser> FindUserIn(std::string_view passwd, std::string_view name);

// The groups that the content of /etc/group lists for the user, and the user's own.
[[nodiscard]] std::vector<gid_t> GroupsIn(std::string_view group, const SystemUser& user);

// The same, read from the files themselves. Not by the C library: a static program would need its shared modules for
// that. Users of a directory service are not found.
[[nodiscard]] std::optional<SystemUser> FindUser(std::string_view name);
[[nodiscard]] std::vector<gid_t> GroupsOf(const SystemUser& user);

}  // namespace ballast::runner
