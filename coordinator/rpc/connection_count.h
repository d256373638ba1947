// How many connections each address has open.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace ballast::coordinator {

// Counts sockets that somebody else closes: which are still open is asked of the system when an address has as many as
// it may have. Not thread-safe.
class ConnectionCount {
 public:
  // Counts the open socket `fd` under `address`. False, and it is not counted, where `most` are open there already, as
  // far as was looked within the last tenth of a second.
  [[nodiscard]] bool Add(int fd, const std::string& address, std::size_t most);

  // Addresses that have had connections since somebody looked.
  [[nodiscard]] std::size_t address_count() const { return addresses_.size(); }

 private:
  struct Socket {
    ino_t inode = 0;  // the socket's own: numbers of descriptors are given again
    std::string address;
  };
  struct Address {
    std::unordered_set<int> sockets;
    std::chrono::steady_clock::time_point swept{};
  };

  void Forget(int fd);
  // Forgets those of the address that were closed.
  void Sweep(Address* address);

  std::unordered_map<int, Socket> sockets_;
  std::unordered_map<std::string, Address> addresses_;
};

}  // namespace ballast::coordinator
