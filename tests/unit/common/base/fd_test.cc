#include "common/base/fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include <gtest/gtest.h>

namespace ballast::base {
namespace {

bool IsOpen(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

int OpenNull() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

TEST(FdTest, ClosesWhatItOwns) {
  const int raw = OpenNull();
  {
    const Fd fd(raw);
    EXPECT_TRUE(fd.valid());
    EXPECT_EQ(fd.get(), raw);
    EXPECT_TRUE(IsOpen(raw));
  }
  EXPECT_FALSE(IsOpen(raw));
}

TEST(FdTest, IsEmptyByDefault) {
  const Fd fd;
  EXPECT_FALSE(fd.valid());
  EXPECT_EQ(fd.get(), -1);
}

TEST(FdTest, MovesOwnership) {
  const int raw = OpenNull();
  Fd from(raw);
  Fd to(std::move(from));
  EXPECT_FALSE(from.valid());  // NOLINT(bugprone-use-after-move): what a moved-from Fd is, is promised
  EXPECT_EQ(to.get(), raw);

  const int other = OpenNull();
  to = Fd(other);
  EXPECT_FALSE(IsOpen(raw)) << "assigning over a live descriptor closes it";
  EXPECT_TRUE(IsOpen(other));

  Fd& self = to;
  to = std::move(self);
  EXPECT_EQ(to.get(), other);
  EXPECT_TRUE(IsOpen(other));
}

TEST(FdTest, ReleaseGivesAway) {
  Fd fd(OpenNull());
  const int raw = fd.Release();
  EXPECT_FALSE(fd.valid());
  EXPECT_TRUE(IsOpen(raw));
  fd.Reset(raw);
  fd.Reset();
  EXPECT_FALSE(IsOpen(raw));
}

}  // namespace
}  // namespace ballast::base
