// Every file in configs/ is read into its message: the examples that people copy work.
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "ballast/v1/config.pb.h"
#include "ballast/v1/environment.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/model.pb.h"
#include "common/config/yaml.h"

namespace ballast::config {
namespace {

namespace fs = std::filesystem;

const fs::path& ConfigsDirectory() {
  static const fs::path directory(BALLAST_CONFIGS_DIRECTORY);
  return directory;
}

// The message that a file is read into; nothing for a file that nobody reads.
std::unique_ptr<google::protobuf::Message> MessageFor(const fs::path& relative) {
  if (relative.parent_path() == "jobs") return std::make_unique<v1::JobSpec>();
  if (relative == "coordinator.yaml") return std::make_unique<v1::CoordinatorConfig>();
  if (relative == "low_mem_env.yaml") return std::make_unique<v1::EnvironmentCatalogue>();
  if (relative == "models.yaml") return std::make_unique<v1::ModelCatalogue>();
  if (relative == "worker.yaml") return std::make_unique<v1::WorkerConfig>();
  return nullptr;
}

TEST(ConfigsTest, EveryFileIsValid) {
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(ConfigsDirectory())) {
    if (!entry.is_regular_file()) continue;
    const fs::path relative = entry.path().lexically_relative(ConfigsDirectory());
    const auto message = MessageFor(relative);
    ASSERT_NE(message, nullptr) << relative << ": say in this test which message it is read into";
    const absl::Status status = ReadYamlFile(entry.path(), message.get());
    EXPECT_TRUE(status.ok()) << status;
    ++count;
  }
  EXPECT_GE(count, 8);
}

TEST(ConfigsTest, EveryPressurePatternHasAnExample) {
  std::set<v1::PressureWorkload::PatternCase> patterns;
  for (const char* const name : {"staircase", "burst", "sawtooth", "allocate_full", "trace"}) {
    v1::JobSpec spec;
    const absl::Status status = ReadYamlFile(ConfigsDirectory() / "jobs" / (std::string(name) + ".yaml"), &spec);
    ASSERT_TRUE(status.ok()) << status;
    patterns.insert(spec.workload().pressure().pattern_case());
  }
  EXPECT_EQ(patterns.size(), 5U);
  EXPECT_FALSE(patterns.contains(v1::PressureWorkload::PATTERN_NOT_SET));
}

TEST(ConfigsTest, FleetExampleSaysWhereAndHowOften) {
  v1::JobSpec spec;
  ASSERT_TRUE(ReadYamlFile(ConfigsDirectory() / "jobs" / "fleet.yaml", &spec).ok());
  EXPECT_EQ(spec.devices().labels().at("class"), "low-end");
  EXPECT_EQ(spec.repetitions(), 3U);
  EXPECT_EQ(spec.annotations().at("build"), "1842");
}

// The comments promise that the values shown are the defaults.
TEST(ConfigsTest, CoordinatorExampleShowsTheDefaults) {
  v1::CoordinatorConfig example;
  ASSERT_TRUE(ReadYamlFile(ConfigsDirectory() / "coordinator.yaml", &example).ok());
  v1::CoordinatorConfig defaults;
  ASSERT_TRUE(ReadYaml("data_dir: " + example.data_dir(), "defaults", &defaults).ok());
  EXPECT_EQ(example.SerializeAsString(), defaults.SerializeAsString());
}

}  // namespace
}  // namespace ballast::config
