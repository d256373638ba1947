#include "worker/agent/device_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/config/job_rules.h"
#include "common/config/yaml.h"

namespace ballast::agent {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kGib = 1ULL << 30U;

class DevicePolicyTest : public testing::Test {
 protected:
  DevicePolicyTest() { device_.set_limit_bytes(4 * kGib); }

  // Why the policy refuses the job; empty where it does not.
  std::string Check(const std::string& policy_yaml, const std::string& job_yaml) {
    v1::DevicePolicy policy;
    EXPECT_TRUE(config::ReadYaml(policy_yaml, "policy.yaml", &policy).ok()) << policy_yaml;
    const absl::Status read = config::ReadYaml(job_yaml, "job.yaml", assignment_.mutable_spec());
    EXPECT_TRUE(read.ok()) << read;
    config::ApplyDefaults(assignment_.mutable_spec());
    const absl::Status status = CheckDevicePolicy(policy, assignment_, device_);
    assignment_.clear_spec();
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  }

  v1::Assignment assignment_;
  v1::DeviceFacts device_;
};

constexpr char kBurst90[] = "workload: {pressure: {burst: {target_percent: 90%}}}";
constexpr char kModel[] = "workload: {model: {load: {model_id: tiny}}}";

TEST_F(DevicePolicyTest, WithoutAPolicyEverythingIsAllowed) {
  EXPECT_THAT(Check("{}", kBurst90), IsEmpty());
  EXPECT_THAT(Check("{}", "{workload: {pressure: {allocate_full: {until: OOM}}}, guard: {mode: OFF}}"), IsEmpty());
}

TEST_F(DevicePolicyTest, ARefusalNamesTheFieldAndBothValues) {
  EXPECT_EQ(Check("max_pressure_percent: 60%", kBurst90),
            "policy.max_pressure_percent is 60% on this device; the job wants 90%");
  EXPECT_EQ(Check("workloads: [model, command]", kBurst90),
            "policy.workloads is [model, command] on this device; the job wants pressure");
  EXPECT_THAT(Check("workloads: [model, pressure]", kModel), IsEmpty());
}

TEST_F(DevicePolicyTest, EveryReasonIsGiven) {
  const std::string refusal =
      Check("{workloads: [model], max_pressure_percent: 50%, forbid_unguarded: true, max_run_time: 10s}",
            "{workload: {pressure: {burst: {target_percent: 90%, duration: 1h}}}, guard: {mode: OFF}}");
  for (const char* const field : {"workloads", "max_pressure_percent", "forbid_unguarded", "max_run_time"}) {
    EXPECT_THAT(refusal, HasSubstr(std::string("policy.") + field + " is "));
  }
  EXPECT_THAT(refusal, HasSubstr("the job wants pressure; policy.max_pressure_percent is "));
  EXPECT_EQ(refusal.find('\n'), std::string::npos) << "it stands in one cell of a table";
}

TEST_F(DevicePolicyTest, PressureIsComparedWhateverThePatternSaysItIn) {
  const std::string half = "max_pressure_percent: 50%";
  const auto pressure = [](const std::string& pattern) { return "workload: {pressure: {" + pattern + "}}"; };
  for (const char* const pattern :
       {"burst: {target_percent: 51%}", "burst: {target_bytes: 2.1GiB}", "burst: {target_psi: {percent: 5%}}",
        "sawtooth: {min_percent: 10%, max_percent: 60%}", "allocate_full: {until: FLOOR}",
        "allocate_full: {until: OOM}, floor_percent: 60%", "staircase: {step_size_bytes: 1GiB, steps: 3}",
        "trace: {points: [{offset: 0s, used_percent: 10%}, {offset: 1s, used_bytes: 3GiB}]}"}) {
    EXPECT_THAT(Check(half, pressure(pattern)), HasSubstr("policy.max_pressure_percent is 50%")) << pattern;
  }
  for (const char* const pattern :
       {"burst: {target_percent: 50%}", "burst: {target_bytes: 1.9GiB}", "sawtooth: {max_percent: 50%}",
        "allocate_full: {until: FLOOR}, floor_percent: 50%", "burst: {target_psi: {percent: 5%}}, floor_percent: 55%",
        "staircase: {step_size_bytes: 512MiB, steps: 3}",
        "staircase: {step_size_bytes: 1GiB, steps: 30}, floor_percent: 50%"}) {
    EXPECT_THAT(Check(half, pressure(pattern)), IsEmpty()) << pattern;
  }
  EXPECT_THAT(Check(half, "workload: {capacity: {}}"), HasSubstr("the job wants 100%"));
}

TEST_F(DevicePolicyTest, PressureBesideOtherThingsCounts) {
  for (const char* const kind : {"model: {load: {model_id: m}, ", "quantization: {load: {model_id: m}, ",
                                 "stability: {", "command: {command_id: c, "}) {
    const std::string job = fmt::format("workload: {{{}pressure: {{burst: {{target_percent: 90%}}}}}}}}", kind);
    EXPECT_THAT(Check("max_pressure_percent: 60%", job), HasSubstr("the job wants 90%")) << kind;
  }
  EXPECT_THAT(Check("max_pressure_percent: 60%", kModel), IsEmpty());
}

TEST_F(DevicePolicyTest, BytesCountAgainstTheEnvironmentsMemory) {
  const std::string job =
      "{environment_profile: {name: small, memory_bytes: 1GiB}, "
      "workload: {pressure: {burst: {target_bytes: 900MiB}}}}";
  EXPECT_THAT(Check("max_pressure_percent: 50%", job), HasSubstr("the job wants 87.89%"));
  device_.clear_limit_bytes();
  EXPECT_THAT(Check("max_pressure_percent: 50%", "workload: {pressure: {burst: {target_bytes: 1MiB}}}"),
              HasSubstr("the job wants 95%"))
      << "of a memory that is not known, nothing is known to be little";
}

TEST_F(DevicePolicyTest, UnguardedLoads) {
  const std::string policy = "forbid_unguarded: true";
  EXPECT_THAT(Check(policy, "workload: {pressure: {allocate_full: {until: OOM}}}"), HasSubstr("until: OOM"));
  EXPECT_THAT(Check(policy, std::string("{guard: {mode: OFF}, ") + kModel + "}"), HasSubstr("guard.mode: OFF"));
  EXPECT_THAT(Check(policy, "workload: {capacity: {}}"), HasSubstr("policy.forbid_unguarded is true"));
  EXPECT_THAT(Check(policy, "workload: {pressure: {allocate_full: {until: FLOOR}}}"), IsEmpty());
}

TEST_F(DevicePolicyTest, LongRuns) {
  const std::string policy = "max_run_time: 10m";
  EXPECT_EQ(Check(policy, "workload: {stability: {duration: 8h, pressure: {burst: {}}}}"),
            "policy.max_run_time is 10m on this device; the job wants 8h by its plan");
  EXPECT_EQ(Check(policy, std::string("{policy: {timeout: 20m}, ") + kModel + "}"),
            "policy.max_run_time is 10m on this device; the job wants 20m (policy.timeout)");
  EXPECT_THAT(Check(policy, "{validity: {settle: 11m}, workload: {pressure: {burst: {}}}}"),
              HasSubstr("policy.max_run_time is 10m"));
  EXPECT_THAT(Check(policy, kBurst90), IsEmpty()) << "what is derived is cut, not refused";
}

TEST_F(DevicePolicyTest, LargeModels) {
  const std::string policy = "max_model_bytes: 1GiB";
  v1::ResolvedModel* const model = assignment_.add_models();
  model->set_model_id("tiny");
  model->set_quant("Q4_K_M");
  model->mutable_file()->set_size_bytes(2 * kGib);
  EXPECT_THAT(Check(policy, kModel), HasSubstr("on this device; the job wants tiny Q4_K_M, which has 2"));
  model->mutable_file()->set_size_bytes(kGib);
  EXPECT_THAT(Check(policy, kModel), IsEmpty());
  // What is made has the size of its shape, whatever is said of it.
  model->mutable_synthetic()->set_shape("qwen2.5-7b");
  model->mutable_synthetic()->set_seed(1);
  model->mutable_description()->set_file_bytes(1);
  EXPECT_THAT(Check(policy, kModel), HasSubstr("policy.max_model_bytes is 1"));
}

TEST_F(DevicePolicyTest, AStaircaseEndsWhereTheDeviceIsAsFullAsItMayBe) {
  v1::DevicePolicy policy;
  policy.set_max_pressure_percent(60);
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_staircase();
  spec.mutable_workload()->mutable_pressure()->set_floor_percent(5);
  ApplyDevicePolicy(policy, &spec);
  EXPECT_EQ(spec.workload().pressure().floor_percent(), 40);
  spec.mutable_workload()->mutable_pressure()->set_floor_percent(50);
  ApplyDevicePolicy(policy, &spec);
  EXPECT_EQ(spec.workload().pressure().floor_percent(), 50);
  spec.mutable_workload()->mutable_pressure()->mutable_burst();
  spec.mutable_workload()->mutable_pressure()->set_floor_percent(5);
  ApplyDevicePolicy(policy, &spec);
  EXPECT_EQ(spec.workload().pressure().floor_percent(), 5);
}

TEST_F(DevicePolicyTest, TheDeviceSaysWhatItForbids) {
  v1::DeviceFacts facts;
  AddPolicyFacts(v1::DevicePolicy(), &facts);
  EXPECT_THAT(facts.limitations(), IsEmpty());
  v1::DevicePolicy policy;
  policy.add_workloads("model");
  policy.set_max_pressure_percent(60);
  *policy.mutable_max_run_time() = base::ToProto(std::chrono::minutes(10));
  AddPolicyFacts(policy, &facts);
  ASSERT_EQ(facts.limitations_size(), 3);
  EXPECT_THAT(facts.limitations(1), HasSubstr("at most 60%"));
  EXPECT_EQ(LongestRun(policy), std::chrono::minutes(10));
}

}  // namespace
}  // namespace ballast::agent
