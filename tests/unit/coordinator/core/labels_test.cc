#include "coordinator/core/labels.h"

#include <cstddef>
#include <map>
#include <string>

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
  ASSERT_TRUE(MergeLabels({{"class", "c"}, {"site", "z"}, {"new", "n"}}, &device).ok());
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

// Labels `PREFIX1` to `PREFIXcount`.
std::map<std::string, std::string> Many(const std::string& prefix, std::size_t count) {
  std::map<std::string, std::string> labels;
  for (std::size_t i = 1; i <= count; ++i) labels[prefix + std::to_string(i)] = "x";
  return labels;
}

TEST(LabelsTest, TheLimitHoldsForTheWorkersAndTheUsersTogether) {
  const std::map<std::string, std::string> worker = Many("w", 60);
  v1::Device device;
  v1::LabelDeviceRequest request;
  for (const auto& [key, value] : Many("u", 4)) (*request.mutable_set())[key] = value;
  ASSERT_TRUE(ChangeLabels(request, worker, &device).ok());
  EXPECT_EQ(device.labels().size(), 64U);
  v1::LabelDeviceRequest more;
  (*more.mutable_set())["u5"] = "x";
  EXPECT_EQ(ChangeLabels(more, worker, &device).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(device.labels().size(), 64U);
  EXPECT_FALSE(device.label_overrides().contains("u5"));
  // A worker that comes with more is refused; fewer are always welcome, and hiding one makes room.
  EXPECT_EQ(MergeLabels(Many("w", 61), &device).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(device.labels().size(), 64U);
  more.add_remove("w1");
  EXPECT_TRUE(ChangeLabels(more, worker, &device).ok());
  EXPECT_TRUE(MergeLabels(Many("w", 2), &device).ok());
  EXPECT_EQ(device.labels().size(), 6U);
}

TEST(LabelsTest, AUsersLabelOfLooserRulesCanBeRemoved) {
  v1::Device device;
  (*device.mutable_label_overrides())["a\u009b"] = "x";
  v1::LabelDeviceRequest request;
  request.add_remove("a\u009b");
  EXPECT_TRUE(ChangeLabels(request, {}, &device).ok());
  EXPECT_THAT(device.label_overrides(), IsEmpty());
}

TEST(LabelsTest, WhatUsersSetAndHideIsBoundedToo) {
  v1::Device device;
  std::map<std::string, std::string> worker = Many("w", 64);
  v1::LabelDeviceRequest hide;
  for (const auto& [key, value] : worker) hide.add_remove(key);
  ASSERT_TRUE(ChangeLabels(hide, worker, &device).ok());
  EXPECT_THAT(device.labels(), IsEmpty());
  v1::LabelDeviceRequest set;
  (*set.mutable_set())["owner"] = "me";
  EXPECT_EQ(ChangeLabels(set, worker, &device).code(), absl::StatusCode::kInvalidArgument);
  // What the worker does not say any more needs no hiding.
  worker.erase("w1");
  set.add_remove("w1");
  EXPECT_TRUE(ChangeLabels(set, worker, &device).ok());
  EXPECT_THAT(device.labels(), UnorderedElementsAre(Pair("owner", "me")));
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
