// Jobs that load models, from flags.
#include "common/base/clock.h"
#include "common/config/yaml.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ModelJobsTest : public CommandTest {
 protected:
  v1::JobSpec Printed() {
    v1::JobSpec spec;
    const absl::Status read = config::ReadYaml(out(), "printed", &spec);
    EXPECT_TRUE(read.ok()) << read;
    return spec;
  }
};

TEST_F(ModelJobsTest, AModelUnderPressure) {
  ASSERT_EQ(Run({"model", "--model-id", "tiny", "--quant", "Q4_0", "--loader", "mmap+populate", "--lock", "--repeat",
                 "3", "--runs", "2", "--mode", "burst", "--target", "70", "--until", "oom", "--dry-run"}),
            0)
      << err();
  const v1::JobSpec spec = Printed();
  const v1::ModelWorkload& model = spec.workload().model();
  EXPECT_EQ(model.load().quant(), "Q4_0");
  EXPECT_EQ(model.load().loader(), v1::ModelLoad::MMAP_POPULATE);
  EXPECT_TRUE(model.load().lock());
  EXPECT_FALSE(model.pressure().lock());
  EXPECT_EQ(model.loads(), 3U);
  EXPECT_EQ(spec.repetitions(), 2U);
  EXPECT_EQ(model.pressure().burst().target_percent(), 70);
  EXPECT_EQ(spec.guard().mode(), v1::GuardSpec::OFF);
}

TEST_F(ModelJobsTest, WaysToLoadAreWrittenAsPeopleDo) {
  for (const char* runtime : {"llama.cpp", "llama_cpp", "LLAMA_CPP"}) {
    ASSERT_EQ(
        Run({"model", "--model-id", "tiny", "--runtime", runtime, "--no-repack", "--cache", "as-is", "--dry-run"}), 0)
        << err();
    EXPECT_EQ(Printed().workload().model().load().runtime(), v1::ModelLoad::LLAMA_CPP);
    EXPECT_EQ(Printed().workload().model().load().cache(), v1::AS_IS);
  }
  EXPECT_EQ(Run({"model", "--model-id", "tiny", "--runtime", "llamacpp", "--dry-run"}), 2);
  EXPECT_THAT(err(), HasSubstr("try: one of builtin, llama.cpp\n"));
  EXPECT_EQ(Run({"quantization", "--model-id", "tiny", "--cache", "hot", "--dry-run"}), 2);
  EXPECT_THAT(err(), HasSubstr("try: one of cold, warm, as_is\n"));
}

// As of `models estimate`: a flag that would be ignored is a mistake.
TEST_F(ModelJobsTest, FlagsOfARuntimeNeedTheRuntime) {
  EXPECT_EQ(Run({"model", "--model-id", "tiny", "--no-repack", "--dry-run"}), 2);
  EXPECT_THAT(err(), HasSubstr("--no-repack has no meaning for the built-in loader\n  try: --runtime llama.cpp\n"));
  EXPECT_EQ(Run({"quantization", "--model-id", "tiny", "--runtime", "builtin", "--context", "64", "--dry-run"}), 2);
  EXPECT_THAT(err(), HasSubstr("--context has no meaning for the built-in loader"));
  EXPECT_EQ(Run({"model", "--model-id", "tiny", "--runtime", "llama.cpp", "--context", "64", "--dry-run"}), 0) << err();
}

TEST_F(ModelJobsTest, TheLevelsThatWereNamed) {
  ASSERT_EQ(Run({"quantization", "--model-id", "tiny", "--quant-levels", "Q2_K,Q4_K_M", "--quant-levels", "Q6_K",
                 "--dry-run"}),
            0)
      << err();
  EXPECT_THAT(Printed().workload().quantization().quant_levels(), ElementsAre("Q2_K", "Q4_K_M", "Q6_K"));
}

TEST_F(ModelJobsTest, ASoakHasSomethingToDo) {
  ASSERT_EQ(Run({"stability", "--hours", "0.5", "--dry-run"}), 0) << err();
  v1::JobSpec spec = Printed();
  EXPECT_EQ(base::FromProto(spec.workload().stability().duration()), std::chrono::minutes(30));
  EXPECT_TRUE(spec.workload().stability().pressure().has_burst());
  ASSERT_EQ(Run({"stability", "--use-model", "--model-id", "tiny", "--dry-run"}), 0) << err();
  spec = Printed();
  EXPECT_FALSE(spec.workload().stability().has_pressure());
  EXPECT_EQ(spec.workload().stability().load().model_id(), "tiny");
}

TEST_F(ModelJobsTest, WhatIsMissingIsNamed) {
  EXPECT_EQ(Run({"model"}), 2);
  EXPECT_THAT(err(), HasSubstr("--model-id is missing"));
  EXPECT_EQ(Run({"model", "--model-id", "tiny", "--target", "70"}), 2);
  EXPECT_THAT(err(), HasSubstr("no --mode is given"));
  EXPECT_EQ(Run({"stability", "--model-id", "tiny"}), 2);
  EXPECT_THAT(err(), HasSubstr("--use-model is not given"));
}

}  // namespace
}  // namespace ballast::cli
