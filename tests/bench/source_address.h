// From which address of this machine a program's connections come.
#pragma once

#include <cstdint>

namespace ballast::bench {

// From now on IPv4 connections to loopback addresses come from 127.0.0.0 + `number`, each number being a machine of its
// own to the other side: a coordinator bounds the connections of one address. Not thread-safe: before the first one.
void ConnectFrom(std::uint32_t number);

}  // namespace ballast::bench
