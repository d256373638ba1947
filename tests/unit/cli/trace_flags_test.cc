// The curve of a trace, from a file or from a run.
#include "cli/trace_flags.h"

#include <fstream>
#include <limits>

#include "common/base/clock.h"
#include "common/config/yaml.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

namespace ballast::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TraceFlagsTest : public CommandTest {
 protected:
  TraceFlagsTest() { variables_["BALLAST_COORDINATOR"] = coordinator_.address(); }

  v1::TracePattern Printed() {
    v1::JobSpec spec;
    const absl::Status read = config::ReadYaml(out(), "printed", &spec);
    EXPECT_TRUE(read.ok()) << read;
    return spec.workload().pressure().trace();
  }

  FakeCoordinator coordinator_{directory_.path()};
};

TEST_F(TraceFlagsTest, AFileBecomesTheCurve) {
  const std::filesystem::path file = directory_.path() / "curve.csv";
  std::ofstream(file) << "time,percent\n10,30\n12.5,45%\n";
  ASSERT_EQ(Run({"simple", "--mode", "trace", "--trace", file.string(), "--dry-run"}), 0) << err();
  const v1::TracePattern trace = Printed();
  ASSERT_EQ(trace.points_size(), 2);
  EXPECT_EQ(base::FromProto(trace.points(1).offset()), std::chrono::milliseconds(2500));
  EXPECT_EQ(trace.points(1).used_percent(), 45);
  EXPECT_EQ(trace.source(), "curve.csv");
  EXPECT_EQ(err(), "");
}

TEST_F(TraceFlagsTest, ALongFileIsThinnedToAJobFileThatSubmitAccepts) {
  const std::filesystem::path file = directory_.path() / "long.csv";
  {
    std::ofstream out(file);
    for (int i = 0; i < 30'000; ++i) out << i << ',' << static_cast<double>(i * 7919 % 1000) / 10 << '\n';
  }
  ASSERT_EQ(Run({"simple", "--mode", "trace", "--trace", file.string(), "--dry-run"}), 0) << err();
  EXPECT_THAT(err(), HasSubstr("30000 points are thinned to"));
  const v1::TracePattern trace = Printed();
  EXPECT_LE(trace.points_size(), 20'000);
  EXPECT_EQ(trace.points(trace.points_size() - 1).offset().seconds(), 29'999);
  const std::filesystem::path job = directory_.path() / "job.yaml";
  const std::string printed = out();
  std::ofstream(job) << printed;
  ASSERT_EQ(Run({"submit", job.string(), "--dry-run"}), 0) << err();
  EXPECT_EQ(out(), printed);
}

TEST_F(TraceFlagsTest, ARunBecomesTheCurve) {
  v1::SampleSeries series;
  v1::SampleColumn& column = *series.add_columns();
  column.set_metric("mem_used_percent");
  for (const auto& [offset_ms, value] : std::initializer_list<std::pair<double, double>>{
           {50, 20}, {150, std::numeric_limits<double>::quiet_NaN()}, {250, 21.5}, {350, 100.4}}) {
    series.add_offset_ms(offset_ms);
    column.add_values(value);
  }
  coordinator_.samples = {series};
  ASSERT_EQ(Run({"simple", "--mode", "trace", "--from-run", "j-1.1", "--dry-run"}), 0) << err();
  ASSERT_EQ(coordinator_.sample_requests.size(), 1U);
  EXPECT_EQ(coordinator_.sample_requests[0].run_id(), "j-1.1");
  EXPECT_THAT(coordinator_.sample_requests[0].metrics(), ElementsAre("mem_used_percent"));
  const v1::TracePattern trace = Printed();
  ASSERT_EQ(trace.points_size(), 3) << "a sample without a value is no point";
  EXPECT_EQ(base::FromProto(trace.points(1).offset()), std::chrono::milliseconds(200));
  EXPECT_EQ(trace.points(1).used_percent(), 21.5);
  EXPECT_EQ(trace.points(2).used_percent(), 100);
  EXPECT_EQ(trace.source(), "run j-1.1");
}

TEST_F(TraceFlagsTest, ARunWithoutSamplesIsNoCurve) {
  EXPECT_EQ(Run({"simple", "--mode", "trace", "--from-run", "j-1.1", "--dry-run"}), 6);
  EXPECT_THAT(err(), HasSubstr("run 'j-1.1' has fewer than two samples"));
  EXPECT_THAT(err(), HasSubstr("try: "));
}

}  // namespace
}  // namespace ballast::cli
