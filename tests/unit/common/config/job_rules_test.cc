#include "common/config/job_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace ballast::config {
namespace {

using testing::HasSubstr;

class JobRulesTest : public testing::Test {
 protected:
  // With the defaults; empty where it is accepted.
  std::string Problem() {
    ApplyDefaults(&spec_);
    return std::string(Validate(spec_).message());
  }
  v1::PressureWorkload* pressure() { return spec_.mutable_workload()->mutable_pressure(); }

  v1::JobSpec spec_;
};

TEST_F(JobRulesTest, FileCacheThatIsNotLockedHasNoOomKill) {
  pressure()->mutable_allocate_full()->set_until(v1::AllocateFullPattern::OOM);
  EXPECT_EQ(Problem(), "");
  pressure()->set_memory_kind(v1::FILE_CACHE);
  EXPECT_THAT(Problem(), HasSubstr("workload.pressure.allocate_full.until: file cache does not end in an OOM kill"));
  pressure()->set_lock(true);
  EXPECT_EQ(Problem(), "");
}

TEST_F(JobRulesTest, TheGuardLeavesTheLoadItsFloor) {
  pressure()->mutable_burst()->set_target_percent(90);
  pressure()->set_floor_percent(5);
  spec_.mutable_guard()->set_min_available_percent(4.9);
  EXPECT_EQ(Problem(), "");
  spec_.mutable_guard()->set_min_available_percent(5);
  EXPECT_THAT(Problem(), HasSubstr("guard.min_available_percent: 5 % is not below the load's own floor of 5 %"));
  spec_.mutable_guard()->set_mode(v1::GuardSpec::OFF);
  EXPECT_EQ(Problem(), "");
}

TEST_F(JobRulesTest, AModelNeedsAHold) {
  v1::ModelWorkload* const model = spec_.mutable_workload()->mutable_model();
  model->mutable_load()->set_model_id("tiny");
  model->mutable_pressure()->mutable_allocate_full()->set_until(v1::AllocateFullPattern::FLOOR);
  EXPECT_EQ(Problem(), "");
  model->mutable_pressure()->mutable_allocate_full()->set_until(v1::AllocateFullPattern::OOM);
  EXPECT_THAT(Problem(), HasSubstr("no hold in which a model could be loaded"));
}

TEST_F(JobRulesTest, RulesOfFieldsComeFirst) {
  EXPECT_THAT(Problem(), HasSubstr("workload"));
}

}  // namespace
}  // namespace ballast::config
