// ballast models advise against a coordinator that gives what it is told to.
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;

class ModelAdviceTest : public CommandTest {
 protected:
  ModelAdviceTest() {
    variables_["BALLAST_COORDINATOR"] = coordinator_.address();
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
        R"(model_id: "pocket" current_optimal: "Q4_0" device_count: 2 reason: "Q4_0 is the best"
           conditions { loader: MMAP runtime: BUILTIN cache: COLD }
           levels { quant: "Q8_0" fitting_device_count: 1
                    devices { device_id: "d-1" device_name: "box" fits: true reason: "2 of 2 loads survived" }
                    devices { device_id: "d-2" device_name: "pi" reason: "takes 2 GiB by estimate" estimated: true }
                    devices { device_id: "d-3" device_name: "nuc" reason: "only a run tells" estimated: true
                              basis: NOTHING }
                    devices { device_id: "d-4" device_name: "old" reason: "llama.cpp is not installed there"
                              basis: DEVICE_FACTS } }
           levels { quant: "Q4_0" fitting_device_count: 2 fits: true
                    devices { device_id: "d-1" device_name: "box" fits: true reason: "it does" }
                    devices { device_id: "d-2" device_name: "pi" fits: true reason: "it does" } }
           inversions: "Q2_K is slower than the larger Q4_0" remarks: "3 more loads do not count")",
        &coordinator_.advice));
  }

  FakeCoordinator coordinator_{directory_.path()};
};

TEST_F(ModelAdviceTest, ATableSaysWhichLevelFitsWhereAndWhy) {
  ASSERT_EQ(Run({"models", "advise", "--model-id", "pocket"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("pocket: mmap, built-in loader, cold\n"));
  EXPECT_THAT(out(), ContainsRegex("Q8_0 +1 of 4 +box +yes +measured +2 of 2 loads survived\n"));
  EXPECT_THAT(out(), ContainsRegex("\n +pi +no +estimate +takes 2 GiB by estimate\n"));
  EXPECT_THAT(out(), HasSubstr("\nadvice: Q4_0 is the best\ninversion: Q2_K is slower than the larger Q4_0\n"
                               "note: 3 more loads do not count\n"));
  EXPECT_THAT(out(), ContainsRegex("\n +nuc +- +not measured +only a run tells\n"));
  EXPECT_THAT(out(), ContainsRegex("\n +old +no +device +llama.cpp is not installed there\nQ4_0 +2 of 2 +box"));
  EXPECT_EQ(err(), "");
  ASSERT_EQ(Run({"models", "advise", "--model", "pocket", "--output", "json"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("\"current_optimal\": \"Q4_0\""));
}

TEST_F(ModelAdviceTest, FlagsFillInTheRequest) {
  ASSERT_EQ(Run({"models",         "advise",     "--model-id",       "pocket",
                 "--on",           "class=mini", "--device",         "d-1",
                 "--max-load",     "30s",        "--min-passes",     "2",
                 "--max-resident", "1GiB",       "--devices",        "80%",
                 "--job",          "j-1,j-2",    "--loader",         "mmap+populate",
                 "--runtime",      "llama.cpp",  "--include-invalid"}),
            0)
      << err();
  const v1::AdviseModelRequest& request = coordinator_.advise_requests.at(0);
  EXPECT_EQ(request.devices().labels().at("class"), "mini");
  EXPECT_THAT(request.devices().device_ids(), ElementsAre("d-1"));
  EXPECT_EQ(request.limits().max_load().seconds(), 30);
  EXPECT_EQ(request.limits().min_passes_per_second(), 2);
  EXPECT_EQ(request.limits().max_resident_bytes(), std::uint64_t{1} << 30U);
  EXPECT_EQ(request.limits().min_devices_percent(), 80);
  EXPECT_THAT(request.job_ids(), ElementsAre("j-1", "j-2"));
  EXPECT_EQ(request.loader(), v1::ModelLoad::MMAP_POPULATE);
  EXPECT_EQ(request.runtime(), v1::ModelLoad::LLAMA_CPP);
  EXPECT_TRUE(request.include_invalid());
}

TEST_F(ModelAdviceTest, WithoutADeviceItSaysWhereOneComesFrom) {
  coordinator_.advice.Clear();
  coordinator_.advice.set_model_id("pocket");
  coordinator_.advice.set_reason("there is no device to advise on");
  ASSERT_EQ(Run({"models", "advise", "--model-id", "pocket"}), 0) << err();
  EXPECT_EQ(out(), "pocket\nadvice: none: there is no device to advise on\n");
  EXPECT_THAT(err(), HasSubstr("ballast devices list"));
}

TEST_F(ModelAdviceTest, WhatCannotBeIsRefused) {
  EXPECT_EQ(Run({"models", "advise"}), 2);
  EXPECT_THAT(err(), HasSubstr("--model-id"));
  EXPECT_EQ(Run({"models", "advise", "--model-id", "pocket", "--output", "csv"}), 2);
  EXPECT_EQ(Run({"models", "advise", "--model-id", "pocket", "--max-load", "soon"}), 2);
  EXPECT_THAT(err(), HasSubstr("--max-load"));
  EXPECT_EQ(Run({"models", "advise", "--model-id", "pocket", "--runtime", "vllm"}), 2);
  EXPECT_THAT(err(), HasSubstr("one of builtin, llama.cpp"));
  EXPECT_EQ(Run({"models", "advise", "--model-id", "pockett"}), 4);
  EXPECT_THAT(err(), HasSubstr("try: ballast models list"));
}

}  // namespace
}  // namespace ballast::cli
