// What a client is counted under.
#pragma once

#include <string>
#include <string_view>

#include "coordinator/rpc/caller.h"

namespace ballast::coordinator {

// The address in a peer as gRPC writes it, without its port: `10.0.0.7`, `2001:db8::7`; the peer itself where it is
// none (`unix:`).
[[nodiscard]] std::string HostOf(std::string_view peer);

// Whoever has a certificate counts by the name in it, others by their address; of IPv6 by the first 64 bits, as whoever
// has one address there has as many as he likes.
[[nodiscard]] std::string ClientKeyOf(const Caller& caller);

}  // namespace ballast::coordinator
