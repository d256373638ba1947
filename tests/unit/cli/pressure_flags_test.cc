// Flags become a JobSpec, which --dry-run shows as YAML that submit accepts.
#include "cli/pressure_flags.h"

#include <fstream>

#include "common/config/field_rules.h"
#include "common/config/yaml.h"
#include "google/protobuf/util/message_differencer.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

struct FlagsAndJob {
  std::vector<std::string> flags;
  std::string yaml;  // of the job; defaults are added
};

class PressureFlagsTest : public CommandTest, public testing::WithParamInterface<FlagsAndJob> {};

TEST_P(PressureFlagsTest, FillTheJob) {
  std::vector<std::string> arguments = {"simple", "--dry-run"};
  arguments.insert(arguments.end(), GetParam().flags.begin(), GetParam().flags.end());
  ASSERT_EQ(Run(arguments), 0) << err();
  v1::JobSpec printed;
  ASSERT_TRUE(config::ReadYaml(out(), "printed", &printed).ok());
  v1::JobSpec wanted;
  const absl::Status read = config::ReadYaml(GetParam().yaml, "wanted", &wanted);
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(printed, wanted)) << out();
}

INSTANTIATE_TEST_SUITE_P(
    , PressureFlagsTest,
    testing::Values(
        FlagsAndJob{{"--mode", "staircase"}, "workload: {pressure: {staircase: {}}}"},
        FlagsAndJob{{"--mode", "staircase", "--step-size", "100", "--interval", "1.0", "--steps", "5"},
                    "workload: {pressure: {staircase: {step_size_bytes: 100MiB, interval: 1s, steps: 5}}}"},
        FlagsAndJob{{"--mode=staircase", "--step-size=1.5GiB", "--interval=250ms"},
                    "workload: {pressure: {staircase: {step_size_bytes: 1.5GiB, interval: 250ms}}}"},
        FlagsAndJob{{"--mode", "staircase", "--duration", "60"}, "workload: {pressure: {staircase: {steps: 60}}}"},
        FlagsAndJob{{"--mode", "staircase", "--duration", "1m", "--interval", "500ms"},
                    "workload: {pressure: {staircase: {steps: 120, interval: 500ms}}}"},
        FlagsAndJob{{"--mode", "staircase", "--duration", "100ms"}, "workload: {pressure: {staircase: {steps: 1}}}"},
        FlagsAndJob{{"--mode", "burst", "--target", "70", "--duration", "5.0"},
                    "workload: {pressure: {burst: {target_percent: 70%, duration: 5s}}}"},
        FlagsAndJob{{"--mode", "burst", "--hold", "2m"}, "workload: {pressure: {burst: {duration: 2m}}}"},
        FlagsAndJob{
            {"--mode", "sawtooth", "--min", "20", "--max", "60%", "--cycles", "4", "--duration", "8"},
            "workload: {pressure: {sawtooth: {min_percent: 20%, max_percent: 60%, cycles: 4, cycle_duration: 8s}}}"},
        FlagsAndJob{{"--mode", "allocate_full", "--until", "oom", "--duration", "3"},
                    "workload: {pressure: {allocate_full: {until: OOM, hold: 3s}}}\nguard: {mode: OFF}"},
        FlagsAndJob{{"--mode", "allocate_full", "--until", "floor"},
                    "workload: {pressure: {allocate_full: {until: FLOOR}}}"},
        FlagsAndJob{{"--mode", "burst", "--until", "oom"}, "workload: {pressure: {burst: {}}}\nguard: {mode: OFF}"},
        FlagsAndJob{{"--mode", "burst", "--target", "3GiB"}, "workload: {pressure: {burst: {target_bytes: 3GiB}}}"},
        FlagsAndJob{{"--mode", "burst", "--psi", "some=20"},
                    "workload: {pressure: {burst: {target_psi: {kind: SOME, percent: 20%}}}}"},
        FlagsAndJob{{"--mode", "burst", "--psi", "full=5%", "--duration", "1m"},
                    "workload: {pressure: {burst: {target_psi: {kind: FULL, percent: 5%}, duration: 1m}}}"},
        FlagsAndJob{{"--mode", "burst", "--hot", "30%", "--lock", "--kind", "shared", "--threads", "2"},
                    "workload: {pressure: {burst: {}, hot_set: {percent: 30%}, lock: true, memory_kind: SHARED, "
                    "fill_threads: 2}}"},
        FlagsAndJob{{"--mode", "burst", "--hot", "25%", "--hot-interval", "500ms"},
                    "workload: {pressure: {burst: {}, hot_set: {percent: 25%, interval: 500ms}}}"},
        FlagsAndJob{{"--mode", "burst", "--settle", "2m", "--guard-floor", "3", "--guard-psi", "20%"},
                    "workload: {pressure: {burst: {}}}\nvalidity: {settle: 2m}\n"
                    "guard: {min_available_percent: 3%, max_psi_full_percent: 20%}"},
        FlagsAndJob{{"--mode", "allocate_full", "--hold", "0", "--floor", "10"},
                    "workload: {pressure: {allocate_full: {hold: 0s}, floor_percent: 10%}}"},
        FlagsAndJob{{"--mode", "burst", "--content", "zero", "--baseline", "0", "--recovery", "10"},
                    "workload: {pressure: {burst: {}, content: {kind: ZERO}, baseline: 0s, recovery: 10s}}"},
        FlagsAndJob{{"--mode", "burst", "--content", "compressible:3.5"},
                    "workload: {pressure: {burst: {}, content: {kind: COMPRESSIBLE, compression_ratio: 3.5}}}"},
        FlagsAndJob{{"--mode", "burst", "--content", "compressible:0.5"},
                    "workload: {pressure: {burst: {}, content: {kind: COMPRESSIBLE, compression_ratio: 2}}}"},
        FlagsAndJob{{"--mode", "burst", "--on", "class=a,site=b", "--device", "d-1", "--device", "d-2", "--repeat", "3",
                     "--priority", "-7"},
                    "workload: {pressure: {burst: {}}}\nrepetitions: 3\npriority: -7\n"
                    "devices: {labels: {class: a, site: b}, device_ids: [d-1, d-2]}"},
        FlagsAndJob{
            {"--mode", "burst", "--all", "--env", "2gb-noswap", "--name", "a name", "--timeout", "10m",
             "--sample-interval", "50ms", "--expect", "oom_killed", "--annotate", "build=1.4.2", "--annotate",
             "note=a,b"},
            "workload: {pressure: {burst: {}}}\ndevices: {all: true}\nenvironment: 2gb-noswap\ndisplay_name: a name\n"
            "policy: {timeout: 10m, expect: OOM_KILLED}\ntelemetry: {sample_interval: 50ms}\n"
            "annotations: {build: 1.4.2, note: 'a,b'}"}));

TEST_F(CommandTest, ADryRunIsWhatSubmitAccepts) {
  ASSERT_EQ(Run({"simple", "--mode", "sawtooth", "--min", "20", "--repeat", "2", "--dry-run"}), 0) << err();
  const std::string first = out();
  const std::filesystem::path file = directory_.path() / "job.yaml";
  std::ofstream(file) << first;
  ASSERT_EQ(Run({"submit", file.string(), "--dry-run"}), 0) << err();
  EXPECT_EQ(out(), first);
  ASSERT_EQ(Run({"submit", file.string(), "--dry-run", "--set", "repetitions=5"}), 0) << err();
  EXPECT_NE(out().find("repetitions: 5\n"), std::string::npos);
}

}  // namespace
}  // namespace ballast::cli
