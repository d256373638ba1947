#include "coordinator/rpc/client_key.h"

#include <arpa/inet.h>

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "absl/strings/escaping.h"

namespace ballast::coordinator {
namespace {

constexpr std::string_view kIpv4 = "ipv4:";
constexpr std::string_view kIpv6 = "ipv6:";

// gRPC writes a peer as a URI: `ipv6:%5B2001:db8::7%5D:40112`.
std::string Unescaped(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    const bool escaped = text.size() >= 3 && text[0] == '%' &&
                         std::isxdigit(static_cast<unsigned char>(text[1])) != 0 &&
                         std::isxdigit(static_cast<unsigned char>(text[2])) != 0;
    plain += escaped ? absl::HexStringToBytes(std::string(text.substr(1, 2))) : std::string(text.substr(0, 1));
    text.remove_prefix(escaped ? 3 : 1);
  }
  return plain;
}

}  // namespace

std::string HostOf(std::string_view peer) {
  if (peer.starts_with(kIpv4)) {
    const std::string_view address = peer.substr(kIpv4.size());
    return std::string(address.substr(0, address.rfind(':')));
  }
  if (!peer.starts_with(kIpv6)) return std::string(peer);
  const std::string address = Unescaped(peer.substr(kIpv6.size()));
  const std::size_t end = address.rfind(']');
  if (address.starts_with('[') && end != std::string::npos) return address.substr(1, end - 1);
  return address;
}

std::string ClientKeyOf(const Caller& caller) {
  if (caller.authenticated) return fmt::format("{} {}", v1::Role_Name(caller.role), caller.name);
  return AddressKeyOf(HostOf(caller.peer));
}

std::string AddressKeyOf(const std::string& host) {
  in6_addr address{};
  if (::inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &address) != 1) return host;
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    return fmt::format("{}.{}.{}.{}", address.s6_addr[12], address.s6_addr[13], address.s6_addr[14],
                       address.s6_addr[15]);
  }
  std::fill(std::begin(address.s6_addr) + 8, std::end(address.s6_addr), std::uint8_t{0});
  char text[INET6_ADDRSTRLEN] = {};
  return fmt::format("{}/64", ::inet_ntop(AF_INET6, &address, text, sizeof text));
}

}  // namespace ballast::coordinator
