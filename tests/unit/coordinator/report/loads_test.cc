#include "coordinator/report/loads.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "message_text.h"

namespace ballast::report {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Key;
using testing::Not;
using testing::Pair;

constexpr char kWholeLoad[] = R"pb(
  index: 1
  model_id: "tiny"
  quant: "Q4_0"
  outcome { kind: COMPLETED }
  start_offset { seconds: 10 }
  end_offset { seconds: 20 }
  file_bytes: 4100
  weight_bytes: 4000
  stages {
    kind: PARSE
    start_offset { seconds: 10 }
    duration { nanos: 250000000 }
  }
  stages {
    kind: LOAD
    start_offset { seconds: 10 nanos: 250000000 }
    duration { seconds: 2 }
    weight_bytes: 4000
    refault_bytes: 100
  }
  stages {
    kind: FIRST_PASS
    start_offset { seconds: 12 nanos: 250000000 }
    duration { seconds: 3 }
    weight_bytes: 4000
    refault_bytes: 20
  }
  stages {
    kind: PASSES
    start_offset { seconds: 15 nanos: 250000000 }
    duration { seconds: 4 }
    weight_bytes: 8000
    pass_count: 2
  }
  peak_resident_bytes: 5500
  peak_anon_bytes: 1500
  peak_file_bytes: 4000
  minor_faults: 7
  major_faults: 3
  disk_read_bytes: 8200
  estimate { resident_bytes: 5000 required_bytes: 1000 }
)pb";

std::map<std::string, double> FiguresOf(const std::string& text) {
  std::map<std::string, double> figures;
  for (const v1::Figure& figure : ComputeLoadFigures(Parse<v1::ModelLoadResult>(text))) {
    figures[figure.name()] = figure.value();
  }
  return figures;
}

TEST(LoadFigures, OfAWholeLoad) {
  EXPECT_THAT(FiguresOf(kWholeLoad),
              ElementsAre(Pair("disk_read_bytes", 8200), Pair("estimate_error_percent", 10),
                          Pair("first_pass_seconds", 3), Pair("load_bytes_per_second", 2000),
                          Pair("load_major_fault_count", 3), Pair("load_minor_fault_count", 7), Pair("load_seconds", 2),
                          Pair("parse_seconds", 0.25), Pair("pass_bytes_per_second", 2000),
                          Pair("passes_per_second", 0.5), Pair("peak_load_anon_bytes", 1500),
                          Pair("peak_load_file_bytes", 4000), Pair("peak_load_resident_bytes", 5500),
                          Pair("refault_bytes", 120), Pair("time_to_first_pass_seconds", 5.25)));
}

TEST(LoadFigures, OfALoadThatWasKilledInItsFirstPassAreThoseBefore) {
  const auto figures = FiguresOf(R"pb(
    outcome { kind: OOM_KILLED }
    stages {
      kind: PARSE
      duration { nanos: 1000000 }
    }
    stages {
      kind: LOAD
      duration { seconds: 1 }
      weight_bytes: 10
    }
    peak_resident_bytes: 900
    estimate { resident_bytes: 5000 }
  )pb");
  EXPECT_THAT(figures, IsSupersetOf({Pair("load_seconds", 1.0), Pair("peak_load_resident_bytes", 900.0)}));
  EXPECT_THAT(figures, Not(Contains(Key("first_pass_seconds"))));
  EXPECT_THAT(figures, Not(Contains(Key("time_to_first_pass_seconds"))));
  // It never got as far as what was estimated.
  EXPECT_THAT(figures, Not(Contains(Key("estimate_error_percent"))));
}

TEST(LoadFigures, OfALoadOfWhichNothingIsKnownAreNone) {
  EXPECT_THAT(FiguresOf("outcome { kind: LOAD_FAILED }"), IsEmpty());
}

TEST(LoadFigures, TokensAreTheRuntimesOwn) {
  EXPECT_THAT(FiguresOf(R"pb(runtime_figures { prompt_tokens_per_second: 40 generated_tokens_per_second: 6.5 })pb"),
              ElementsAre(Pair("generated_tokens_per_second", 6.5), Pair("prompt_tokens_per_second", 40)));
}

TEST(LoadsOf, AreThoseOfTheLastAttemptAndOfASoakThoseOfAll) {
  v1::Run run = Parse<v1::Run>(R"pb(
    workload_kind: "model"
    attempts {
      attempt: 1
      result {
        loads { index: 1 }
        loads { index: 2 }
      }
    }
    attempts {
      attempt: 2
      result { loads { index: 1 } }
    }
  )pb");
  const auto loads = LoadsOf(run);
  ASSERT_EQ(loads.size(), 1);
  EXPECT_EQ(loads[0].attempt, 2);
  run.set_workload_kind("stability");
  EXPECT_EQ(LoadsOf(run).size(), 3);
  EXPECT_THAT(LoadsOf(v1::Run()), IsEmpty());
}

}  // namespace
}  // namespace ballast::report
