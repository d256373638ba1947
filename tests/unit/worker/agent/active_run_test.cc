#include "worker/agent/active_run.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "tests/unit/worker/agent/run_fixture.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The machine's clock; counts how often somebody looks at it.
class CountingClock final : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override { return base::RealClock().Now(); }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override {
    ++looks_;
    return base::RealClock().Monotonic();
  }
  [[nodiscard]] std::uint64_t looks() const { return looks_; }

 private:
  mutable std::atomic<std::uint64_t> looks_ = 0;
};

class ActiveRunTest : public RunFixture {};

TEST_F(ActiveRunTest, WaitsQuietlyForARunnerThatTakesLongToEnd) {
  const CountingClock clock;
  options_.clock = &clock;
  options_.stop_grace = seconds(1);
  options_.progress_interval = seconds(1);
  UseScript("exec sleep 1000");  // never reads what it is asked
  v1::Assignment assignment = LongRun();
  *assignment.mutable_spec()->mutable_policy()->mutable_timeout() = base::ToProto(milliseconds(100));
  *assignment.mutable_spec()->mutable_telemetry()->mutable_sample_interval() = base::ToProto(milliseconds(100));
  OpenSpool();
  ASSERT_TRUE(spool_->Begin(key_, Started()).ok());
  auto run = ActiveRun::Prepare(options_, assignment, std::nullopt, spool_.get());
  ASSERT_TRUE(run.ok()) << run.status();
  const std::unique_ptr<RunControl> control = RunControl::Create().value();
  const v1::RunResult result = (*run)->CarryOut(control.get(), this);
  run->reset();
  EXPECT_EQ(result.outcome().kind(), v1::TIMED_OUT) << result.outcome().message();
  // The timeout is behind it for a second. It wakes a dozen times for samples and the like, with a few looks each; a
  // wait that ends at once would make it thousands.
  EXPECT_LT(clock.looks(), 500U);
}

}  // namespace
}  // namespace ballast::agent
