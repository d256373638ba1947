#include "worker/agent/load_verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::agent {
namespace {

using testing::HasSubstr;

class LoadVerdictTest : public testing::Test {
 protected:
  LoadVerdictTest() {
    outcome_.set_kind(v1::COMPLETED);
    outcome_.set_message("70 % in use reached");
  }
  void Load(const char* quant, v1::OutcomeKind kind, const char* message) {
    v1::ModelLoadResult& load = loads_.emplace_back();
    load.set_index(static_cast<std::uint32_t>(loads_.size()));
    load.set_model_id("tiny");
    load.set_quant(quant);
    load.mutable_outcome()->set_kind(kind);
    load.mutable_outcome()->set_message(message);
    if (kind == v1::OOM_KILLED) load.mutable_outcome()->mutable_evidence()->set_killer(v1::KERNEL_MEMCG_OOM);
  }
  static v1::Workload Model() {
    v1::Workload workload;
    workload.mutable_model();
    return workload;
  }
  static v1::Workload Quantization() {
    v1::Workload workload;
    workload.mutable_quantization();
    return workload;
  }

  v1::Outcome outcome_;
  std::vector<v1::ModelLoadResult> loads_;
};

TEST_F(LoadVerdictTest, AModelRunEndsAsItsFirstLoadThatDidNotComplete) {
  Load("Q4_0", v1::COMPLETED, "fine");
  Load("Q4_0", v1::OOM_KILLED, "killed at the limit");
  Load("Q4_0", v1::TIMED_OUT, "too long");
  JudgeLoads(Model(), loads_, &outcome_);
  EXPECT_EQ(outcome_.kind(), v1::OOM_KILLED);
  EXPECT_EQ(outcome_.evidence().killer(), v1::KERNEL_MEMCG_OOM);
  EXPECT_THAT(outcome_.message(), HasSubstr("load 2 of 3: killed at the limit"));
  EXPECT_THAT(outcome_.message(), HasSubstr("1 of 3 at Q4_0 completed (1 OOM_KILLED, 1 TIMED_OUT)"));
}

TEST_F(LoadVerdictTest, AQuantizationRunIsThereToFindOutWhichLevelsDie) {
  Load("Q2_K", v1::COMPLETED, "fine");
  Load("Q6_K", v1::OOM_KILLED, "killed at the limit");
  JudgeLoads(Quantization(), loads_, &outcome_);
  EXPECT_EQ(outcome_.kind(), v1::COMPLETED);
  EXPECT_THAT(outcome_.message(), HasSubstr("1 of 1 at Q2_K completed, 0 of 1 at Q6_K completed (1 OOM_KILLED)"));
}

TEST_F(LoadVerdictTest, ThePressuresOwnEndComesFirst) {
  outcome_.set_kind(v1::GUARD_STOPPED);
  Load("Q2_K", v1::OOM_KILLED, "killed at the limit");
  JudgeLoads(Model(), loads_, &outcome_);
  EXPECT_EQ(outcome_.kind(), v1::GUARD_STOPPED);
  EXPECT_EQ(outcome_.message(), "70 % in use reached");
}

}  // namespace
}  // namespace ballast::agent
