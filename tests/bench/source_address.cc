#include "tests/bench/source_address.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ballast::bench {
namespace {

constexpr std::uint32_t kLoopbackNetwork = 127;
std::uint32_t source = 0;  // in the order of this machine; zero: the system chooses

}  // namespace

void ConnectFrom(std::uint32_t number) {
  source = (kLoopbackNetwork << 24U) + number;
}

}  // namespace ballast::bench

// In the place of the C library's: gRPC has no option for it. What cannot be bound is connected all the same.
extern "C" int connect(int fd, const sockaddr* address, socklen_t size) {
  if (ballast::bench::source != 0 && address->sa_family == AF_INET &&
      ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr) >> 24U ==
          ballast::bench::kLoopbackNetwork) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(ballast::bench::source);
    (void)::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from);
  }
  return static_cast<int>(::syscall(SYS_connect, fd, address, size));
}
