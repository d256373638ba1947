// What a client is counted under.
#pragma once

#include <string>
#include <string_view>

#include "coordinator/rpc/caller.h"

namespace ballast::coordinator {

// The address in a peer as gRPC writes it, without its port: `10.0.0.7`, `2001:db8::7`; the peer itself where it is
// none (`unix:`).
[[nodiscard]] std::string HostOf(std::string_view peer);

// What an address (HostOf) is counted under: itself; of IPv6 the first 64 bits, as whoever has one address there has as
// many as he likes; an IPv4 address within IPv6 like itself.
[[nodiscard]] std::string AddressKeyOf(const std::string& host);

// Whoever has a certificate counts by the name in it, others by their address.
[[nodiscard]] std::string ClientKeyOf(const Caller& caller);

}  // namespace ballast::coordinator
