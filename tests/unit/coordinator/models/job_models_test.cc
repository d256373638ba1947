#include "coordinator/models/job_models.h"

#include <chrono>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/models/model_library.h"
#include "tests/unit/common/models/model_files.h"

namespace ballast::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class JobModelsTest : public DirectoryTest {
 protected:
  void Open(const std::string& catalogue = "") {
    auto library = ModelLibrary::Open(directory_ / "models", catalogue.empty() ? "" : Write("models.yaml", catalogue));
    ASSERT_TRUE(library.ok()) << library.status();
    library_ = *std::move(library);
  }
  auto Resolve(v1::JobSpec* spec) {
    return ResolveModels(library_.get(), std::chrono::system_clock::now() + std::chrono::seconds(30), spec);
  }
  static v1::JobSpec Quantization(const std::string& model_id) {
    v1::JobSpec spec;
    spec.mutable_workload()->mutable_quantization()->mutable_load()->set_model_id(model_id);
    return spec;
  }
  static v1::JobSpec Model(const std::string& model_id, const std::string& quant = "") {
    v1::JobSpec spec;
    v1::ModelLoad* const load = spec.mutable_workload()->mutable_model()->mutable_load();
    load->set_model_id(model_id);
    load->set_quant(quant);
    return spec;
  }

  std::unique_ptr<ModelLibrary> library_;
};

TEST_F(JobModelsTest, ALevelThatWasLeftOutIsTheFirst) {
  Open();
  v1::JobSpec spec = Model("tiny");
  const auto models = Resolve(&spec);
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->size(), 1);
  EXPECT_EQ(models->Get(0).quant(), "Q4_K_M");
  EXPECT_EQ(models->Get(0).synthetic().shape(), "tiny");
  EXPECT_GT(models->Get(0).description().file_bytes(), models->Get(0).description().weight_bytes());
  EXPECT_EQ(spec.workload().model().load().quant(), "Q4_K_M");
}

TEST_F(JobModelsTest, LevelsThatWereLeftOutAreAll) {
  Open();
  v1::JobSpec spec = Quantization("tiny");
  const auto models = Resolve(&spec);
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(models->size(), 8);
  EXPECT_EQ(spec.workload().quantization().quant_levels_size(), 8);
}

TEST_F(JobModelsTest, NamedLevelsKeepTheirOrderAndGetTheirSpelling) {
  Open();
  v1::JobSpec spec = Quantization("tiny");
  for (const char* const quant : {"q6_k", "Q2_K"}) {
    spec.mutable_workload()->mutable_quantization()->add_quant_levels(quant);
  }
  ASSERT_TRUE(Resolve(&spec).ok());
  EXPECT_THAT(spec.workload().quantization().quant_levels(), ElementsAre("Q6_K", "Q2_K"));
  spec.mutable_workload()->mutable_quantization()->add_quant_levels("q2_k");
  EXPECT_THAT(Resolve(&spec).status().message(), HasSubstr("Q2_K is named twice"));
}

TEST_F(JobModelsTest, EveryPlaceThatNamesAModelIsLookedAt) {
  Open();
  v1::JobSpec stability;
  stability.mutable_workload()->mutable_stability()->mutable_load()->set_model_id("tiny");
  EXPECT_EQ(Resolve(&stability)->size(), 1);
  v1::JobSpec beside;
  beside.mutable_workload()->mutable_capacity()->mutable_load()->set_model_id("tiny");
  EXPECT_EQ(Resolve(&beside)->size(), 1);
  v1::JobSpec levels = beside;
  levels.mutable_workload()->mutable_capacity()->set_dimension(v1::CapacityWorkload::QUANT_LEVEL);
  EXPECT_EQ(Resolve(&levels)->size(), 8);
  v1::JobSpec none;
  none.mutable_workload()->mutable_stability();
  EXPECT_EQ(Resolve(&none)->size(), 0);
  none.mutable_workload()->mutable_pressure();
  EXPECT_EQ(Resolve(&none)->size(), 0);
}

TEST_F(JobModelsTest, UnknownNamesAreAnsweredWithTheNearest) {
  Open();
  v1::JobSpec model = Model("qwen2.5-7b");
  EXPECT_TRUE(absl::IsNotFound(Resolve(&model).status()));
  EXPECT_THAT(Resolve(&model).status().message(), HasSubstr("qwen2.5-7b-zh"));
  v1::JobSpec level = Model("tiny", "Q4_K_X");
  EXPECT_TRUE(absl::IsNotFound(Resolve(&level).status()));
  EXPECT_THAT(Resolve(&level).status().message(), HasSubstr("Q4_K_M"));
}

TEST_F(JobModelsTest, AFileIsFoundOutAndServedInPlace) {
  const std::string content = TinyModel();
  Write("mine.gguf", content);
  Open("models: [{model_id: mine, levels: [{quant: Q4_0, file: {path: mine.gguf}}]}]\n");
  v1::JobSpec spec = Model("mine");
  const auto models = Resolve(&spec);
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(models->Get(0).file().sha256(), DigestOf(content));
  EXPECT_EQ(models->Get(0).file().size_bytes(), content.size());
  EXPECT_EQ(models->Get(0).description().architecture(), "qwen2");
  const auto served = library_->OpenFile(DigestOf(content));
  ASSERT_TRUE(served.ok()) << served.status();
  EXPECT_EQ(served->path, directory_ / "mine.gguf");
  EXPECT_EQ(served->size_bytes, content.size());
  Write("mine.gguf", TinyModel(2));
  EXPECT_TRUE(absl::IsDataLoss(library_->OpenFile(DigestOf(content)).status()));
}

TEST_F(JobModelsTest, WhatCannotBeUsedIsRefusedWithTheReason) {
  const std::string content = TinyModel();
  Write("mine.gguf", content);
  Write("text.gguf", "no model");
  Open(
      "models:\n"
      "  - model_id: mine\n"
      "    levels:\n"
      "      - {quant: MISSING, file: {path: none.gguf}}\n"
      "      - {quant: TEXT, file: {path: text.gguf}}\n"
      "      - {quant: DIGEST, file: {path: mine.gguf, sha256: " +
      std::string(64, 'a') +
      "}}\n"
      "      - {quant: SIZE, file: {path: mine.gguf, size_bytes: 7B}}\n"
      "      - {quant: PUSHED, file: {sha256: " +
      std::string(64, 'b') +
      "}}\n"
      "      - {quant: Q4_0, synthetic: {shape: huge}}\n"
      "      - {quant: Q4_X, synthetic: {shape: tiny}}\n");
  const std::pair<const char*, const char*> problems[] = {{"MISSING", "none.gguf"},
                                                          {"TEXT", "text.gguf"},
                                                          {"DIGEST", "and the catalogue says aaaa"},
                                                          {"SIZE", "the catalogue says 7"},
                                                          {"PUSHED", "was pushed"},
                                                          {"Q4_0", "huge"},
                                                          {"Q4_X", "Q4_X"}};
  for (const auto& [quant, problem] : problems) {
    v1::JobSpec spec = Model("mine", quant);
    const absl::Status status = Resolve(&spec).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << quant << ": " << status;
    EXPECT_THAT(status.message(), HasSubstr(problem)) << quant;
  }
  const auto entries = library_->List("mine");
  ASSERT_TRUE(entries.ok());
  int with_problem = 0;
  for (const v1::ModelEntry& entry : *entries) with_problem += entry.problem().empty() ? 0 : 1;
  EXPECT_EQ(with_problem, 6) << "a wrong digest shows when the file is read";
}

TEST_F(JobModelsTest, ListsFromTheSmallestLevelToTheLargest) {
  Open();
  const auto entries = library_->List("");
  ASSERT_TRUE(entries.ok());
  EXPECT_EQ(entries->size(), 40U);
  for (std::size_t i = 1; i < entries->size(); ++i) {
    const v1::ModelEntry& before = (*entries)[i - 1];
    const v1::ModelEntry& entry = (*entries)[i];
    EXPECT_LE(before.model_id(), entry.model_id());
    if (before.model_id() == entry.model_id()) {
      EXPECT_LE(before.model().file_bytes(), entry.model().file_bytes());
    }
    EXPECT_EQ(entry.problem(), "");
    EXPECT_EQ(entry.source(), "synthetic");
  }
  EXPECT_TRUE(absl::IsNotFound(library_->List("none").status()));
}

}  // namespace
}  // namespace ballast::models
