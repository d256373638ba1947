#include "tests/bench/source_address.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace ballast::bench {
namespace {

constexpr std::uint32_t kLoopbackNetwork = 127;
std::uint32_t source = 0;  // in the order of this machine; zero: the system chooses

bool IsLoopback(std::uint32_t address) {
  return address >> 24U == kLoopbackNetwork;
}

void BindTo(int fd, const sockaddr* address) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (address->sa_family == AF_INET) {
    sockaddr_in from = *reinterpret_cast<const sockaddr_in*>(address);
    if (!IsLoopback(ntohl(from.sin_addr.s_addr))) return;
    from.sin_addr.s_addr = htonl(source);
    from.sin_port = 0;
    (void)::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from);
  } else if (address->sa_family == AF_INET6) {  // gRPC puts addresses of IPv4 into those of IPv6
    sockaddr_in6 from = *reinterpret_cast<const sockaddr_in6*>(address);
    if (!IN6_IS_ADDR_V4MAPPED(&from.sin6_addr)) return;
    std::uint32_t words[4];
    std::memcpy(words, &from.sin6_addr, sizeof words);
    if (!IsLoopback(ntohl(words[3]))) return;
    words[3] = htonl(source);
    std::memcpy(&from.sin6_addr, words, sizeof words);
    from.sin6_port = 0;
    (void)::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from);
  }
}

}  // namespace

void ConnectFrom(std::uint32_t number) {
  source = (kLoopbackNetwork << 24U) + number;
}

}  // namespace ballast::bench

// In the place of the C library's: gRPC has no option for it. What cannot be bound is connected all the same.
extern "C" int connect(int fd, const sockaddr* address, socklen_t size) {
  if (ballast::bench::source != 0) ballast::bench::BindTo(fd, address);
  return static_cast<int>(::syscall(SYS_connect, fd, address, size));
}
