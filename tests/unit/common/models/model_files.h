// Model files for tests, and a directory for them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/gguf/synthetic_model.h"

namespace ballast::models {

// The bytes of a small model; other seeds give other bytes of the same size.
inline std::string TinyModel(std::uint64_t seed = 1, gguf::QuantLevel level = gguf::QuantLevel::kQ4_0) {
  std::string name = (std::filesystem::temp_directory_path() / "ballast-tiny-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(name.data());
  const gguf::SyntheticModel model(gguf::FindShape("tiny").value(), level, seed);
  EXPECT_TRUE(gguf::WriteSyntheticModel(model, directory / "model.gguf", {}).ok());
  std::string content = base::ReadFile(directory / "model.gguf", 1U << 30U).value();
  std::filesystem::remove_all(directory);
  return content;
}

inline std::string DigestOf(const std::string& content) {
  base::Sha256 sha256;
  sha256.Update(content);
  return sha256.Finish();
}

// A directory that goes with the test.
class DirectoryTest : public ::testing::Test {
 protected:
  DirectoryTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-models-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~DirectoryTest() override { std::filesystem::remove_all(directory_); }

  // Writes a file and returns its path.
  std::filesystem::path Write(const std::string& name, const std::string& content) const {
    EXPECT_TRUE(base::WriteFileAtomically(directory_ / name, content).ok());
    return directory_ / name;
  }

  std::filesystem::path directory_;
};

}  // namespace ballast::models
