#include "common/models/model_resolver.h"

#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/common/models/model_files.h"

namespace ballast::models {
namespace {

using ::testing::HasSubstr;

std::chrono::system_clock::time_point Soon() {
  return std::chrono::system_clock::now() + std::chrono::seconds(30);
}

class ModelResolverTest : public DirectoryTest {
 protected:
  ModelResolverTest() : resolver_(directory_ / "digests") { model_.set_model_id("mine"); }

  static v1::CatalogueLevel FileLevel(const std::filesystem::path& path) {
    v1::CatalogueLevel level;
    level.set_quant("Q4_0");
    level.mutable_file()->set_path(path.string());
    return level;
  }

  ModelResolver resolver_;
  v1::CatalogueModel model_;
};

TEST_F(ModelResolverTest, AFileIsDescribedAndGetsItsDigest) {
  const std::string content = TinyModel();
  const std::filesystem::path path = Write("model.gguf", content);
  const auto resolved = resolver_.Resolve(model_, FileLevel(path), path, Soon());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->file().sha256(), DigestOf(content));
  EXPECT_EQ(resolved->file().size_bytes(), content.size());
  EXPECT_EQ(resolved->description().quant(), "Q4_0");
  EXPECT_EQ(resolved->description().file_bytes(), content.size());
}

TEST_F(ModelResolverTest, WhatIsMadeOnADeviceHasTheSameDescriptionAsItsFile) {
  v1::CatalogueLevel level;
  level.set_quant("Q4_0");
  level.mutable_synthetic()->set_shape("tiny");
  level.mutable_synthetic()->set_seed(1);
  const auto made = resolver_.Describe(level, {});
  ASSERT_TRUE(made.ok()) << made.status();
  const std::filesystem::path path = Write("model.gguf", TinyModel());
  const auto read = resolver_.Describe(FileLevel(path), path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(made->SerializeAsString(), read->SerializeAsString());
}

TEST_F(ModelResolverTest, AnotherFileThanTheCatalogueSaysIsRefused) {
  const std::filesystem::path path = Write("model.gguf", TinyModel());
  v1::CatalogueLevel size = FileLevel(path);
  size.mutable_file()->set_size_bytes(1);
  EXPECT_THAT(resolver_.Resolve(model_, size, path, Soon()).status().message(), HasSubstr("the catalogue says 1"));
  v1::CatalogueLevel digest = FileLevel(path);
  digest.mutable_file()->set_sha256(std::string(64, '0'));
  EXPECT_THAT(resolver_.Resolve(model_, digest, path, Soon()).status().message(), HasSubstr("has the SHA-256"));
}

}  // namespace
}  // namespace ballast::models
