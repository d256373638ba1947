#include "cli/render/text_value.h"

#include "common/base/clock.h"
#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(TextValueTest, Durations) {
  EXPECT_EQ(Seconds(base::ToProto(milliseconds(1'500))), "1.5");
  EXPECT_EQ(Seconds(base::ToProto(std::chrono::microseconds(1'234'567))), "1.235");
  EXPECT_EQ(Stopwatch(base::ToProto(milliseconds(65'900))), "1:05");
  EXPECT_EQ(Stopwatch(base::ToProto(seconds(8 * 3600 + 61))), "8:01:01");
}

TEST(TextValueTest, FiguresByTheirUnit) {
  EXPECT_EQ(FigureText("peak_held_bytes", 1.5 * (1U << 30U)), "1.5 GiB");
  EXPECT_EQ(FigureText("resident_delta_bytes", -1048576), "-1 MiB");
  EXPECT_EQ(FigureText("fill_bytes_per_second", 2.0 * (1U << 20U)), "2 MiB/s");
  EXPECT_EQ(FigureText("time_to_target_seconds", 2.5), "2.5 s");
  EXPECT_EQ(FigureText("sample_delay_max_seconds", 0.000068), "0.068 ms");
  EXPECT_EQ(FigureText("psi_memory_some_seconds", 0), "0 s");
  EXPECT_EQ(FigureText("time_to_first_pass_seconds", 1234.5), "1234 s");
  EXPECT_EQ(FigureText("passes_per_second", 5910.17), "5910");
  EXPECT_EQ(FigureText("passes_per_second", 0.0123456), "0.0123");
  EXPECT_EQ(FigureText("mem_used_percent", 42.34), "42.3 %");
  EXPECT_EQ(FigureText("pswpin_total", 12), "12");
  EXPECT_EQ(FigureText("x_bytes", 1e300), FigureText("x_bytes", 9.2e18)) << "no overflow";
}

TEST(TextValueTest, Times) {
  google::protobuf::Timestamp time;
  time.set_seconds(1'740'837'600);
  EXPECT_EQ(Rfc3339(true, time), "2025-03-01T14:00:00Z");
  EXPECT_EQ(Rfc3339(false, time), "");
  time.set_seconds(std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(Rfc3339(true, time), "") << "outside RFC 3339";
  EXPECT_EQ(LocalTime(true, time), "") << "outside the calendar";
}

TEST(TextValueTest, Workloads) {
  v1::Workload workload;
  EXPECT_EQ(WorkloadName(workload), "");
  workload.mutable_model();
  EXPECT_EQ(WorkloadName(workload), "model");
  workload.mutable_pressure();
  EXPECT_EQ(WorkloadName(workload), "");
  workload.mutable_pressure()->mutable_allocate_full();
  EXPECT_EQ(WorkloadName(workload), "allocate_full");
}

}  // namespace
}  // namespace ballast::cli
