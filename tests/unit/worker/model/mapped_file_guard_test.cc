#include "worker/model/mapped_file_guard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "common/base/fd.h"
#include "tests/unit/worker/model/model_directory.h"

namespace ballast::model {
namespace {

constexpr std::size_t kBytes = 64U << 10U;

class MappedFileGuardTest : public testing::Test {
 protected:
  MappedFileGuardTest() {
    const base::Fd fd(::open(file_.c_str(), O_RDONLY | O_CLOEXEC));
    mapping_ = static_cast<std::byte*>(::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd.get(), 0));
  }
  ~MappedFileGuardTest() override { ::munmap(mapping_, kBytes); }

  std::byte Touch(std::size_t offset) const { return *static_cast<volatile std::byte*>(mapping_ + offset); }

  ModelDirectory directory_;
  std::filesystem::path file_ = directory_.WriteRandom("file", kBytes);
  std::byte* mapping_ = nullptr;
};

TEST_F(MappedFileGuardTest, PagesThatTheFileLostAreZerosAndToldOnEveryThread) {
  const auto guard = MappedFileGuard::Install(mapping_, kBytes);
  ASSERT_TRUE(guard.ok()) << guard.status();
  Touch(kBytes - 1);
  EXPECT_FALSE(MappedFileGuard::failed());
  std::filesystem::resize_file(file_, kBytes / 4);
  std::byte seen{1};
  std::thread([&] { seen = Touch(kBytes - 1); }).join();
  EXPECT_EQ(seen, std::byte{0});
  EXPECT_EQ(Touch(kBytes / 2), std::byte{0});
  EXPECT_TRUE(MappedFileGuard::failed());
}

TEST_F(MappedFileGuardTest, ThereIsOneAtATime) {
  {
    const auto guard = MappedFileGuard::Install(mapping_, kBytes);
    ASSERT_TRUE(guard.ok());
    EXPECT_TRUE(absl::IsFailedPrecondition(MappedFileGuard::Install(mapping_, kBytes).status()));
  }
  EXPECT_TRUE(MappedFileGuard::Install(mapping_, kBytes).ok());
}

#ifndef BALLAST_THREAD_SANITIZER
using MappedFileGuardDeathTest = MappedFileGuardTest;

TEST_F(MappedFileGuardDeathTest, ElsewhereTheSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        std::signal(SIGBUS, SIG_DFL);  // a sanitizer's own
        const auto guard = MappedFileGuard::Install(mapping_, kBytes / 2);
        std::filesystem::resize_file(file_, kBytes / 4);
        Touch(kBytes - 1);
        std::_Exit(0);
      },
      testing::KilledBySignal(SIGBUS), "");
}

TEST_F(MappedFileGuardDeathTest, AfterItAllIsAsBefore) {
  EXPECT_EXIT(
      {
        std::signal(SIGBUS, SIG_DFL);
        { const auto guard = MappedFileGuard::Install(mapping_, kBytes); }
        std::filesystem::resize_file(file_, kBytes / 4);
        Touch(kBytes - 1);
        std::_Exit(0);
      },
      testing::KilledBySignal(SIGBUS), "");
}
#endif

}  // namespace
}  // namespace ballast::model
