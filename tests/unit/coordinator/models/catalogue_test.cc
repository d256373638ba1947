#include "coordinator/models/catalogue.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/coordinator/models/model_files.h"

namespace ballast::models {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

using CatalogueTest = DirectoryTest;

TEST_F(CatalogueTest, TheOneThatComesWithTheProgramHasWhatIsPromised) {
  const auto catalogue = LoadCatalogue({});
  ASSERT_TRUE(catalogue.ok()) << catalogue.status();
  for (const char* const model_id : {"qwen2.5-7b-zh", "qwen2.5-3b", "qwen2.5-1.5b", "qwen2.5-0.5b", "tiny"}) {
    const v1::CatalogueModel* const model = FindModel(*catalogue, model_id);
    ASSERT_NE(model, nullptr) << model_id;
    EXPECT_EQ(model->levels(0).quant(), "Q4_K_M") << "what a job gets that names no level";
    for (const char* const quant : {"Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16"}) {
      const v1::CatalogueLevel* const level = FindLevel(*model, quant);
      ASSERT_NE(level, nullptr) << model_id << " " << quant;
      EXPECT_TRUE(level->has_synthetic());
      EXPECT_EQ(level->synthetic().seed(), 1U);
    }
  }
}

TEST_F(CatalogueTest, TheUsersStandsBeforeIt) {
  const auto file = Write("models.yaml",
                          "models:\n"
                          "  - model_id: tiny\n"
                          "    levels: [{quant: Q8_0, file: {path: models/mine.gguf}}]\n"
                          "  - model_id: mine\n"
                          "    levels: [{quant: F16, file: {path: /srv/f16.gguf}}]\n");
  const auto catalogue = LoadCatalogue(file);
  ASSERT_TRUE(catalogue.ok()) << catalogue.status();
  const v1::CatalogueModel* const tiny = FindModel(*catalogue, "tiny");
  ASSERT_NE(tiny, nullptr);
  ASSERT_EQ(tiny->levels_size(), 1) << "a model is the user's as a whole";
  EXPECT_EQ(tiny->levels(0).file().path(), (directory_ / "models/mine.gguf").string())
      << "relative paths count from the catalogue's directory";
  EXPECT_EQ(FindModel(*catalogue, "mine")->levels(0).file().path(), "/srv/f16.gguf");
  EXPECT_NE(FindModel(*catalogue, "qwen2.5-7b-zh"), nullptr);
}

TEST_F(CatalogueTest, EveryMistakeHasItsPlace) {
  const auto message = [this](const std::string& text) {
    return std::string(LoadCatalogue(Write("models.yaml", text)).status().message());
  };
  const std::string file = (directory_ / "models.yaml").string();
  EXPECT_THAT(message("models:\n  - model_id: a\n    levels: [{quant: Q, synthetik: {shape: tiny}}]\n"),
              AllOf(HasSubstr(file + ":3:25: "), HasSubstr("did you mean 'synthetic'?")));
  EXPECT_THAT(message("models:\n  - model_id: a\n    levels: [{quant: Q}]\n"), HasSubstr(file + ":3:14: "));
  EXPECT_THAT(message("models:\n  - model_id: a\n    levels: []\n"), HasSubstr(file + ":3:5: "));
  EXPECT_THAT(message("models:\n"
                      "  - {model_id: a, levels: [{quant: Q, synthetic: {shape: tiny}}]}\n"
                      "  - {model_id: a, levels: [{quant: Q, synthetic: {shape: tiny}}]}\n"),
              AllOf(HasSubstr(file + ":3:16: "), HasSubstr("must differ from that of every other entry")));
  EXPECT_THAT(message("models:\n  - {model_id: a, levels: [{quant: Q, file: {size_bytes: 3}}]}\n"),
              AllOf(StartsWith(file), HasSubstr("a file without a path")));
  EXPECT_TRUE(absl::IsNotFound(LoadCatalogue(directory_ / "none.yaml").status()));
}

TEST_F(CatalogueTest, ANameThatIsNotThereIsAnsweredWithTheNearest) {
  const auto catalogue = LoadCatalogue({});
  ASSERT_TRUE(catalogue.ok());
  const absl::Status model = GetModel(*catalogue, "qwen2.5-7b-hz").status();
  EXPECT_TRUE(absl::IsNotFound(model));
  EXPECT_THAT(model.message(), HasSubstr("did you mean 'qwen2.5-7b-zh'"));
  const absl::Status far = GetModel(*catalogue, "llama").status();
  EXPECT_THAT(far.message(), HasSubstr("there are qwen2.5-7b-zh, "));
  const absl::Status level = GetLevel(*FindModel(*catalogue, "tiny"), "Q4_K_N").status();
  EXPECT_TRUE(absl::IsNotFound(level));
  EXPECT_THAT(level.message(), HasSubstr("Q4_K_M"));
  EXPECT_TRUE(GetLevel(*FindModel(*catalogue, "tiny"), "q4_k_m").ok()) << "case does not matter";
}

TEST_F(CatalogueTest, APushedLevelStandsBeforeTheCatalogues) {
  auto catalogue = LoadCatalogue({});
  ASSERT_TRUE(catalogue.ok());
  v1::ModelCatalogue pushed;
  v1::CatalogueModel* const model = pushed.add_models();
  model->set_model_id("tiny");
  for (const char* const quant : {"Q2_K", "Q9"}) {
    v1::CatalogueLevel* const level = model->add_levels();
    level->set_quant(quant);
    level->mutable_file()->set_sha256(std::string(64, 'a'));
  }
  pushed.add_models()->set_model_id("new");
  const int level_count = FindModel(*catalogue, "tiny")->levels_size();
  Overlay(pushed, &*catalogue);
  const v1::CatalogueModel& tiny = *FindModel(*catalogue, "tiny");
  EXPECT_EQ(tiny.levels_size(), level_count + 1);
  EXPECT_TRUE(FindLevel(tiny, "Q2_K")->has_file());
  EXPECT_TRUE(FindLevel(tiny, "Q4_K_M")->has_synthetic());
  EXPECT_NE(FindModel(*catalogue, "new"), nullptr);
}

}  // namespace
}  // namespace ballast::models
