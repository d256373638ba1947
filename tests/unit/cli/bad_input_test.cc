// What is wrong on the command line is found before anything is asked of a coordinator, and is named.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct BadInput {
  std::vector<std::string> arguments;
  std::vector<std::string> said;
};

class BadInputTest : public CommandTest, public testing::WithParamInterface<BadInput> {};

TEST_P(BadInputTest, EndsWithCode2AndNamesCauseAndNextStep) {
  // An address at which nobody answers: getting as far as a connection would end with another code.
  variables_["BALLAST_COORDINATOR"] = "unix:" + (directory_.path() / "nobody").string();
  EXPECT_EQ(Run(GetParam().arguments), 2) << err();
  EXPECT_EQ(out(), "");
  EXPECT_THAT(err(), StartsWith("error: "));
  EXPECT_THAT(err(), HasSubstr("\n  try: "));
  for (const std::string& text : GetParam().said) EXPECT_THAT(err(), HasSubstr(text));
}

INSTANTIATE_TEST_SUITE_P(
    , BadInputTest,
    testing::Values(
        BadInput{{"simpel"}, {"no command 'simpel'", "did you mean 'simple'?", "ballast --help"}},
        BadInput{{"jobs"}, {"ballast jobs needs a command: list, show, cancel"}},
        BadInput{{"jobs", "lst"}, {"ballast jobs has no command 'lst'", "'list'"}},
        BadInput{{"models"}, {"ballast models needs a command: list, push, remove, inspect, create, estimate"}},
        BadInput{{"models", "inspect"}, {"the file is missing", "ballast models inspect FILE"}},
        BadInput{{"models", "create"}, {"--shape is missing", "qwen2.5-7b"}},
        BadInput{{"models", "create", "--shape", "qwen2.5-7"}, {"--shape: there is no shape", "'qwen2.5-7b'"}},
        BadInput{{"models", "create", "--shape", "tiny"}, {"--quant is missing", "Q4_K_M"}},
        BadInput{{"models", "create", "--shape", "tiny", "--quant", "Q4_KM"}, {"no level 'Q4_KM'", "'Q4_K_M'"}},
        BadInput{{"models", "create", "--shape", "tiny", "--quant", "Q4_0"},
                 {"the file to write is missing", "-o FILE"}},
        BadInput{{"models", "create", "--shape", "tiny", "--quant", "all", "-o", "m"}, {"one level a file"}},
        BadInput{{"models", "create", "--shape", "tiny", "--plan", "--seed", "-1"}, {"--seed: ", "-1"}},
        BadInput{{"models", "create", "--shape", "tiny", "--plan", "--threads", "9999"}, {"--threads: ", "1024"}},
        BadInput{{"models", "estimate"}, {"the file or --shape is missing"}},
        BadInput{{"models", "estimate", "m.gguf", "--shape", "tiny"}, {"exclude each other"}},
        BadInput{{"models", "estimate", "m.gguf", "--quant", "all"}, {"--quant belongs to --shape"}},
        BadInput{{"models", "estimate", "--shape", "tiny", "--loader", "map"}, {"--loader: 'map'", "mmap"}},
        BadInput{{"models", "estimate", "--shape", "tiny", "--context", "9"}, {"--context: ", "16"}},
        BadInput{{"models", "estimate", "--shape", "tiny", "--context", "99"}, {"--context has no meaning"}},
        BadInput{{"version", "--short"}, {"ballast version has no flag '--short'", "ballast version --help"}},
        BadInput{{"version", "now"}, {"ballast version does not take 'now'"}},
        BadInput{{"simple"}, {"--mode is missing", "staircase", "allocate_full"}},
        BadInput{{"simple", "--mode", "brust"}, {"--mode: 'brust'", "did you mean 'burst'?"}},
        BadInput{{"simple", "--mode", "burst", "--stepsize", "5"}, {"no flag '--stepsize'", "'--step-size'"}},
        BadInput{{"simple", "--mode", "burst", "--target"}, {"--target needs a value"}},
        BadInput{{"simple", "--mode", "burst", "--target", "70", "--target", "80"}, {"--target"}},
        BadInput{{"simple", "--mode", "burst", "--target", ""}, {"--target: the value is empty"}},
        BadInput{{"simple", "--mode", "burst", "--target", "0"}, {"--target: ", "0%"}},
        BadInput{{"simple", "--mode", "burst", "--target", "101"}, {"--target: ", "101"}},
        BadInput{{"simple", "--mode", "burst", "--target", "-5"}, {"--target: ", "-5"}},
        BadInput{{"simple", "--mode", "burst", "--target", "abc"}, {"--target: 'abc'"}},
        BadInput{{"simple", "--mode", "sawtooth", "--min", "70", "--max", "70"}, {"--min: ", "--max", "70%"}},
        BadInput{{"simple", "--mode", "sawtooth", "--min", "80"}, {"--min: ", "80%"}},
        BadInput{{"simple", "--mode", "sawtooth", "--cycles", "0"}, {"--cycles: ", "0"}},
        BadInput{{"simple", "--mode", "staircase", "--steps", "0"}, {"--steps: ", "0"}},
        BadInput{{"simple", "--mode", "staircase", "--step-size", "-1"}, {"--step-size: ", "'-1'"}},
        BadInput{{"simple", "--mode", "staircase", "--interval", "soon"}, {"--interval: 'soon'"}},
        BadInput{{"simple", "--mode", "burst", "--steps", "4"},
                 {"--steps does not belong to mode burst", "it belongs to staircase"}},
        BadInput{{"simple", "--mode", "trace", "--duration", "4"},
                 {"--duration does not belong", "burst, sawtooth, allocate_full, staircase"}},
        BadInput{{"simple", "--mode", "staircase", "--duration", "4", "--steps", "4"},
                 {"--steps and --duration exclude each other in mode staircase"}},
        BadInput{{"simple", "--mode", "staircase", "--duration", "soon"}, {"--duration: 'soon'"}},
        BadInput{{"simple", "--mode", "staircase", "--duration", "0"}, {"--duration: must be above 0"}},
        BadInput{{"simple", "--mode", "burst", "--duration", "4", "--hold", "4"},
                 {"--duration and --hold exclude each other"}},
        BadInput{{"simple", "--mode", "allocate_full", "--until", "dawn"}, {"--until: ", "'dawn'"}},
        BadInput{{"simple", "--mode", "burst", "--until", "floor"},
                 {"--until floor belongs to mode allocate_full", "burst", "leave --until out"}},
        BadInput{{"simple", "--mode", "burst", "--until", "oom", "--guard-psi", "10"},
                 {"--guard-psi says when the guard acts", "--until oom"}},
        BadInput{{"simple", "--mode", "burst", "--guard-floor", "95"}, {"--guard-floor: ", "90%"}},
        BadInput{{"simple", "--mode", "burst", "--target", "3GB", "--psi", "some=20"},
                 {"--target and --psi exclude each other"}},
        BadInput{{"simple", "--mode", "burst", "--target", "3000TiB"}, {"--target: ", "1PiB"}},
        BadInput{{"simple", "--mode", "burst", "--psi", "20"}, {"--psi: '20' does not say which", "--psi some=20"}},
        BadInput{{"simple", "--mode", "burst", "--psi", "most=20"}, {"--psi: 'most'", "SOME"}},
        BadInput{{"simple", "--mode", "burst", "--psi", "full=99"}, {"--psi: ", "95%"}},
        BadInput{{"simple", "--mode", "sawtooth", "--psi", "some=20"}, {"--psi does not belong to mode sawtooth"}},
        BadInput{{"simple", "--mode", "burst", "--hot", "0"}, {"--hot: ", "0%"}},
        BadInput{{"simple", "--mode", "burst", "--hot-interval", "1ms"}, {"--hot-interval: ", "50ms"}},
        BadInput{{"simple", "--mode", "burst", "--kind", "swap"}, {"--kind: ", "ANONYMOUS"}},
        BadInput{{"simple", "--mode", "burst", "--threads", "0"}, {"--threads: ", "0"}},
        BadInput{{"simple", "--mode", "burst", "--settle", "2d"}, {"--settle: "}},
        BadInput{{"simple", "--mode", "trace"}, {"mode trace needs a curve", "--trace FILE", "--from-run RUN"}},
        BadInput{{"simple", "--mode", "trace", "--trace", "a", "--from-run", "j-1.1"},
                 {"--trace and --from-run exclude each other"}},
        BadInput{{"simple", "--mode", "trace", "--trace", "no/such/file.csv"}, {"no/such/file.csv"}},
        BadInput{{"simple", "--mode", "burst", "--from-run", "j-1.1"}, {"--from-run does not belong to mode burst"}},
        BadInput{{"simple", "--mode", "burst", "--content", "noise"}, {"--content: 'noise'", "RANDOM"}},
        BadInput{{"simple", "--mode", "burst", "--content", "zero:2"}, {"only compressible has a ratio"}},
        BadInput{{"simple", "--mode", "burst", "--content", "compressible:0"},
                 {"--content: '0' is neither a ratio from 1 to 64 nor a share from 1/64 to 1", "compressible:2"}},
        BadInput{{"simple", "--mode", "burst", "--content", "compressible:0.01"}, {"--content: '0.01' is neither"}},
        BadInput{
            {"simple", "--mode", "burst", "--target", "70", "--guard-floor", "6"},
            {"--guard-floor: 6 % is not below the load's own floor of 5 %", "--guard-floor 2%, or a greater --floor"}},
        BadInput{{"simple", "--mode", "allocate_full", "--until", "oom", "--kind", "file_cache"},
                 {"--until: file cache does not end in an OOM kill"}},
        BadInput{{"simple", "--mode", "burst", "--repeat", "0"}, {"--repeat: "}},
        BadInput{{"simple", "--mode", "burst", "--on", ""}, {"--on: the value is empty", "--on rack=a"}},
        BadInput{{"runs", "list", "--on", "rack in (a, b)"}, {"--on: 'rack in (a, b)' is an expression"}},
        BadInput{{"devices", "list", "--on", "rack"}, {"--on: 'rack' is an expression", "LABEL=VALUE only"}},
        BadInput{{"simple", "--mode", "burst", "--expect", "COMPLETE"},
                 {"--expect: 'COMPLETE'", "did you mean 'COMPLETED'?"}},
        BadInput{{"simple", "--mode", "burst", "--output", "xml"}, {"--output: 'xml'", "--output json"}},
        BadInput{{"simple", "--mode", "burst", "--detach", "--save-report"},
                 {"--detach leaves before there is a report"}},
        BadInput{{"simple", "--mode", "burst", "--detach", "--coordinator", "local"},
                 {"--detach needs a coordinator that goes on"}},
        BadInput{{"submit"}, {"the job file is missing"}},
        BadInput{{"submit", "no/such/file.yaml"},
                 {"the job file 'no/such/file.yaml' does not exist; looked for it at /", "/no/such/file.yaml\n",
                  "try: name a file that exists; ", "--dry-run"}},
        BadInput{{"submit", "/no/such/file.yaml"}, {"the job file '/no/such/file.yaml' does not exist\n"}},
        BadInput{{"schedules", "put", "no/such/file.yaml", "--name", "n", "--cron", "@daily"},
                 {"the job file 'no/such/file.yaml' does not exist; looked for it at /"}},
        BadInput{{"devices", "label", "m", "k=\xff"}, {"changes: byte 3 of 'k=\\xff' (0xff) is not UTF-8 text"}},
        BadInput{{"devices", "show", "m\xc3"}, {"device: byte 2 of 'm\\xc3' (0xc3) is not UTF-8 text"}},
        BadInput{{"jobs", "cancel", "j-1", "\xed\xa0\x80"}, {"job: byte 1 of "}},
        BadInput{{"simple", "--mode", "burst", "--annotate", "a=\xff"}, {"--annotate: byte 3 of "}},
        BadInput{{"certificates", "revoke", "m", "--reason", "old \xff"}, {"--reason: byte 5 of "}},
        BadInput{{"runs", "list", "--device", "d-1", "--device", "\xff"}, {"--device: byte 1 of "}},
        BadInput{{"exec", "--param", "a=\xff", "--", "true"}, {"--param: byte 3 of "}},
        BadInput{{"simple", "--m\xff"}, {"no flag '--m?'"}}, BadInput{{"watch"}, {"the job is missing"}},
        BadInput{{"jobs", "show"}, {"one job is missing"}},
        BadInput{{"jobs", "list", "--state", "runing"}, {"--state: 'runing'", "did you mean 'RUNNING'?"}},
        BadInput{{"jobs", "list", "--limit", "many"}, {"--limit: 'many'"}},
        BadInput{{"runs", "list", "--since", "yesterday"}, {"--since: 'yesterday'", "24h"}},
        BadInput{{"reservations", "create", "--for", "2h"}, {"the choice of devices is missing"}},
        BadInput{{"reservations", "create", "--all", "--from", "soon", "--for", "2h"},
                 {"--from: 'soon' is not a point in time", "--from 2h, --from 2026-03-01 or --from "}},
        BadInput{{"reservations", "create", "--all", "--for", "100000d"}, {"--for: "}},
        BadInput{{"runs", "list", "--outcome", "oom"}, {"--outcome: 'oom'"}},
        BadInput{{"runs", "samples", "j-1.1", "--metric", "mem_availabel_bytes"},
                 {"'mem_availabel_bytes'", "'mem_available_bytes'"}},
        BadInput{{"runs", "samples", "j-1.1", "--output", "table"}, {"--output: 'table'"}},
        BadInput{{"runs", "samples", "j-1.1", "--attempt", "0"}, {"--attempt: '0'"}},
        BadInput{{"devices", "label", "d-1"}, {"the label is missing"}},
        BadInput{{"devices", "label", "d-1", "class"}, {"'class' neither sets nor removes"}},
        BadInput{{"devices", "wait", "d-1", "--timeout", "long"}, {"--timeout: 'long'"}},
        BadInput{{"report"}, {"the job or run is missing"}},
        BadInput{{"report", "j-1", "--format", "html"}, {"html is not available yet", "json"}},
        BadInput{{"report", "j-1", "--format", "jsn"}, {"'jsn'", "did you mean 'json'?"}},
        BadInput{{"compare", "j-1"}, {"something to compare with is missing", "--by device"}},
        BadInput{{"compare", "j-1", "j-2", "--by", "quant"}, {"--by: quant is not available yet"}},
        BadInput{{"compare", "j-1", "j-2", "--by", "devise"}, {"--by: 'devise'", "did you mean 'device'?"}},
        BadInput{{"jobs", "list", "--coordinator", "nowhere"}, {"--coordinator: ", "HOST:PORT"}}));

TEST_F(CommandTest, AJobFileIsInvalidAtItsPlace) {
  const std::filesystem::path file = directory_.path() / "job.yaml";
  std::ofstream(file) << "workload:\n  pressure:\n    burst:\n      target: 70\n";
  EXPECT_EQ(Run({"submit", file.string()}), 2);
  EXPECT_THAT(err(), HasSubstr("\n  at " + file.string() + ":4:7\n"));
  EXPECT_THAT(err(), HasSubstr("target_percent"));
  EXPECT_EQ(Run({"submit", file.string(), "--set", "repetitions=0"}), 2);
  EXPECT_THAT(err(), HasSubstr("--set repetitions=0"));
}

TEST_F(CommandTest, PathsMayBeAnyBytes) {
  const std::filesystem::path file = directory_.path() / "job\xff.yaml";
  std::ofstream(file) << "workload: {pressure: {burst: {target_percent: 60%}}}\n";
  EXPECT_EQ(Run({"submit", file.string(), "--dry-run"}), 0) << err();
  EXPECT_EQ(Run({"jobs", "list", "--coordinator", "unix:" + (directory_.path() / "\xff").string()}), 3) << err();
}

TEST_F(CommandTest, ConnectionFlagsStandBeforeOrAfterTheCommand) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"--coordinator", "10.0.0.1:1", "runs", "list"},
           {"runs", "--coordinator=10.0.0.1:1", "list"},
           {"runs", "list", "--coordinator", "10.0.0.1:1"},
           {"--coordinator", "10.0.0.2:1", "runs", "list", "--coordinator", "10.0.0.1:1"}}) {
    EXPECT_EQ(Run(arguments), 3);
    EXPECT_THAT(err(), HasSubstr("--coordinator: plain text to 10.0.0.1:1")) << arguments.front();
    EXPECT_THAT(err(), HasSubstr("or --insecure if everyone on the way may read"));
  }
  const std::string nobody = "unix:" + (directory_.path() / "nobody.sock").string();
  EXPECT_EQ(Run({"--insecure", "--coordinator", nobody, "watch", "j-1"}), 3);
  EXPECT_THAT(err(), HasSubstr("coordinator at " + nobody));
  EXPECT_EQ(Run({"--coordinater", nobody, "runs", "list"}), 2);
  EXPECT_THAT(err(), HasSubstr("did you mean '--coordinator'"));
}

TEST_F(CommandTest, HelpShowsExamplesAtEveryLevel) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"simple", "--help"},
                                                                     {"submit", "-h"},
                                                                     {"watch", "-h"},
                                                                     {"jobs", "list", "-h"},
                                                                     {"jobs", "show", "-h"},
                                                                     {"jobs", "cancel", "-h"},
                                                                     {"runs", "list", "-h"},
                                                                     {"runs", "show", "-h"},
                                                                     {"runs", "samples", "-h"},
                                                                     {"devices", "list", "-h"},
                                                                     {"devices", "show", "-h"},
                                                                     {"devices", "label", "-h"},
                                                                     {"devices", "drain", "-h"},
                                                                     {"devices", "resume", "-h"},
                                                                     {"devices", "remove", "-h"},
                                                                     {"devices", "wait", "-h"},
                                                                     {"report", "-h"},
                                                                     {"compare", "-h"},
                                                                     {"version", "-h"}}) {
    EXPECT_EQ(Run(arguments), 0);
    EXPECT_THAT(out(), HasSubstr("Examples:\n  ballast " + arguments.front())) << arguments.front();
    EXPECT_EQ(err(), "");
  }
  EXPECT_EQ(Run({}), 0);
  EXPECT_THAT(out(), HasSubstr("simple"));
  EXPECT_EQ(Run({"version"}), 0);
  EXPECT_THAT(out(), testing::MatchesRegex("ballast [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_EQ(Run({"version", "--output", "json"}), 0);
  EXPECT_THAT(out(), testing::MatchesRegex("\\{\"version\": \"[0-9]+\\.[0-9]+\\.[0-9]+\"\\}\n"));
  EXPECT_EQ(Run({"version", "--output", "csv"}), 0);
  EXPECT_THAT(out(), testing::MatchesRegex("version\r\n[0-9]+\\.[0-9]+\\.[0-9]+\r\n"));
}

}  // namespace
}  // namespace ballast::cli
