// Jobs that run programs, from flags.
#include "common/base/clock.h"
#include "common/config/yaml.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ExecJobsTest : public CommandTest {
 protected:
  v1::JobSpec Printed() {
    v1::JobSpec spec;
    const absl::Status read = config::ReadYaml(out(), "printed", &spec);
    EXPECT_TRUE(read.ok()) << read;
    return spec;
  }
};

TEST_F(ExecJobsTest, ACommandOfTheDevices) {
  ASSERT_EQ(Run({"exec",  "photo-import",   "--param",  "batch=1,2", "--param",       "name=a=b", "--executions",
                 "3",     "--exec-timeout", "90s",      "--mode",    "burst",         "--target", "70",
                 "--env", "2gb-noswap",     "--repeat", "2",         "--coordinator", "lab:7850", "--dry-run"}),
            0)
      << err();
  const v1::JobSpec spec = Printed();
  const v1::CommandWorkload& command = spec.workload().command();
  EXPECT_EQ(command.command_id(), "photo-import");
  EXPECT_EQ(command.parameters().at("batch"), "1,2");
  EXPECT_EQ(command.parameters().at("name"), "a=b");
  EXPECT_EQ(command.executions(), 3U);
  EXPECT_EQ(base::FromProto(command.timeout()), std::chrono::seconds(90));
  EXPECT_EQ(command.pressure().burst().target_percent(), 70);
  EXPECT_EQ(spec.environment(), "2gb-noswap");
  EXPECT_EQ(spec.repetitions(), 2U);
}

TEST_F(ExecJobsTest, ACommandMayBeCalledLikeOneOfThisProgram) {
  for (const char* const name : {"env", "exec", "jobs"}) {
    ASSERT_EQ(Run({"exec", name, "--device", "w1", "--coordinator", "lab:7850", "--dry-run"}), 0) << err();
    EXPECT_EQ(Printed().workload().command().command_id(), name);
  }
}

TEST_F(ExecJobsTest, ACommandLineOfThisMachine) {
  WriteProgram("my import!", "true\n");
  ASSERT_EQ(Run({"exec", "--until", "oom", "--dry-run", "--", "my import!", "--mode", "{x}", "--", "--help"}), 0)
      << err();
  const v1::JobSpec spec = Printed();
  EXPECT_EQ(spec.workload().command().command_id(), "my_import_");
  EXPECT_EQ(spec.workload().command().executions(), 1U);
  EXPECT_FALSE(spec.workload().command().has_pressure());
  EXPECT_EQ(spec.guard().mode(), v1::GuardSpec::OFF);
  EXPECT_THAT(err(), HasSubstr("configuration of the worker"));
}

TEST_F(ExecJobsTest, WhoRunsItMustBeClear) {
  WriteProgram("tool", "true\n");
  EXPECT_EQ(Run({"exec"}), 2);
  EXPECT_THAT(err(), AllOf(HasSubstr("what is to be run is missing"), HasSubstr("ballast exec -- CMD")));
  EXPECT_EQ(Run({"exec", "--"}), 2);
  EXPECT_THAT(err(), HasSubstr("behind -- stands no program"));
  EXPECT_EQ(Run({"exec", "photo-import", "--", "tool"}), 2);
  EXPECT_THAT(err(), HasSubstr("give one of them"));
  EXPECT_EQ(Run({"exec", "photo-import"}), 2);
  EXPECT_THAT(err(), AllOf(HasSubstr("no coordinator is named"), HasSubstr("ballast exec -- photo-import")));
  EXPECT_EQ(Run({"exec", "--coordinator", "lab:7850", "--", "tool"}), 2);
  EXPECT_THAT(err(), AllOf(HasSubstr("--coordinator names a coordinator"), HasSubstr("their own configuration"),
                           HasSubstr("ballast exec COMMAND-ID")));
  EXPECT_EQ(Run({"exec", "--param", "a=b", "--", "tool"}), 2);
  EXPECT_THAT(err(), HasSubstr("--param"));
}

TEST_F(ExecJobsTest, AProgramThatIsNotThereIsNamed) {
  EXPECT_EQ(Run({"exec", "--", "no-such-tool"}), 2);
  EXPECT_THAT(err(), HasSubstr("no program 'no-such-tool' on PATH"));
  EXPECT_EQ(Run({"exec", "--", "/no/such/tool"}), 2);
  EXPECT_THAT(err(), HasSubstr("'/no/such/tool' is no program"));
  EXPECT_EQ(Run({"exec", "--", "tool\xff"}), 2);
  EXPECT_THAT(err(), HasSubstr("UTF-8"));
}

TEST_F(ExecJobsTest, FlagsThatDoNotFitAreUsageErrors) {
  EXPECT_EQ(Run({"exec", "x", "--target", "70", "--dry-run"}), 2);
  EXPECT_THAT(err(), HasSubstr("beside the program, but no --mode"));
  EXPECT_EQ(Run({"exec", "x", "--executions", "0", "--dry-run"}), 2);
  EXPECT_THAT(err(), HasSubstr("executions"));
  EXPECT_EQ(Run({"exec", "x", "--mode", "allocate_full", "--until", "oom", "--dry-run"}), 2);
  EXPECT_THAT(err(), HasSubstr("in which the program could run"));
  EXPECT_EQ(Run({"exec", "bad id", "--dry-run"}), 2);
  EXPECT_THAT(err(), HasSubstr("bad id"));
}

TEST_F(ExecJobsTest, OtherCommandsTakeTwoDashesAsEver) {
  EXPECT_EQ(Run({"runs", "list", "--", "x"}), 2);
  EXPECT_THAT(err(), HasSubstr("has no command 'x'"));
}

}  // namespace
}  // namespace ballast::cli
