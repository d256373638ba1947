#include "coordinator/report/advice.h"

#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "coordinator/report/model_comparison.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "message_text.h"

namespace ballast::report {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

class AdviceTest : public testing::Test {
 protected:
  // A device with so much memory.
  void AddDevice(const std::string& id, std::uint64_t limit_bytes) {
    v1::Device& device = devices_.emplace_back();
    device.set_device_id(id);
    device.mutable_facts()->set_limit_bytes(limit_bytes);
  }

  // A level whose file is known.
  void Describe(const std::string& quant, std::uint64_t bytes) {
    descriptions_[quant].set_file_bytes(bytes);
    descriptions_[quant].set_weight_bytes(bytes);
  }

  // Loads on a device: so many of so many survived, with the seconds to the end of the first pass.
  void Measure(const std::string& quant, const std::string& device, int survived, int count, double seconds,
               double passes = 2, std::uint64_t peak = kGiB) {
    for (int i = 0; i < count; ++i) {
      const bool lives = i < survived;
      std::string text =
          fmt::format("model_id: 'm' quant: '{}' file_bytes: {} outcome {{ kind: {} }} peak_resident_bytes: {}", quant,
                      descriptions_[quant].file_bytes(), lives ? "COMPLETED" : "OOM_KILLED", peak);
      if (lives) {
        text += fmt::format(
            " stages {{ kind: FIRST_PASS duration {{ seconds: {} nanos: {} }} }} stages {{ kind: PASSES duration {{ "
            "seconds: 1 }} "
            "pass_count: {} }}",
            static_cast<int>(seconds), static_cast<int>((seconds - std::floor(seconds)) * 1e9), passes);
      }
      v1::Run run = Parse<v1::Run>(fmt::format(
          "device_id: '{}' state: ENDED attempts {{ attempt: 1 result {{ loads {{ {} }} }} }}", device, text));
      loads_.Add(run, Parse<v1::Job>("spec { workload { quantization {} } }"));
    }
  }

  [[nodiscard]] v1::ModelAdvice Advise() {
    const std::vector<ComparedModel> compared = loads_.Compare();
    v1::ModelComparison comparison;
    if (!compared.empty()) comparison = compared.front().comparison;
    comparison.set_model_id("m");
    if (pressure_ > 0)
      comparison.mutable_conditions()->mutable_pressure()->mutable_burst()->set_target_percent(pressure_);
    return AdviseOnLevels({.comparison = comparison,
                           .load = load_,
                           .descriptions = descriptions_,
                           .devices = devices_,
                           .limits = limits_});
  }

  ModelLoads loads_;
  v1::ModelLoad load_;
  std::map<std::string, v1::ModelDescription> descriptions_;
  std::vector<v1::Device> devices_;
  v1::ModelLimits limits_;
  double pressure_ = 0;
};

const v1::LevelAdvice& LevelOf(const v1::ModelAdvice& advice, const std::string& quant) {
  for (const v1::LevelAdvice& level : advice.levels()) {
    if (level.quant() == quant) return level;
  }
  ADD_FAILURE() << quant;
  return v1::LevelAdvice::default_instance();
}

TEST_F(AdviceTest, WhereAllFitItIsTheBestQuality) {
  AddDevice("d-1", 4 * kGiB);
  Measure("Q2_K", "d-1", 3, 3, 1);
  Measure("Q8_0", "d-1", 3, 3, 2);
  Measure("Q4_K_M", "d-1", 3, 3, 1.5);
  const v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q8_0");
  EXPECT_FALSE(advice.estimated());
  EXPECT_EQ(
      advice.reason(),
      "Q8_0 is the best level that fits (3 of 3 loads survived, first pass over after 2.0 s, 2 passes/s, peak 1 GiB)");
  EXPECT_EQ(LevelOf(advice, "Q8_0").devices(0).basis(), v1::DeviceAdvice::MEASURED);
  std::vector<std::string> levels;
  for (const v1::LevelAdvice& level : advice.levels()) levels.push_back(level.quant());
  EXPECT_THAT(levels, ElementsAre("Q8_0", "Q4_K_M", "Q2_K"));
  EXPECT_EQ(advice.limits().min_devices_percent(), 100);
  EXPECT_THAT(advice.inversions(), IsEmpty());
}

TEST_F(AdviceTest, WhereNoneFitsItNamesTheNearest) {
  AddDevice("d-1", kGiB);
  Measure("Q2_K", "d-1", 2, 3, 1);
  Measure("Q4_K_M", "d-1", 0, 3, 1);
  const v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "");
  EXPECT_EQ(advice.reason(), "no level fits; not even Q2_K: 2 of 3 loads survived: 1 OOM_KILLED");
  EXPECT_FALSE(LevelOf(advice, "Q2_K").fits());
}

TEST_F(AdviceTest, EachLimitCounts) {
  AddDevice("d-1", 4 * kGiB);
  Measure("Q2_K", "d-1", 3, 3, 1, 8, kGiB);
  Measure("Q4_0", "d-1", 3, 3, 10, 4, 2 * kGiB);
  Measure("Q8_0", "d-1", 3, 3, 30, 2, 3 * kGiB);
  limits_.mutable_max_load()->set_seconds(20);
  v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q4_0");
  EXPECT_THAT(advice.reason(), HasSubstr("Q8_0 does not: first pass over after 30.0 s, 20.0 s at most are asked for"));
  limits_.Clear();
  limits_.set_min_passes_per_second(5);
  advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q2_K");
  EXPECT_THAT(advice.reason(), HasSubstr("Q4_0 does not: 4 passes/s, 5 at least are asked for"));
  limits_.set_min_passes_per_second(12'345);
  EXPECT_THAT(Advise().reason(), HasSubstr("8 passes/s, 12345 at least"));
  limits_.Clear();
  limits_.set_max_resident_bytes(2 * kGiB);
  advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q4_0");
  EXPECT_THAT(advice.reason(), HasSubstr("Q8_0 does not: 3 GiB resident at the peak, 2 GiB at most"));
}

TEST_F(AdviceTest, PointsOutInversions) {
  AddDevice("d-1", 4 * kGiB);
  Describe("Q3_K_M", kGiB);
  Describe("Q4_0", 2 * kGiB);
  Measure("Q3_K_M", "d-1", 3, 3, 3);
  Measure("Q4_0", "d-1", 3, 3, 2);
  limits_.mutable_max_load()->set_nanos(500'000'000);
  limits_.mutable_max_load()->set_seconds(2);
  const v1::ModelAdvice advice = Advise();
  // The larger one meets the limit that the smaller one does not.
  EXPECT_EQ(advice.current_optimal(), "Q4_0");
  EXPECT_FALSE(LevelOf(advice, "Q3_K_M").fits());
  EXPECT_THAT(advice.inversions(), ElementsAre(HasSubstr("Q3_K_M (1 GiB) is slower than the larger Q4_0 (2 GiB)")));
}

TEST_F(AdviceTest, EstimatesWhereNothingWasMeasuredAndSaysSo) {
  AddDevice("d-1", 3 * kGiB);
  Describe("Q2_K", kGiB);
  Describe("Q4_K_M", 2 * kGiB);
  Describe("Q8_0", 4 * kGiB);
  v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q4_K_M");
  EXPECT_TRUE(advice.estimated());
  EXPECT_THAT(advice.reason(),
              AllOf(HasSubstr("by an estimate only"),
                    HasSubstr("Q8_0 does not: takes 4.01 GiB by estimate, 3 GiB are there: it would be read from the "
                              "disk again and again")));
  EXPECT_TRUE(LevelOf(advice, "Q8_0").devices(0).estimated());
  EXPECT_EQ(LevelOf(advice, "Q8_0").devices(0).basis(), v1::DeviceAdvice::ESTIMATED);
  limits_.set_max_resident_bytes(kGiB + kGiB / 2);
  EXPECT_EQ(Advise().current_optimal(), "Q2_K");
  limits_.Clear();
  load_.set_loader(v1::ModelLoad::READ);
  EXPECT_THAT(Advise().reason(), Not(HasSubstr("again and again")));
}

TEST_F(AdviceTest, AnEstimateMeetsNoLimitOfTime) {
  AddDevice("d-1", 3 * kGiB);
  Describe("Q2_K", kGiB);
  limits_.set_min_passes_per_second(1);
  const v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "");
  EXPECT_EQ(advice.reason(),
            "no level is known to meet the limits; of Q2_K: takes 1.01 GiB by estimate, 3 GiB are there; how fast it "
            "is, only a run tells");
  // It may well do.
  EXPECT_EQ(LevelOf(advice, "Q2_K").devices(0).basis(), v1::DeviceAdvice::NOTHING);
  EXPECT_TRUE(LevelOf(advice, "Q2_K").devices(0).estimated());
  Measure("Q2_K", "d-1", 1, 1, 1);
  Describe("Q8_0", 2 * kGiB);
  EXPECT_THAT(Advise().reason(), HasSubstr("; Q8_0 is not known to: takes 2.01 GiB"));
}

TEST_F(AdviceTest, EstimatesWhatAPressureLeaves) {
  AddDevice("d-1", 4 * kGiB);
  Describe("Q2_K", kGiB);
  Describe("Q4_K_M", 2 * kGiB);
  pressure_ = 70;
  EXPECT_EQ(Advise().current_optimal(), "Q2_K");
  devices_[0].mutable_facts()->set_limit_available_bytes(kGiB / 2);
  EXPECT_EQ(Advise().current_optimal(), "");
}

TEST_F(AdviceTest, AMeasurementCountsMoreThanAnEstimate) {
  AddDevice("d-1", 64 * kGiB);
  Describe("Q2_K", kGiB);
  Describe("Q4_K_M", 2 * kGiB);
  Measure("Q4_K_M", "d-1", 0, 1, 1);
  const v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q2_K");
  EXPECT_TRUE(advice.estimated());
  EXPECT_FALSE(LevelOf(advice, "Q4_K_M").devices(0).estimated());
}

TEST_F(AdviceTest, MixedDevicesOfWhichFourInFiveAreEnough) {
  for (const char* id : {"d-1", "d-2", "d-3"}) {
    AddDevice(id, 4 * kGiB);
    Measure("Q4_K_M", id, 3, 3, 1);
    Measure("Q8_0", id, 3, 3, 1);
  }
  AddDevice("d-4", 4 * kGiB);
  AddDevice("d-5", kGiB);
  Describe("Q4_K_M", 2 * kGiB);
  Describe("Q8_0", 5 * kGiB);
  limits_.set_min_devices_percent(80);
  v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q4_K_M");
  EXPECT_EQ(LevelOf(advice, "Q4_K_M").fitting_device_count(), 4);
  EXPECT_TRUE(advice.estimated());
  EXPECT_EQ(advice.device_count(), 5);
  EXPECT_EQ(
      advice.reason(),
      "Q4_K_M is the best level that fits on 4 of 5 devices, on 1 of them by an estimate; Q8_0 does "
      "not: d-4: takes 5.01 GiB by estimate, 4 GiB are there: it would be read from the disk again and again (and "
      "1 more device)");
  limits_.set_min_devices_percent(60);
  advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q8_0");
  EXPECT_FALSE(advice.estimated());
  limits_.set_min_devices_percent(81);
  advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "");
  EXPECT_EQ(advice.reason(),
            "no level fits on 81 % of 5 devices; Q4_K_M comes nearest, on 4 of 5, but not on d-5: takes 2.01 GiB by "
            "estimate, 1 GiB are there: it would be read from the disk again and again");
}

// Whatever was measured or would fit: it cannot be loaded there.
TEST_F(AdviceTest, ADeviceWithoutTheRuntimeFailsEveryLevel) {
  AddDevice("d-1", 8 * kGiB);
  Describe("Q2_K", kGiB);
  Describe("Q8_0", 2 * kGiB);
  Measure("Q2_K", "d-1", 0, 1, 1);
  load_.set_runtime(v1::ModelLoad::LLAMA_CPP);
  v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "");
  EXPECT_EQ(advice.reason(), "no level fits: llama.cpp is not installed there");
  for (const v1::LevelAdvice& level : advice.levels()) {
    EXPECT_FALSE(level.devices(0).fits());
    EXPECT_FALSE(level.devices(0).estimated());
    EXPECT_EQ(level.devices(0).basis(), v1::DeviceAdvice::DEVICE_FACTS);
    EXPECT_EQ(level.devices(0).reason(), "llama.cpp is not installed there");
  }
  AddDevice("d-2", 8 * kGiB);
  devices_[1].mutable_facts()->add_capabilities(v1::RUNTIME_LLAMA_CPP);
  limits_.set_min_devices_percent(50);
  advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q8_0");
  devices_[0].mutable_facts()->add_capabilities(v1::RUNTIME_LLAMA_CPP);
  limits_.set_min_devices_percent(100);
  advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q8_0");
  EXPECT_THAT(LevelOf(advice, "Q2_K").devices(0).reason(), HasSubstr("0 of 1 loads survived"));
}

TEST_F(AdviceTest, SaysWhatItDoesNotKnow) {
  EXPECT_EQ(Advise().reason(), "no level of m is known");
  descriptions_["Q2_K"];
  EXPECT_EQ(Advise().reason(), "there is no device to advise on");
  AddDevice("d-1", 0);
  EXPECT_THAT(Advise().reason(), HasSubstr("what its file holds is not known"));
  Describe("Q2_K", kGiB);
  EXPECT_THAT(Advise().reason(), HasSubstr("how much memory the device has is not known"));
}

}  // namespace
}  // namespace ballast::report
