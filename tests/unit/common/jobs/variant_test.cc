#include "common/jobs/variant.h"

#include <gtest/gtest.h>

#include "google/protobuf/text_format.h"

namespace ballast::jobs {
namespace {

v1::JobSpec Job() {
  v1::JobSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(R"pb(
    environment: "other" environment_profile { name: "other" }
    workload { model { load { model_id: "m" quant: "F16" } } }
    matrix {
      environments: "none" environments: "small" quants: "Q4_0" quants: "Q8_0"
      environment_profiles {} environment_profiles { name: "2gb" memory_bytes: 7 }
    })pb", &spec));
  return spec;
}

v1::Run RunOf(const std::string& environment, const std::string& quant) {
  v1::Run run;
  run.set_matrix_environment(environment);
  run.set_matrix_quant(quant);
  return run;
}

TEST(Variant, IsNamedByTheAxesThatThereAre) {
  EXPECT_EQ(VariantName(RunOf("2gb", "Q4_0")), "2gb Q4_0");
  EXPECT_EQ(VariantName(RunOf("2gb", "")), "2gb");
  EXPECT_EQ(VariantName(RunOf("", "Q4_0")), "Q4_0");
  EXPECT_EQ(VariantName(RunOf("", "")), "");
}

TEST(Variant, ARunCarriesOutItsJobWithTheVariantPutIn) {
  const v1::JobSpec small = SpecOf(Job(), RunOf("small", "Q8_0"));
  EXPECT_EQ(small.environment(), "2gb") << "the profile's name, not what the job calls it";
  EXPECT_EQ(small.environment_profile().memory_bytes(), 7U);
  EXPECT_EQ(small.workload().model().load().quant(), "Q8_0");
  EXPECT_FALSE(small.has_matrix());
  const v1::JobSpec as_it_is = SpecOf(Job(), RunOf("none", ""));
  EXPECT_EQ(as_it_is.environment(), "");
  EXPECT_FALSE(as_it_is.has_environment_profile());
  EXPECT_EQ(as_it_is.workload().model().load().quant(), "F16");
}

TEST(Variant, WithoutAMatrixTheJobStandsAsItIs) {
  v1::JobSpec job = Job();
  job.clear_matrix();
  EXPECT_EQ(SpecOf(job, v1::Run()).SerializeAsString(), job.SerializeAsString());
}

}  // namespace
}  // namespace ballast::jobs
