#include "common/base/fd.h"

#include <unistd.h>

namespace ballast::base {

void Fd::Reset(int fd) {
  // Linux closes the descriptor even when close() is interrupted, so there is nothing to retry.
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace ballast::base
