#include "coordinator/report/model_history.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "message_text.h"
#include "recorded_loads.h"
#include "stored_history.h"

namespace ballast::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ModelHistoryTest : public StoredHistoryTest {
 protected:
  void SetUp() override {
    StoredHistoryTest::SetUp();
    Write(RecordedLoads());
    request_ = Parse<v1::AdviseModelRequest>("model_id: 'pocket' devices { labels { key: 'class' value: 'mini-pc' } }");
    // By the quantization job: the soak ran later, and without pressure.
    request_.add_job_ids(kQuantizationJob);
  }

  [[nodiscard]] v1::ModelAdvice Advise() {
    absl::StatusOr<v1::ModelAdvice> advice = BuildAdvice(*store_, request_, entries_);
    EXPECT_TRUE(advice.ok()) << advice.status();
    return advice.ok() ? *std::move(advice) : v1::ModelAdvice();
  }
  [[nodiscard]] absl::Status Refusal() { return BuildAdvice(*store_, request_, entries_).status(); }

  v1::AdviseModelRequest request_;
  // As the library of models says it; none of the models here is in a catalogue.
  absl::StatusOr<std::vector<v1::ModelEntry>> entries_ =
      absl::NotFoundError("no model in the catalogue; there are tiny");
};

TEST_F(ModelHistoryTest, NamesTheLevelThatEveryDeviceCanHave) {
  const v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q4_K_M");
  EXPECT_EQ(advice.device_count(), 2);
  EXPECT_FALSE(advice.estimated());
  EXPECT_EQ(advice.conditions().pressure().burst().target_percent(), 30);
  EXPECT_THAT(advice.reason(), HasSubstr("Q6_K does not: mini-1: 0 of 2 loads survived: 2 OOM_KILLED"));
  EXPECT_THAT(advice.inversions(), ElementsAre(HasSubstr("Q2_K (300 MiB) is slower than the larger Q4_K_M (450 MiB) on "
                                                         "1 of 2 devices: mini-1")));
  EXPECT_THAT(advice.remarks(), IsEmpty());
}

TEST_F(ModelHistoryTest, LooksAtTheDevicesThatAreAskedFor) {
  request_.mutable_devices()->add_device_ids("d-000000000d");
  EXPECT_EQ(Advise().current_optimal(), "Q6_K");
  request_.mutable_limits()->mutable_max_load()->set_seconds(3);
  EXPECT_EQ(Advise().current_optimal(), "Q4_K_M");
}

TEST_F(ModelHistoryTest, CountsTheConditionsOfTheLatestLoadAndNamesWhatIsLeftOut) {
  request_.clear_job_ids();
  request_.mutable_devices()->add_device_ids("d-000000000d");
  const v1::ModelAdvice advice = Advise();
  EXPECT_FALSE(advice.conditions().has_pressure());
  // Of the soak: five of six loads of Q2_K survived. The other levels of its job were not loaded.
  EXPECT_EQ(advice.current_optimal(), "Q6_K");
  EXPECT_TRUE(advice.estimated());
  EXPECT_THAT(advice.levels(2).devices(0).reason(), HasSubstr("5 of 6 loads survived: 1 OOM_KILLED"));
  EXPECT_THAT(advice.remarks(), ElementsAre(HasSubstr("6 more loads of this model were made under other conditions")));
}

TEST_F(ModelHistoryTest, EstimatesLevelsThatTheCatalogueKnowsAndNobodyLoaded) {
  entries_.emplace().push_back(Parse<v1::ModelEntry>(
      "model_id: 'pocket' quant: 'Q8_0' model { file_bytes: 900000000 weight_bytes: 900000000 }"));
  request_.mutable_devices()->add_device_ids("d-000000000d");
  const v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q8_0");
  EXPECT_TRUE(advice.estimated());
}

TEST_F(ModelHistoryTest, EstimatesAModelThatWasNeverLoaded) {
  request_.set_model_id("new");
  request_.clear_job_ids();
  EXPECT_EQ(Refusal(), absl::NotFoundError("no model in the catalogue; there are tiny; nor was it loaded on these "
                                           "devices"));
  entries_.emplace().push_back(
      Parse<v1::ModelEntry>("model_id: 'new' quant: 'Q2_K' model { file_bytes: 500000000 weight_bytes: 500000000 }"));
  entries_->push_back(
      Parse<v1::ModelEntry>("model_id: 'new' quant: 'Q8_0' model { file_bytes: 2000000000 weight_bytes: 2000000000 }"));
  v1::ModelAdvice advice = Advise();
  EXPECT_EQ(advice.current_optimal(), "Q2_K");
  EXPECT_EQ(advice.conditions().loader(), v1::ModelLoad::MMAP);
  request_.mutable_limits()->set_min_devices_percent(50);
  EXPECT_EQ(Advise().current_optimal(), "Q8_0");
}

TEST_F(ModelHistoryTest, LeavesInvalidRunsOutUnlessTheyAreAskedFor) {
  absl::StatusOr<v1::Run> run = store_->GetRun("j-0000000003.1");
  ASSERT_TRUE(run.ok());
  run->mutable_attempts(0)->mutable_result()->mutable_validity()->set_valid(false);
  Write({storage::PutRun{.run = *run}});
  v1::ModelAdvice advice = Advise();
  // On mini-1 nothing counts any more, so it is estimated: 1 GiB, of which the pressure leaves 70 %.
  EXPECT_EQ(advice.current_optimal(), "Q6_K");
  EXPECT_TRUE(advice.estimated());
  EXPECT_THAT(advice.remarks(), ElementsAre(HasSubstr("run j-0000000003.1 is invalid and left out")));
  request_.set_include_invalid(true);
  EXPECT_EQ(Advise().current_optimal(), "Q4_K_M");
}

TEST_F(ModelHistoryTest, RefusesWhatCannotBe) {
  request_.mutable_limits()->set_min_devices_percent(101);
  EXPECT_EQ(Refusal().code(), absl::StatusCode::kInvalidArgument);
  request_.mutable_limits()->Clear();
  request_.mutable_devices()->add_device_ids("d-000000000e");
  EXPECT_THAT(std::string(Refusal().message()), HasSubstr("no device d-000000000e has these labels"));
  request_.mutable_devices()->clear_device_ids();
  request_.add_job_ids("j-nowhere");
  EXPECT_EQ(Refusal().code(), absl::StatusCode::kNotFound);
  request_.clear_model_id();
  EXPECT_EQ(Refusal().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ballast::report
