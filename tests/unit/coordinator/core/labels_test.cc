#include "coordinator/core/labels.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::core {
namespace {

using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST(LabelsTest, OverridesLieOverTheWorkersLabels) {
  const std::map<std::string, std::string> worker = {{"class", "a"}, {"site", "x"}};
  v1::Device device;
  v1::LabelDeviceRequest request;
  (*request.mutable_set())["class"] = "b";
  (*request.mutable_set())["owner"] = "me";
  request.add_remove("site");
  ASSERT_TRUE(ChangeLabels(request, worker, &device).ok());
  EXPECT_THAT(device.labels(), UnorderedElementsAre(Pair("class", "b"), Pair("owner", "me")));
  // The worker connects again with other labels: what the user said stays.
  MergeLabels({{"class", "c"}, {"site", "z"}, {"new", "n"}}, &device);
  EXPECT_THAT(device.labels(), UnorderedElementsAre(Pair("class", "b"), Pair("owner", "me"), Pair("new", "n")));
}

TEST(LabelsTest, RemovingAUsersOwnLabelForgetsIt) {
  v1::Device device;
  v1::LabelDeviceRequest request;
  (*request.mutable_set())["owner"] = "me";
  ASSERT_TRUE(ChangeLabels(request, {}, &device).ok());
  request.Clear();
  request.add_remove("owner");
  request.add_remove("never-there");
  ASSERT_TRUE(ChangeLabels(request, {}, &device).ok());
  EXPECT_THAT(device.labels(), IsEmpty());
  EXPECT_THAT(device.label_overrides(), IsEmpty());
}

TEST(LabelsTest, RefusesWhatCouldNotBeWrittenOnACommandLine) {
  for (const char* key : {"", "a=b", "a,b", "a b", "a\n"}) {
    EXPECT_EQ(CheckLabel(key, "v").code(), absl::StatusCode::kInvalidArgument) << key;
  }
  EXPECT_EQ(CheckLabel("k", "a,b").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckLabel(std::string(129, 'k'), "v").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckLabel("k", std::string(129, 'v')).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(CheckLabel("机型", "老旧 设备").ok());
  EXPECT_TRUE(CheckLabel("ballast.io/class", "a=b").ok());
}

TEST(LabelsTest, AMistakeChangesNothing) {
  v1::Device device;
  v1::LabelDeviceRequest request;
  (*request.mutable_set())["a"] = "1";
  request.add_remove("a");
  EXPECT_EQ(ChangeLabels(request, {}, &device).code(), absl::StatusCode::kInvalidArgument);
  request.clear_remove();
  (*request.mutable_set())["b"] = "";
  EXPECT_EQ(ChangeLabels(request, {}, &device).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(device.labels(), IsEmpty());
  EXPECT_THAT(device.label_overrides(), IsEmpty());
}

}  // namespace
}  // namespace ballast::core
