// A small history in a real store: two jobs, a device that is there and one that was removed, runs that ended in every
// interesting way.
#pragma once

#include <filesystem>
#include <memory>

#include "common/base/clock.h"
#include "gtest/gtest.h"
#include "storage/store.h"

namespace ballast::report {

// Always the same instant: 2026-03-04T05:06:07.089Z.
class FixedClock : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override;
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return {}; }
};

// A directory of its own under the system's directory for temporary files, removed on destruction. Not copyable.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A test with the history in a database of its own:
//
//   kStaircaseJob   staircase, Chinese name, hostile annotations
//     .1  kDevice         COMPLETED: two steps, two chunks of samples, events
//     .2  kDevice         OOM_KILLED on its second attempt, with evidence
//     .3  kRemovedDevice  DEVICE_LOST: no result, one that came late
//     .4  kRemovedDevice  CANCELLED before it began
//   kBurstJob       burst
//     .1  kDevice         COMPLETED, with a hold
//     .2  kDevice         still running
class StoredHistoryTest : public testing::Test {
 protected:
  static constexpr char kStaircaseJob[] = "j-0000000001";
  static constexpr char kBurstJob[] = "j-0000000002";
  static constexpr char kMatrixJob[] = "j-0000000003";
  static constexpr char kDevice[] = "d-000000000a";
  static constexpr char kRemovedDevice[] = "d-000000000b";

  void SetUp() override;

  // Another job: kMatrixJob, with a run of kDevice in the environment `4gb` (.1) and one as the device is (.2), which end
  // like the first of kStaircaseJob.
  void WriteMatrixJob();

  // Writes more into the store; fails the test where that fails.
  void Write(storage::WriteBatch batch);

  FixedClock clock_;
  TemporaryDirectory directory_;
  std::unique_ptr<storage::Store> store_;
};

}  // namespace ballast::report
