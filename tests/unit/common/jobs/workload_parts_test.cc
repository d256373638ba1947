#include "common/jobs/workload_parts.h"

#include <gtest/gtest.h>

#include <string>

#include "google/protobuf/text_format.h"

namespace ballast::jobs {
namespace {

v1::Workload Parse(const std::string& text) {
  v1::Workload workload;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &workload));
  return workload;
}

TEST(WorkloadParts, TheModelIsFoundWhereverAWorkloadNamesIt) {
  for (const char* kind : {"model", "quantization", "stability", "capacity"}) {
    v1::Workload workload = Parse(std::string(kind) + " { load { model_id: 'm' } }");
    ASSERT_NE(LoadOf(workload), nullptr) << kind;
    EXPECT_EQ(LoadOf(workload)->model_id(), "m");
    MutableLoadOf(&workload)->set_quant("Q4_0");
    EXPECT_EQ(LoadOf(workload)->quant(), "Q4_0") << kind;
  }
  for (const char* text : {"pressure {}", "command {}", "stability {}", "capacity {}", ""}) {
    v1::Workload workload = Parse(text);
    EXPECT_EQ(LoadOf(workload), nullptr) << text;
    EXPECT_EQ(MutableLoadOf(&workload), nullptr) << text;
  }
}

TEST(WorkloadParts, ThePressureIsTheWorkloadOrBesideIt) {
  EXPECT_EQ(PressureOf(Parse("pressure { burst { target_percent: 7 } }"))->burst().target_percent(), 7);
  for (const char* kind : {"model", "quantization", "stability", "command"}) {
    const v1::Workload with = Parse(std::string(kind) + " { pressure { burst { target_percent: 7 } } }");
    ASSERT_NE(PressureOf(with), nullptr) << kind;
    EXPECT_EQ(PressureOf(with)->burst().target_percent(), 7);
    EXPECT_EQ(PressureOf(Parse(std::string(kind) + " {}")), nullptr) << kind;
  }
  EXPECT_EQ(PressureOf(Parse("capacity {}")), nullptr);
}

}  // namespace
}  // namespace ballast::jobs
