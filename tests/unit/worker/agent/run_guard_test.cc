#include "worker/agent/run_guard.h"

#include <gtest/gtest.h>

#include "common/config/field_rules.h"

namespace ballast::agent {
namespace {

v1::JobSpec AllocatingFull(v1::AllocateFullPattern::Until until) {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_allocate_full()->set_until(until);
  config::ApplyDefaults(&spec);
  return spec;
}

TEST(RunGuardTest, RunsAreGuardedUnlessTheyAreMeantToEndInTheOomKill) {
  EXPECT_TRUE(IsGuarded(AllocatingFull(v1::AllocateFullPattern::FLOOR)));
  EXPECT_FALSE(IsGuarded(AllocatingFull(v1::AllocateFullPattern::OOM)));
  v1::JobSpec model;
  *model.mutable_workload()->mutable_model()->mutable_pressure() =
      AllocatingFull(v1::AllocateFullPattern::OOM).workload().pressure();
  EXPECT_FALSE(IsGuarded(model));
  model.mutable_workload()->mutable_model()->clear_pressure();
  EXPECT_TRUE(IsGuarded(model));
}

TEST(RunGuardTest, AGuardCanBeTurnedOff) {
  v1::JobSpec spec = AllocatingFull(v1::AllocateFullPattern::FLOOR);
  spec.mutable_guard()->set_mode(v1::GuardSpec::OFF);
  EXPECT_FALSE(IsGuarded(spec));
  const auto guard =
      RunGuard::Prepare(spec, "/nowhere", os::CgroupLocation(), &base::RealClock(), std::chrono::nanoseconds(0));
  ASSERT_TRUE(guard.ok()) << "what is not guarded needs nothing to read: " << guard.status();
  (*guard)->Stop();
  const RunGuard::News news = (*guard)->TakeNews();
  EXPECT_TRUE(news.events.empty());
  EXPECT_FALSE(news.asked || news.killed);
}

TEST(RunGuardTest, AGuardThatCannotReadTheDeviceIsNoGuard) {
  const auto guard = RunGuard::Prepare(AllocatingFull(v1::AllocateFullPattern::FLOOR), "/nowhere", os::CgroupLocation(),
                                       &base::RealClock(), std::chrono::nanoseconds(0));
  EXPECT_EQ(guard.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ballast::agent
