#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "ballast/v1/config.pb.h"
#include "ballast/v1/job.pb.h"
#include "common/config/yaml.h"

namespace ballast::config {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

// The problems of a document, one a line; empty where it was read.
template <typename Message>
std::vector<std::string> Problems(std::string_view text, Message* message) {
  const absl::Status status = ReadYaml(text, "f.yaml", message);
  if (status.ok()) return {};
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return absl::StrSplit(std::string(status.message()), '\n');
}

std::vector<std::string> JobProblems(std::string_view text) {
  v1::JobSpec spec;
  return Problems(text, &spec);
}

constexpr std::string_view kBurst = "workload: {pressure: {burst: {}}}\n";

TEST(YamlReaderTest, ReadsEveryKindOfValue) {
  v1::JobSpec spec;
  ASSERT_THAT(Problems(R"(
display_name: 'night: run'
workload:
  pressure:
    sawtooth: {min_percent: 12.5, max_percent: "70 %", cycles: 4, cycle_duration: 1m30s}
    content: {kind: compressible, compression_ratio: 2.5}
    baseline: 250ms
devices:
  labels:
    class: a
    rack: 07
    "with.dot/and slash": yes
  device_ids: [d-1, d-2]
  all: true
priority: -5
policy:
  timeout: 2h
annotations: {build: 1.10, 分支: 主}
)",
                       &spec),
              ElementsAre());
  EXPECT_EQ(spec.display_name(), "night: run");
  const v1::PressureWorkload& pressure = spec.workload().pressure();
  EXPECT_EQ(pressure.sawtooth().min_percent(), 12.5);
  EXPECT_EQ(pressure.sawtooth().max_percent(), 70);
  EXPECT_EQ(pressure.sawtooth().cycles(), 4U);
  EXPECT_EQ(pressure.sawtooth().cycle_duration().seconds(), 90);
  EXPECT_EQ(pressure.content().kind(), v1::PageContent::COMPRESSIBLE);
  EXPECT_EQ(pressure.content().compression_ratio(), 2.5);
  EXPECT_EQ(pressure.baseline().nanos(), 250'000'000);
  EXPECT_EQ(spec.devices().labels().at("rack"), "07") << "strings keep their spelling";
  EXPECT_EQ(spec.devices().labels().at("with.dot/and slash"), "yes");
  EXPECT_THAT(spec.devices().device_ids(), ElementsAre("d-1", "d-2"));
  EXPECT_TRUE(spec.devices().all());
  EXPECT_EQ(spec.priority(), -5);
  EXPECT_EQ(spec.policy().timeout().seconds(), 7200);
  EXPECT_EQ(spec.annotations().at("build"), "1.10");
  EXPECT_EQ(spec.annotations().at("分支"), "主");
}

TEST(YamlReaderTest, FillsInDefaults) {
  v1::JobSpec spec;
  ASSERT_THAT(Problems(kBurst, &spec), ElementsAre());
  EXPECT_EQ(spec.workload().pressure().burst().target_percent(), 70);
  EXPECT_EQ(spec.workload().pressure().burst().duration().seconds(), 5);
  EXPECT_EQ(spec.repetitions(), 1U);
  EXPECT_EQ(spec.policy().lost_after().seconds(), 3600) << "also in groups that the file does not have";
  EXPECT_FALSE(spec.has_devices());
}

TEST(YamlReaderTest, EmptyGroupsListsAndMapsMayBeWrittenAsNothing) {
  v1::JobSpec spec;
  ASSERT_THAT(Problems("workload:\n  pressure:\n    allocate_full:\npolicy:\n  # all commented out\nannotations: ~\n"
                       "devices:\n  device_ids:\n",
                       &spec),
              ElementsAre());
  EXPECT_TRUE(spec.workload().pressure().has_allocate_full());
  EXPECT_EQ(spec.workload().pressure().allocate_full().until(), v1::AllocateFullPattern::FLOOR);
  EXPECT_TRUE(spec.has_devices());
}

TEST(YamlReaderTest, MergesOverWhatTheMessageHolds) {
  v1::JobSpec spec;
  spec.set_priority(7);
  spec.set_repetitions(9);
  spec.mutable_workload()->mutable_pressure()->mutable_staircase()->set_steps(4);
  spec.mutable_devices()->add_device_ids("old");
  (*spec.mutable_devices()->mutable_labels())["kept"] = "1";
  (*spec.mutable_devices()->mutable_labels())["changed"] = "1";
  ASSERT_THAT(Problems("repetitions: 2\nworkload: {pressure: {burst: }}\n"
                       "devices: {device_ids: [new], labels: {changed: 2, added: 3}}",
                       &spec),
              ElementsAre());
  EXPECT_EQ(spec.priority(), 7);
  EXPECT_EQ(spec.repetitions(), 2U);
  EXPECT_TRUE(spec.workload().pressure().has_burst());
  EXPECT_THAT(spec.devices().device_ids(), ElementsAre("new"));
  const std::map<std::string, std::string> labels(spec.devices().labels().begin(), spec.devices().labels().end());
  EXPECT_EQ(labels, (std::map<std::string, std::string>{{"kept", "1"}, {"changed", "2"}, {"added", "3"}}));
}

TEST(YamlReaderTest, LeavesTheMessageAloneOnFailure) {
  v1::JobSpec spec;
  spec.set_priority(7);
  ASSERT_THAT(Problems("priority: 3\nrepetitions: no\n", &spec), Not(ElementsAre()));
  EXPECT_EQ(spec.priority(), 7);
  EXPECT_FALSE(spec.has_policy());
}

struct Case {
  std::string_view text;
  std::string_view problem;  // the whole of the only line
};

// A document with one thing wrong, and the one line that says so.
TEST(YamlReaderTest, NamesPlaceCauseAndWhatIsAccepted) {
  const std::vector<Case> cases = {
      // Percentages.
      {"workload:\n  pressure:\n    burst:\n      target_percent: 0\n",
       "f.yaml:4:23: workload.pressure.burst.target_percent: must be above 0% and at most 100%, not 0%"},
      {"workload: {pressure: {burst: {target_percent: 101}}}",
       "f.yaml:1:47: workload.pressure.burst.target_percent: must be above 0% and at most 100%, not 101%"},
      {"workload: {pressure: {burst: {target_percent: -5%}}}",
       "f.yaml:1:47: workload.pressure.burst.target_percent: must be above 0% and at most 100%, not -5%"},
      {"workload: {pressure: {burst: {target_percent: abc}}}",
       "f.yaml:1:47: workload.pressure.burst.target_percent: 'abc' is not a percentage; write it as 70 or 70% (above "
       "0% and "
       "at most 100%)"},
      // Sizes.
      {"workload: {pressure: {staircase: {step_size_bytes: abc}}}",
       "f.yaml:1:52: workload.pressure.staircase.step_size_bytes: 'abc' is not a size; write it as 100 (MiB), 512KB, "
       "100MB or "
       "1.5GiB (at least 4KiB and at most 1PiB)"},
      {"workload: {pressure: {staircase: {step_size_bytes: 0}}}",
       "f.yaml:1:52: workload.pressure.staircase.step_size_bytes: must be at least 4KiB and at most 1PiB, not 0B"},
      {"workload: {pressure: {staircase: {step_size_bytes: 2000TB}}}",
       "f.yaml:1:52: workload.pressure.staircase.step_size_bytes: must be at least 4KiB and at most 1PiB, not 2000TiB"},
      // Durations.
      {"workload: {pressure: {burst: {duration: -5s}}}",
       "f.yaml:1:41: workload.pressure.burst.duration: '-5s' is not a duration; write it as 5 (seconds), 250ms, 90s, "
       "10m or 8h "
       "(at least 0s and at most 7d)"},
      {"workload: {pressure: {staircase: {interval: 1ms}}}",
       "f.yaml:1:45: workload.pressure.staircase.interval: must be at least 10ms and at most 1d, not 1ms"},
      // Whole numbers.
      {"workload: {pressure: {staircase: {steps: 0}}}",
       "f.yaml:1:42: workload.pressure.staircase.steps: must be at least 1 and at most 1000000, not 0"},
      {"workload: {pressure: {staircase: {steps: -1}}}",
       "f.yaml:1:42: workload.pressure.staircase.steps: '-1' is not a whole number of 0 or more (at least 1 and at "
       "most "
       "1000000)"},
      {"workload: {pressure: {staircase: {steps: 2.5}}}",
       "f.yaml:1:42: workload.pressure.staircase.steps: '2.5' is not a whole number of 0 or more (at least 1 and at "
       "most "
       "1000000)"},
      {"workload: {pressure: {staircase: {steps: 99999999999}}}",
       "f.yaml:1:42: workload.pressure.staircase.steps: '99999999999' does not fit; write a whole number from 0 to "
       "4294967295 "
       "(at least 1 and at most 1000000)"},
      {"workload: {pressure: {burst: }}\npriority: 1001",
       "f.yaml:2:11: priority: must be at least -1000 and at most 1000, not 1001"},
      {"workload: {pressure: {burst: , content: {compression_ratio: .nan}}}",
       "f.yaml:1:61: workload.pressure.content.compression_ratio: '.nan' is not a number (at least 1 and at most 64)"},
      // Names.
      {"workload: {pressure: {allocate_full: {until: flor}}}",
       "f.yaml:1:46: workload.pressure.allocate_full.until: must be FLOOR or OOM, not 'flor'; did you mean 'FLOOR'?"},
      {"workload: {pressure: {allocate_full: {until: UNTIL_UNSPECIFIED}}}",
       "f.yaml:1:46: workload.pressure.allocate_full.until: must be FLOOR or OOM, not 'UNTIL_UNSPECIFIED'"},
      {"workload: {pressure: {burst: }}\ndevices: {all: yes}",
       "f.yaml:2:16: devices.all: must be true or false, not 'yes'"},
      {"workload: {model: {load: {model_id: 'a b'}}}",
       "f.yaml:1:37: workload.model.load.model_id: must match the pattern [A-Za-z0-9][A-Za-z0-9._-]{0,127}, not be 'a "
       "b'"},
      {"workload: {model: {load: {model_id: ''}}}",
       "f.yaml:1:37: workload.model.load.model_id: must match the pattern [A-Za-z0-9][A-Za-z0-9._-]{0,127}, not be ''"},
      // Keys.
      {"workload: {pressure: {burst: {tagret_percent: 50}}}",
       "f.yaml:1:31: unknown key 'tagret_percent' in 'workload.pressure.burst'; did you mean 'target_percent'?"},
      {"workload: {pressure: {burst: {target: 50}}}",
       "f.yaml:1:31: unknown key 'target' in 'workload.pressure.burst'; did you mean 'target_percent', 'target_bytes' "
       "or 'target_psi'?"},
      {"workload: {pressure: {burst: {zzz: 50}}}",
       "f.yaml:1:31: unknown key 'zzz' in 'workload.pressure.burst'; known here: target_percent, target_bytes, "
       "target_psi, duration"},
      {"worklaod: {pressure: {burst: }}", "f.yaml:1:1: unknown key 'worklaod'; did you mean 'workload'?"},
      {"workload:\n  pressure: {brust: }",
       "f.yaml:2:14: unknown key 'brust' in 'workload.pressure'; did you mean 'burst'?"},
      {"workload: {pressure: {burst: }}\npriority: 1\n\npriority: 2",
       "f.yaml:4:1: the key 'priority' is given twice; the first is in line 2"},
      {"workload: {pressure: {burst: }}\nannotations: {a: 1, a: 2}",
       "f.yaml:2:21: annotations: the key 'a' is given twice; the first is in line 2"},
      {"workload: {pressure: {burst: }}\n[a]: 2", "f.yaml:2:1: a key must be a name, not a list"},
      {"workload: {pressure: {burst: }}\nannotations: {'': 2}",
       "f.yaml:2:15: annotations: a key must be a name, not empty"},
      // Kinds.
      {"workload: {pressure: {burst: }}\ndevices: {device_ids: d-1}",
       "f.yaml:2:23: devices.device_ids: must be a list ([a, b] or lines that begin with -), not a single value"},
      {"workload: {pressure: {burst: }}\ndevices: {labels: [a]}",
       "f.yaml:2:19: devices.labels: must be a mapping (name: value), not a list"},
      {"workload: {pressure: {burst: 5}}",
       "f.yaml:1:30: workload.pressure.burst: must be a mapping of fields (target_percent, target_bytes, target_psi, "
       "duration), not '5'"},
      {"workload: {pressure: {burst: {duration: {s: 5}}}}",
       "f.yaml:1:41: workload.pressure.burst.duration: must be a single value, not a mapping"},
      {"workload: {pressure: {burst: {duration: }}}",
       "f.yaml:1:31: workload.pressure.burst.duration: has no value; write one, or leave the key out"},
      {"workload: {pressure: {burst: }}\nannotations: {a: }",
       "f.yaml:2:15: annotations.a: has no value; write one, or leave the key out"},
      {"workload: {pressure: {burst: }}\ndevices: {device_ids: [d-1, {a: b}]}",
       "f.yaml:2:29: devices.device_ids[1]: must be a single value, not a mapping"},
      // Rules over several fields, where the first of them stands.
      {"workload:\n  pressure:\n    sawtooth:\n      max_percent: 40\n      min_percent: 60\n",
       "f.yaml:5:20: workload.pressure.sawtooth.min_percent: must be below max_percent (40%), not 60%"},
      {"workload:\n  pressure:\n    sawtooth:\n      max_percent: 20\n",
       "f.yaml:4:20: workload.pressure.sawtooth.min_percent: must be below max_percent (20%), not 30%"},
      {"workload:\n  pressure:\n    burst:\n    staircase:\n",
       "f.yaml:4:5: 'staircase' is given beside 'burst' in line 3; only one of staircase, burst, sawtooth, "
       "allocate_full, trace can be"},
      {"workload:\n  pressure:\n    baseline: 1s\n",
       "f.yaml:2:3: workload.pressure.pattern: is missing; give staircase, burst, sawtooth, allocate_full or trace"},
      {"display_name: x\n", "f.yaml:1:1: workload: must be given"},
      {"workload: {model: }", "f.yaml:1:12: workload.model.load: must be given"},
      {"workload: {model: {load: {lock: true}}}", "f.yaml:1:20: workload.model.load.model_id: must be given"},
      {"workload: {pressure: {trace: {source: a}}}",
       "f.yaml:1:23: workload.pressure.trace.points: must have at least 2 and at most 20000 entries, not 0"},
      {"workload: {pressure: {trace: {points: []}}}",
       "f.yaml:1:31: workload.pressure.trace.points: must have at least 2 and at most 20000 entries, not 0"},
      // Whole documents.
      {"", "f.yaml:1:1: workload: must be given"},
      {"# nothing\n\n", "f.yaml:1:1: workload: must be given"},
      {"---\n...\n", "f.yaml:2:1: workload: must be given"},
      {"workload: {pressure: {burst: }}\n---\npriority: 1\n",
       "f.yaml:2:1: a second document begins here; a file holds one"},
      {"workload: {pressure: {burst: \n", "f.yaml:2:1: not valid YAML: end of map flow not found"},
      {"workload: *none\n", "f.yaml:1:11: not valid YAML: the referenced anchor is not defined"},
  };
  for (const auto& [text, problem] : cases) EXPECT_THAT(JobProblems(text), ElementsAre(problem)) << text;
}

TEST(YamlReaderTest, RootOfTheWrongKindIsSaidOnce) {
  EXPECT_THAT(JobProblems("just words"),
              ElementsAre(StartsWith("f.yaml:1:1: must be a mapping of fields (display_name, workload,")));
  EXPECT_THAT(JobProblems("- a\n- b\n"), ElementsAre(HasSubstr(", not a list")));
}

TEST(YamlReaderTest, AliasesAnchorsAndTagsAreRefused) {
  EXPECT_THAT(JobProblems("workload: {pressure: {burst: &b {duration: 5s}}}\n"),
              ElementsAre("f.yaml:1:30: anchors (&name) are not supported; leave it out"));
  EXPECT_THAT(JobProblems("display_name: &n x\nworkload: {pressure: {burst: }}\nannotations: {a: *n}\n"),
              ElementsAre("f.yaml:1:15: anchors (&name) are not supported; leave it out",
                          "f.yaml:3:18: aliases (*name) are not supported; write the value out"));
  EXPECT_THAT(JobProblems("workload: {pressure: {burst: {target_percent: !!float 50}}}\n"),
              ElementsAre("f.yaml:1:47: tags ('tag:yaml.org,2002:float') are not supported; leave it out"));
  EXPECT_THAT(JobProblems("workload: !w {pressure: {burst: }}\n"),
              ElementsAre("f.yaml:1:11: tags ('!w') are not supported; leave it out"));
}

TEST(YamlReaderTest, TellsAllProblemsInOrder) {
  EXPECT_THAT(JobProblems(R"(
display_name: x
repetitions: many
workload:
  pressure:
    burst:
      target_percent: 0
      durration: 5s
    staircase:
      steps: 0
telemetry: {sample_interval: 1ms}
prioriti: 3
)"),
              ElementsAre(StartsWith("f.yaml:3:14: repetitions: 'many' is not a whole number"),
                          StartsWith("f.yaml:7:23: workload.pressure.burst.target_percent: must be above 0%"),
                          StartsWith("f.yaml:8:7: unknown key 'durration'"),
                          StartsWith("f.yaml:9:5: 'staircase' is given beside 'burst'"),
                          StartsWith("f.yaml:10:14: workload.pressure.staircase.steps: must be at least 1"),
                          StartsWith("f.yaml:11:30: telemetry.sample_interval: must be at least 10ms"),
                          StartsWith("f.yaml:12:1: unknown key 'prioriti'")));
}

// One mistake is not said twice, and a value that was refused is not reported as missing or compared.
TEST(YamlReaderTest, OneMistakeIsOneProblem) {
  EXPECT_THAT(JobProblems("workload: {pressure: {sawtooth: {min_percent: 80, max_percent: 101}}}"), SizeIs(1));
  EXPECT_THAT(JobProblems("workload: 5"), SizeIs(1));
  EXPECT_THAT(JobProblems("workload: {pressure: [burst]}"), SizeIs(1));
  EXPECT_THAT(JobProblems("workload: {quantization: {load: {model_id: m}, quant_levels: Q2_K}}"), SizeIs(1));
  EXPECT_THAT(JobProblems("workload: {model: {load: {modelid: m}}}"), SizeIs(1));
}

TEST(YamlReaderTest, ManyProblemsAreCounted) {
  std::string text(kBurst);
  for (int i = 0; i < 150; ++i) text += "nonsense_" + std::to_string(i) + ": 1\n";
  const std::vector<std::string> problems = JobProblems(text);
  ASSERT_THAT(problems, SizeIs(101));
  EXPECT_EQ(problems.back(), "f.yaml: 50 more problems");
}

TEST(YamlReaderTest, ColumnsCountCharacters) {
  EXPECT_THAT(JobProblems("workload: {pressure: {burst: }}\nannotations: {\"内存压力\": [1]}\n"),
              ElementsAre(StartsWith("f.yaml:2:23: annotations.内存压力: must be a single value")));
  EXPECT_THAT(JobProblems("\xef\xbb\xbfpriority: x\nworkload: {pressure: {burst: }}\n"),
              ElementsAre(StartsWith("f.yaml:1:11: priority:")))
      << "a byte order mark is no character";
  EXPECT_THAT(JobProblems("workload: {pressure: {burst: }}\r\npriority: x\r\n"),
              ElementsAre(StartsWith("f.yaml:2:11: priority:")));
}

TEST(YamlReaderTest, NestingIsBounded) {
  const auto nested = [](int levels) {
    return std::string(kBurst) + "annotations: {a: " + std::string(static_cast<std::size_t>(levels), '[') +
           std::string(static_cast<std::size_t>(levels), ']') + "}\n";
  };
  // The document and `annotations` are two levels themselves.
  EXPECT_THAT(JobProblems(nested(62)), ElementsAre(HasSubstr("must be a single value, not a list")));
  EXPECT_THAT(JobProblems(nested(63)), ElementsAre("f.yaml:2:80: nested deeper than 64 levels"));
}

TEST(YamlReaderTest, HostileDocumentsAreRefusedCheaply) {
  constexpr std::size_t kMiB = 1U << 20U;
  const auto repeat = [](std::string_view part, std::size_t bytes) {
    std::string text;
    while (text.size() + part.size() <= bytes) text += part;
    return text;
  };
  for (const std::string_view part :
       {"[",   "{",       "- ", "? ", "a: ", "[a, ",  "{a: ",  "&a ", "*a ", "!a ",  "'",  "\"",
        "|\n", "- - ",    "%",  "\t", ":",   "a:\n ", "---\n", "[]",  "{}",  "\"\\", "# ", "a: &a [*a]\n",
        "? [", "- |\n  ", "\n", " ",  "x",   ",",     "]"}) {
    EXPECT_FALSE(JobProblems(repeat(part, 60'000)).empty()) << part;
  }
  EXPECT_THAT(JobProblems(std::string(4 * kMiB + 1, ' ')),
              ElementsAre("f.yaml:1:1: larger than 4 MiB, the most that a file may have"));
  EXPECT_THAT(JobProblems("annotations: [" + repeat("a,", kMiB - 100) + "]"),
              ElementsAre(HasSubstr("more than 200000 values in one file")));
  EXPECT_THAT(JobProblems(std::string("a: 1\nb: \0", 9)),
              ElementsAre("f.yaml:2:4: a zero byte; the file must be UTF-8 text"));
  EXPECT_THAT(JobProblems("a: 1\nbc: \xff"), ElementsAre("f.yaml:2:5: not UTF-8; save the file in that encoding"));
  EXPECT_THAT(JobProblems("\xff\xfe"
                          "a"),
              ElementsAre(HasSubstr("not UTF-8")));
  // A value of a million bytes does not make a message of a million bytes.
  EXPECT_LT(JobProblems(std::string(kBurst) + "priority: " + std::string(500'000, 'x')).front().size(), 300U);
}

TEST(YamlReaderTest, OtherMessagesComeWithTheirOwnRules) {
  v1::CoordinatorConfig config;
  EXPECT_THAT(
      Problems("listen: 0.0.0.0:1\nlog_level: inof\n", &config),
      UnorderedElementsAre(
          "f.yaml:1:1: data_dir: must be given",
          "f.yaml:2:12: log_level: must be trace, debug, info, warn or error, not 'inof'; did you mean 'info'?"));
  EXPECT_THAT(Problems("data_dir: ''\n", &config), ElementsAre("f.yaml:1:11: data_dir: must not be empty"));
  v1::WorkerConfig worker;
  ASSERT_THAT(Problems("data_dir: /d\nspool_quota_bytes: 64MiB\nlabels: {a: b}", &worker), ElementsAre());
  EXPECT_EQ(worker.spool_quota_bytes(), 64U << 20U);
  EXPECT_EQ(worker.device_id(), "");
}

class YamlFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "ballast-yaml-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path Write(std::string_view name, std::string_view text) const {
    const fs::path path = directory_ / name;
    std::ofstream(path) << text;
    return path;
  }

  fs::path directory_;
};

TEST_F(YamlFileTest, NamesTheFileAsItWasGiven) {
  v1::JobSpec spec;
  const fs::path path = Write("job.yaml", "priority: x\nworkload: {pressure: {burst: }}\n");
  EXPECT_THAT(std::string(ReadYamlFile(path, &spec).message()), StartsWith(path.string() + ":1:11: priority: "));
  const absl::Status missing = ReadYamlFile(directory_ / "none.yaml", &spec);
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr((directory_ / "none.yaml").string()));
  const absl::Status directory = ReadYamlFile(directory_, &spec);
  EXPECT_TRUE(absl::IsInvalidArgument(directory)) << directory;
  EXPECT_THAT(std::string(directory.message()), HasSubstr("is a directory"));
  const absl::Status large = ReadYamlFile(Write("large.yaml", std::string(5U << 20U, '\n')), &spec);
  EXPECT_TRUE(absl::IsInvalidArgument(large)) << large;
  EXPECT_THAT(std::string(large.message()), HasSubstr("larger than 4 MiB"));
}

TEST_F(YamlFileTest, OverridesWinOverTheFile) {
  v1::JobSpec spec;
  const fs::path path =
      Write("job.yaml", "workload: {pressure: {burst: {target_percent: 60}}}\nannotations: {build: 1}\n");
  const absl::Status status = ReadYamlFile(path,
                                           {"workload.pressure.burst.target_percent=55%", "annotations.build=a=b",
                                            "annotations.k8s.io/x=2", "devices.device_ids=d-1", "repetitions=3"},
                                           &spec);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(spec.workload().pressure().burst().target_percent(), 55);
  EXPECT_EQ(spec.annotations().at("build"), "a=b");
  EXPECT_EQ(spec.annotations().at("k8s.io/x"), "2");
  EXPECT_THAT(spec.devices().device_ids(), ElementsAre("d-1"));
  EXPECT_EQ(spec.repetitions(), 3U);
}

TEST_F(YamlFileTest, ProblemsOfOverridesNameThem) {
  v1::JobSpec spec;
  const fs::path path =
      Write("job.yaml", "workload:\n  pressure:\n    sawtooth: {min_percent: 20, max_percent: 40}\nprority: 1\n");
  const absl::Status status = ReadYamlFile(path,
                                           {"repetitions=0", "nonsense", "=5", "workload.presure.x=1",
                                            "policy.timeot=1", "workload.pressure.sawtooth.min_percent=50"},
                                           &spec);
  const std::vector<std::string> lines = absl::StrSplit(std::string(status.message()), '\n');
  EXPECT_THAT(
      lines,
      ElementsAre(
          path.string() + ":4:1: unknown key 'prority'; did you mean 'priority'?",
          "--set repetitions=0: must be at least 1 and at most 10000, not 0",
          "--set nonsense: write it as PATH=VALUE, for instance repetitions=3",
          "--set =5: write it as PATH=VALUE, for instance repetitions=3",
          "--set workload.presure.x=1: no field 'presure' in 'workload'; did you mean 'pressure'?",
          "--set policy.timeot=1: no field 'timeot' in 'policy'; did you mean 'timeout'?",
          "--set workload.pressure.sawtooth.min_percent=50: workload.pressure.sawtooth.min_percent: must be below "
          "max_percent (40%), not 50%"));
}

TEST_F(YamlFileTest, AGroupThatOnlyAnOverrideMadeIsPlacedThere) {
  v1::JobSpec spec;
  const fs::path path = Write("job.yaml", "priority: 1\n");
  EXPECT_EQ(std::string(ReadYamlFile(path, {"workload.model.loads=2"}, &spec).message()),
            "--set workload.model.loads=2: workload.model.load: must be given");
}

}  // namespace
}  // namespace ballast::config
