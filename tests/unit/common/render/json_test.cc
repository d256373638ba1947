#include "common/render/json.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/workload.pb.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/dynamic_message.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace ballast::render {
namespace {

std::string OneLine(const google::protobuf::Message& message) {
  return ToJson(message, {.indent_spaces = 0});
}

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

// A message with the kinds of fields that the vocabulary has none of.
class EveryKind {
 public:
  EveryKind() : pool_(google::protobuf::DescriptorPool::generated_pool()), factory_(&pool_) {
    google::protobuf::Duration::descriptor();  // linked in, so that the pool knows it
    const auto file = Parse<google::protobuf::FileDescriptorProto>(R"pb(
      name: "every_kind.proto"
      package: "test"
      syntax: "proto3"
      dependency: "google/protobuf/duration.proto"
      enum_type {
        name: "Color"
        value { name: "COLOR_UNSPECIFIED" number: 0 }
        value { name: "RED" number: 1 }
      }
      message_type {
        name: "EveryKind"
        field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
        field { name: "raw" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL }
        field { name: "ratio" number: 3 type: TYPE_FLOAT label: LABEL_OPTIONAL }
        field { name: "flag" number: 4 type: TYPE_BOOL label: LABEL_OPTIONAL }
        field { name: "color" number: 5 type: TYPE_ENUM type_name: ".test.Color" label: LABEL_OPTIONAL }
        field { name: "colors" number: 6 type: TYPE_ENUM type_name: ".test.Color" label: LABEL_REPEATED }
        field {
          name: "by_number"
          number: 7
          type: TYPE_MESSAGE
          type_name: ".test.EveryKind.ByNumberEntry"
          label: LABEL_REPEATED
        }
        field {
          name: "waits"
          number: 8
          type: TYPE_MESSAGE
          type_name: ".google.protobuf.Duration"
          label: LABEL_REPEATED
        }
        field { name: "texts" number: 9 type: TYPE_STRING label: LABEL_REPEATED }
        nested_type {
          name: "ByNumberEntry"
          field { name: "key" number: 1 type: TYPE_SINT32 label: LABEL_OPTIONAL }
          field {
            name: "value"
            number: 2
            type: TYPE_MESSAGE
            type_name: ".google.protobuf.Duration"
            label: LABEL_OPTIONAL
          }
          options { map_entry: true }
        }
      })pb");
    const google::protobuf::FileDescriptor* built = pool_.BuildFile(file);
    message_.reset(factory_.GetPrototype(built->FindMessageTypeByName("EveryKind"))->New());
  }

  std::string Print(const std::string& text_format) {
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text_format, message_.get()));
    return OneLine(*message_);
  }

  std::string PrintText(const std::string& text) {
    message_->Clear();
    message_->GetReflection()->SetString(message_.get(), message_->GetDescriptor()->FindFieldByName("text"), text);
    const std::string json = OneLine(*message_);
    return json.substr(0, json.find(", \"raw\""));
  }

 private:
  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
  std::unique_ptr<google::protobuf::Message> message_;
};

TEST(ToJson, PrintsEveryFieldInOrderOfDeclaration) {
  const auto step = Parse<v1::Step>("index: 2 held_bytes: 104857600");
  EXPECT_EQ(ToJson(step), R"({
  "index": 2,
  "offset_seconds": null,
  "fill_duration_seconds": null,
  "held_bytes": 104857600,
  "resident_delta_bytes": 0,
  "resident_bytes": 0
})");
}

TEST(ToJson, IndentsNestedMessagesListsAndMaps) {
  const auto summary = Parse<v1::GroupSummary>(R"pb(
    group: "d-1"
    run_count: 3
    outcomes { outcome: COMPLETED count: 2 }
    outcomes { outcome: OOM_KILLED count: 1 }
  )pb");
  EXPECT_THAT(ToJson(summary), testing::StartsWith(R"({
  "group": "d-1",
  "run_count": 3,
  "outcomes": [
    {
      "outcome": "COMPLETED",
      "count": 2
    },
    {
      "outcome": "OOM_KILLED",
      "count": 1
    }
  ],
  "figures": [],
)"));
}

TEST(ToJson, PrintsIntegersOf64BitsAsNumbers) {
  v1::MetricSummary summary;
  summary.set_count(std::numeric_limits<std::uint64_t>::max());
  summary.set_min(std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(OneLine(summary),
            R"({"metric_id": 0, "count": 18446744073709551615, "min": -9223372036854775808, "max": 0, "last": 0, )"
            R"("sum": 0, "first": 0})");
}

TEST(ToJson, PrintsWhatIsNoFiniteNumberAsNull) {
  v1::SampleColumn column;
  column.set_metric("m");
  for (const double value : {1.5, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()}) {
    column.add_values(value);
  }
  EXPECT_EQ(OneLine(column), R"({"metric": "m", "values": [1.5, null, null, null]})");
}

TEST(ToJson, KeepsListsOfNumbersOnOneLine) {
  const auto column = Parse<v1::SampleColumn>(R"pb(metric: "m" values: 1 values: 2.25 values: 300000)pb");
  EXPECT_EQ(ToJson(column), "{\n  \"metric\": \"m\",\n  \"values\": [1, 2.25, 300000]\n}");
}

TEST(ToJson, PrintsOptionalFieldsThatAreAbsentAsNull) {
  v1::ComparisonCell cell;
  EXPECT_EQ(OneLine(cell), R"({"n": 0, "median": 0, "change_percent": null, "p_value": null})");
  cell.set_change_percent(0);
  EXPECT_EQ(OneLine(cell), R"({"n": 0, "median": 0, "change_percent": 0, "p_value": null})");
}

TEST(ToJson, PrintsOnlyTheMemberOfAOneofThatIsSet) {
  EXPECT_EQ(OneLine(Parse<v1::BurstPattern>("target_bytes: 7")), R"({"target_bytes": 7, "duration_seconds": null})");
  EXPECT_EQ(OneLine(v1::BurstPattern()), R"({"duration_seconds": null})");
  EXPECT_EQ(OneLine(v1::Workload()), "{}");
}

TEST(ToJson, PrintsDurationsAsSecondsAndTimesAsText) {
  const auto attempt = Parse<v1::Attempt>("attempt: 1 start_time { seconds: 1767323045 nanos: 678000000 }");
  EXPECT_THAT(OneLine(attempt),
              testing::HasSubstr(R"("start_time": "2026-01-02T03:04:05.678Z", "end_time": null, "result": null)"));
  const auto burst = Parse<v1::BurstPattern>("target_percent: 70 duration { seconds: 5 nanos: 250000000 }");
  EXPECT_EQ(OneLine(burst), R"({"target_percent": 70, "duration_seconds": 5.25})");
}

TEST(ToJson, PrintsTimesAndDurationsOutOfRangeAsNull) {
  const auto attempt = Parse<v1::Attempt>("start_time { seconds: 9000000000000 } end_time { nanos: -1 }");
  EXPECT_THAT(OneLine(attempt), testing::HasSubstr(R"("start_time": null, "end_time": null)"));
  const auto step = Parse<v1::Step>("offset { seconds: 1 nanos: -1 }");
  EXPECT_THAT(OneLine(step), testing::HasSubstr(R"("offset_seconds": null)"));
}

TEST(ToJson, PrintsADurationOnItsOwn) {
  EXPECT_EQ(ToJson(Parse<google::protobuf::Duration>("seconds: 2 nanos: 500000000")), "2.5");
}

TEST(ToJson, SortsMapsByKey) {
  const auto run = Parse<v1::Run>(R"pb(
    annotations { key: "commit" value: "c0ffee" }
    annotations { key: "Build" value: "7" }
    annotations { key: "a" value: "" }
  )pb");
  EXPECT_THAT(OneLine(run), testing::HasSubstr(R"("annotations": {"Build": "7", "a": "", "commit": "c0ffee"})"));
}

TEST(ToJson, SortsNumericKeysByNumberAndConvertsMapValues) {
  EXPECT_THAT(EveryKind().Print(R"pb(
    by_number {
      key: 10
      value { seconds: 1 }
    }
    by_number {
      key: -2
      value { nanos: 500000000 }
    }
    by_number {
      key: 9
      value {}
    })pb"),
              testing::HasSubstr(R"("by_number_seconds": {"-2": 0.5, "9": 0, "10": 1})"));
}

TEST(ToJson, PrintsEveryOtherKindOfField) {
  EXPECT_EQ(EveryKind().Print(R"pb(
    text: "x"
    raw: "\x00\xff\x10"
    ratio: 0.5
    flag: true
    color: RED
    colors: RED
    colors: COLOR_UNSPECIFIED
    waits { seconds: 1 }
    waits { nanos: 1000000 }
    texts: "a"
    texts: "b"
  )pb"),
            R"({"text": "x", "raw": "AP8Q", "ratio": 0.5, "flag": true, "color": "RED", )"
            R"("colors": ["RED", "COLOR_UNSPECIFIED"], "by_number_seconds": {}, "waits_seconds": [1, 0.001], )"
            R"("texts": ["a", "b"]})");
}

TEST(ToJson, PrintsUnknownEnumValuesAsNumbers) {
  v1::OutcomeCount count;
  count.set_outcome(static_cast<v1::OutcomeKind>(99));
  EXPECT_EQ(OneLine(count), R"({"outcome": 99, "count": 0})");
}

TEST(ToJson, EscapesWhatJsonDemands) {
  EXPECT_EQ(EveryKind().PrintText("say \"hi\"\\\b\f\n\r\t\x01\x1f\x7f/"),
            R"({"text": "say \"hi\"\\\b\f\n\r\t\u0001\u001f\u007f/")");
  EXPECT_EQ(EveryKind().PrintText(std::string("a\0b", 3)), R"({"text": "a\u0000b")");
}

TEST(ToJson, EscapesWhatCouldSteerATerminal) {
  EXPECT_EQ(EveryKind().PrintText("\u0080\u009b1m\u009f\u00a0\u202a\u202e\u202f\u2066\u2069"),
            "{\"text\": \"\\u0080\\u009b1m\\u009f\u00a0\\u202a\\u202e\u202f\\u2066\\u2069\"");
  EXPECT_EQ(JsonString("a\u202e"), "\"a\\u202e\"");
}

TEST(ToJson, LeavesValidUtf8AsItIs) {
  const std::string text = "4GB连线 · é · 😀 · \xF4\x8F\xBF\xBF · \xED\x9F\xBF · \xE0\xA0\x80";
  EXPECT_EQ(EveryKind().PrintText(text), "{\"text\": \"" + text + "\"");
}

TEST(ToJson, ReplacesBytesThatAreNoUtf8) {
  const std::string replacement = "\xEF\xBF\xBD";
  const auto replaced = [&](int times, const std::string& rest) {
    std::string text = "{\"text\": \"";
    for (int i = 0; i < times; ++i) text += replacement;
    return text + rest + "\"";
  };
  EXPECT_EQ(EveryKind().PrintText("\xFFz"), replaced(1, "z"));
  EXPECT_EQ(EveryKind().PrintText("\x80z"), replaced(1, "z"));
  EXPECT_EQ(EveryKind().PrintText("\xC0\xAFz"), replaced(2, "z"));          // overlong
  EXPECT_EQ(EveryKind().PrintText("\xE0\x80\x80z"), replaced(3, "z"));      // overlong
  EXPECT_EQ(EveryKind().PrintText("\xED\xA0\x80z"), replaced(3, "z"));      // surrogate
  EXPECT_EQ(EveryKind().PrintText("\xF4\x90\x80\x80z"), replaced(4, "z"));  // above U+10FFFF
  EXPECT_EQ(EveryKind().PrintText("\xE4\xB8"), replaced(2, ""));            // cut off
}

TEST(ToJson, GivesTheSameBytesForTheSameMessage) {
  v1::Run forward;
  v1::Run backward;
  for (int i = 0; i < 100; ++i) {
    (*forward.mutable_annotations())["key-" + std::to_string(i)] = "v";
    (*backward.mutable_annotations())["key-" + std::to_string(99 - i)] = "v";
  }
  EXPECT_EQ(ToJson(forward), ToJson(backward));
}

}  // namespace
}  // namespace ballast::render
