// Which call is for whom.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "ballast/v1/security.pb.h"

namespace ballast::coordinator {

// Who may make a call, where there are certificates.
enum class Access {
  kAnyone,  // also without a certificate
  kHolder,  // every holder of a certificate, whatever its role
  kWorker,
  kClient,  // and administrators
  kAdmin,
};

struct MethodAccess {
  std::string_view method;  // `/package.Service/Method`, as HTTP/2 carries it
  Access access;
};

// Every call that this coordinator answers. What is not here is refused to everybody.
[[nodiscard]] std::span<const MethodAccess> MethodTable();

// Nothing where the call is not in the table.
[[nodiscard]] std::optional<Access> AccessTo(std::string_view method);

// Whether a certificate of this role is enough.
[[nodiscard]] bool Allows(Access access, v1::Role role);

// Who may, for messages: `administrators`.
[[nodiscard]] std::string_view AudienceOf(Access access);

}  // namespace ballast::coordinator
