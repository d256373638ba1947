#include "coordinator/rpc/connection_count.h"

#include <sys/stat.h>

#include <vector>

namespace ballast::coordinator {
namespace {

// Whoever knocks at the bound without end costs a look at his sockets this often at most.
constexpr std::chrono::milliseconds kSweepInterval(100);

// Zero where nothing is open.
ino_t InodeOf(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

}  // namespace

bool ConnectionCount::Add(int fd, const std::string& address, std::size_t most) {
  Forget(fd);  // the one that had this number before is closed
  Address& entry = addresses_[address];
  if (entry.sockets.size() >= most) {
    const auto now = std::chrono::steady_clock::now();
    if (now - entry.swept >= kSweepInterval) {
      Sweep(&entry);
      entry.swept = now;
    }
    if (entry.sockets.size() >= most) return false;
  }
  entry.sockets.insert(fd);
  sockets_[fd] = {.inode = InodeOf(fd), .address = address};
  return true;
}

void ConnectionCount::Forget(int fd) {
  const auto found = sockets_.find(fd);
  if (found == sockets_.end()) return;
  const auto address = addresses_.find(found->second.address);
  address->second.sockets.erase(fd);
  if (address->second.sockets.empty()) addresses_.erase(address);
  sockets_.erase(found);
}

void ConnectionCount::Sweep(Address* address) {
  std::erase_if(address->sockets, [this](int fd) {
    const auto socket = sockets_.find(fd);
    if (InodeOf(fd) == socket->second.inode) return false;
    sockets_.erase(socket);
    return true;
  });
}

}  // namespace ballast::coordinator
