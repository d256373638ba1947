// What leaves the house: JSON and CSV, byte for byte, and as readers that are none of ours see them.
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/child_process.h"
#include "common/base/file.h"
#include "common/render/json.h"
#include "coordinator/report/commands.h"
#include "coordinator/report/figures.h"
#include "coordinator/report/loads.h"
#include "coordinator/report/report.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gmock/gmock.h"
#include "golden_file.h"
#include "gtest/gtest.h"
#include "message_text.h"
#include "recorded_loads.h"
#include "stored_history.h"

namespace ballast::report {
namespace {

const std::filesystem::path kGolden = BALLAST_REPORT_GOLDEN_DIR;
const std::filesystem::path kSchemas = BALLAST_REPORT_SCHEMA_DIR;
const std::filesystem::path kScripts = BALLAST_REPORT_TEST_DIR;

class DocumentsTest : public StoredHistoryTest {
 protected:
  // The whole history, with samples and a version that does not change with every release.
  [[nodiscard]] v1::Report WholeReport() {
    v1::GetReportRequest scope;
    scope.add_job_ids(kStaircaseJob);
    scope.add_job_ids(kBurstJob);
    absl::StatusOr<v1::Report> report = BuildReport(*store_, scope, {.include_samples = true}, clock_);
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) return {};
    report->set_ballast_version("0.0.0");
    return *std::move(report);
  }

  // A quantization job on two devices and a soak.
  [[nodiscard]] v1::Report ReportOfLoads() {
    Write(RecordedLoads());
    v1::GetReportRequest scope;
    scope.add_job_ids(kQuantizationJob);
    scope.add_job_ids(kSoakJob);
    scope.mutable_model_limits()->mutable_max_load()->set_seconds(3);
    absl::StatusOr<v1::Report> report = BuildReport(*store_, scope, {}, clock_);
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) return {};
    report->set_ballast_version("0.0.0");
    return *std::move(report);
  }

  [[nodiscard]] v1::Comparison Compare(v1::CompareRunsRequest::Dimension dimension) {
    v1::CompareRunsRequest request;
    request.add_item_ids(kBurstJob);
    request.add_item_ids(kStaircaseJob);
    request.set_dimension(dimension);
    absl::StatusOr<v1::Comparison> comparison = BuildComparison(*store_, request, clock_);
    EXPECT_TRUE(comparison.ok()) << comparison.status();
    return comparison.ok() ? *std::move(comparison) : v1::Comparison();
  }

  // Writes a file that the scripts can read.
  [[nodiscard]] std::string Save(const std::string& name, std::string_view content) {
    const std::filesystem::path path = directory_.path() / name;
    const absl::Status written = base::WriteFileAtomically(path, content);
    EXPECT_TRUE(written.ok()) << written;
    return path.string();
  }

  // Runs one of the scripts beside this file with Debian's own Python, which has python3-jsonschema; passes where it
  // exits with 0.
  static testing::AssertionResult RunScript(const std::string& script, const std::vector<std::string>& arguments) {
    base::ChildOptions options;
    options.argv = {"/usr/bin/python3", (kScripts / script).string()};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    absl::StatusOr<base::ChildProcess> child = base::ChildProcess::Start(options);
    if (!child.ok()) return testing::AssertionFailure() << child.status();
    const std::optional<base::ExitStatus> exit = child->Wait(std::chrono::seconds(50));
    if (!exit.has_value()) return testing::AssertionFailure() << script << " does not end";
    if (exit->exit_code == 0 && exit->signal == 0) return testing::AssertionSuccess();
    return testing::AssertionFailure() << script << " ended with exit code " << exit->exit_code << ", signal "
                                       << exit->signal << "; what it found stands above";
  }
};

TEST_F(DocumentsTest, ReportAsJson) {
  EXPECT_TRUE(MatchesGoldenFile(render::ToJson(WholeReport()) + "\n", kGolden / "report.json"));
}

TEST_F(DocumentsTest, ReportAsCsv) {
  EXPECT_TRUE(MatchesGoldenFile(ReportToCsv(WholeReport()), kGolden / "report.csv"));
}

TEST_F(DocumentsTest, ReportOfLoadsAsJson) {
  EXPECT_TRUE(MatchesGoldenFile(render::ToJson(ReportOfLoads()) + "\n", kGolden / "loads_report.json"));
}

TEST_F(DocumentsTest, LoadsAsCsv) {
  EXPECT_TRUE(MatchesGoldenFile(LoadsToCsv(ReportOfLoads()), kGolden / "loads.csv"));
}

TEST_F(DocumentsTest, ComparisonsAsJson) {
  EXPECT_TRUE(MatchesGoldenFile(render::ToJson(Compare(v1::CompareRunsRequest::ITEM)) + "\n",
                                kGolden / "comparison_by_item.json"));
  EXPECT_TRUE(MatchesGoldenFile(render::ToJson(Compare(v1::CompareRunsRequest::DEVICE)) + "\n",
                                kGolden / "comparison_by_device.json"));
}

TEST_F(DocumentsTest, ReportsKeepToTheirSchemaAndBrokenOnesDoNot) {
  const std::string report = Save("report.json", render::ToJson(WholeReport()));
  EXPECT_TRUE(RunScript("check_schema.py", {(kSchemas / "report.schema.json").string(), report, "--kind=report"}));
}

TEST_F(DocumentsTest, ReportsOnOneLineAndEmptyOnesKeepToTheirSchema) {
  const std::string schema = (kSchemas / "report.schema.json").string();
  const std::string line = Save("line.json", render::ToJson(WholeReport(), {.indent_spaces = 0}));
  EXPECT_TRUE(RunScript("check_schema.py", {schema, line}));
  EXPECT_TRUE(RunScript("check_schema.py", {schema, Save("empty.json", render::ToJson(v1::Report()))}));
  EXPECT_TRUE(RunScript("check_schema.py", {schema, Save("loads.json", render::ToJson(ReportOfLoads()))}));
}

TEST_F(DocumentsTest, ComparisonsKeepToTheirSchemaAndBrokenOnesDoNot) {
  const std::string schema = (kSchemas / "comparison.schema.json").string();
  for (const auto dimension : {v1::CompareRunsRequest::ITEM, v1::CompareRunsRequest::DEVICE}) {
    const std::string comparison = Save("comparison.json", render::ToJson(Compare(dimension)));
    EXPECT_TRUE(RunScript("check_schema.py", {schema, comparison, "--kind=comparison"}));
  }
}

TEST_F(DocumentsTest, CsvIsReadBackByAnotherReader) {
  v1::Report report = WholeReport();
  v1::Job& job = *report.mutable_jobs(0);
  job.mutable_spec()->set_display_name("内存, \"压力\"\r\n第二行\n,,\"\"");
  const std::string csv = Save("report.csv", ReportToCsv(report));

  // What must come out of the file, told in JSON.
  std::vector<std::string> rows;
  for (const v1::RunReport& run : report.runs()) {
    const bool is_staircase = run.run().job_id() == job.job_id();
    std::string message = run.run().outcome().message();
    if (message.starts_with('=')) message.insert(0, "'");
    std::vector<std::string> cells = {
        fmt::format("\"run_id\": {}", render::JsonString(run.run().run_id())),
        fmt::format("\"display_name\": {}", render::JsonString(is_staircase ? job.spec().display_name() : "")),
        fmt::format("\"environment\": {}", render::JsonString(is_staircase ? "极限2GB模式" : "")),
        fmt::format("\"workload_mode\": {}", render::JsonString(is_staircase ? "staircase" : "burst")),
        fmt::format("\"message\": {}", render::JsonString(message)),
    };
    for (const v1::Figure& figure : run.figures()) {
      cells.push_back(fmt::format("\"{}\": {:.17g}", figure.name(), figure.value()));
    }
    rows.push_back(fmt::format("{{{}}}", fmt::join(cells, ", ")));
  }
  const std::string expected = Save("expected.json", fmt::format("[{}]", fmt::join(rows, ", ")));
  EXPECT_TRUE(RunScript("check_csv.py", {csv, expected}));
}

TEST_F(DocumentsTest, CsvOfLoadsIsReadBackByAnotherReader) {
  const v1::Report report = ReportOfLoads();
  std::vector<std::string> rows;
  for (const v1::RunReport& run : report.runs()) {
    for (const LoadOfRun& entry : LoadsOf(run.run())) {
      const v1::ModelLoadResult& load = *entry.load;
      const bool survived = load.outcome().kind() == v1::COMPLETED;
      std::vector<std::string> cells = {
          fmt::format("\"run_id\": {}", render::JsonString(run.run().run_id())),
          fmt::format("\"attempt\": {}", entry.attempt),
          fmt::format("\"load\": {}", load.index()),
          fmt::format("\"quant\": {}", render::JsonString(load.quant())),
          fmt::format("\"outcome\": \"{}\"", survived ? "COMPLETED" : "OOM_KILLED"),
          fmt::format("\"message\": {}", render::JsonString((survived ? "" : "'") + load.outcome().message())),
          fmt::format("\"stages\": \"PARSE;LOAD{}\"", survived ? ";FIRST_PASS;PASSES" : ""),
          fmt::format("\"killer\": \"{}\"", survived ? "" : "KERNEL_MEMCG_OOM"),
          fmt::format("\"valid\": \"true\""),
      };
      if (!survived) cells.emplace_back("\"first_pass_seconds\": \"\"");
      for (const v1::Figure& figure : ComputeLoadFigures(load)) {
        cells.push_back(fmt::format("\"{}\": {:.17g}", figure.name(), figure.value()));
      }
      rows.push_back(fmt::format("{{{}}}", fmt::join(cells, ", ")));
    }
  }
  EXPECT_EQ(rows.size(), 18);
  const std::string csv = Save("loads.csv", LoadsToCsv(report));
  EXPECT_TRUE(RunScript("check_csv.py", {csv, Save("expected.json", fmt::format("[{}]", fmt::join(rows, ", ")))}));
}

// A report with two executions of one program.
v1::Report ReportOfCommands() {
  return Parse<v1::Report>(R"pb(
    jobs {
      job_id: "j-7"
      spec {
        display_name: "import"
        workload {
          command {
            command_id: "import"
            pressure { burst { target_percent: 70 } }
          }
        }
      }
    }
    runs {
      device_name: "kiosk"
      run {
        run_id: "j-7.1"
        job_id: "j-7"
        device_id: "d-1"
        repetition: 1
        workload_kind: "command"
        state: ENDED
        attempts {
          result {
            validity { valid: true }
            commands {
              index: 1
              command_id: "import"
              argv: "/opt/import"
              argv: "a b"
              argv: "c\\d"
              outcome {
                kind: COMMAND_FAILED
                message: "=the program exited with code 3"
                evidence { exit_code: 3 }
              }
              start_offset { seconds: 2 }
              end_offset { seconds: 5 }
              scope: CGROUP
              peak_memory_bytes: 104857600
              major_faults: 12
            }
            commands {
              index: 2
              command_id: "import"
              argv: "/opt/import"
              outcome {
                kind: OOM_KILLED
                evidence { killer: KERNEL_MEMCG_OOM signal: 9 }
              }
              start_offset { seconds: 6 }
              end_offset { seconds: 7 }
              scope: CGROUP
              peak_memory_bytes: 209715200
            }
          }
        }
      }
    }
  )pb");
}

TEST_F(DocumentsTest, CsvOfCommandsIsReadBackByAnotherReader) {
  const std::string csv = Save("commands.csv", CommandsToCsv(ReportOfCommands()));
  const std::string expected = Save("expected.json", R"([
    {"run_id": "j-7.1", "execution": 1, "command_id": "import", "argv": "/opt/import a\\ b c\\\\d", "outcome": "COMMAND_FAILED",
     "message": "'=the program exited with code 3", "exit_code": 3, "signal": "", "scope": "CGROUP", "workload_mode": "burst",
     "start_seconds": 2, "execution_seconds": 3, "peak_memory_bytes": 104857600, "major_fault_count": 12, "valid": "true"},
    {"run_id": "j-7.1", "execution": 2, "outcome": "OOM_KILLED", "killer": "KERNEL_MEMCG_OOM", "exit_code": "", "signal": 9}
  ])");
  EXPECT_TRUE(RunScript("check_csv.py", {csv, expected}));
}

TEST_F(DocumentsTest, CsvOfNoLoadsIsEmpty) {
  EXPECT_EQ(LoadsToCsv(WholeReport()), "");
  EXPECT_EQ(CommandsToCsv(WholeReport()), "");
}

TEST_F(DocumentsTest, CsvOfNoRunsIsItsHeader) {
  const std::string csv = ReportToCsv(v1::Report());
  EXPECT_TRUE(csv.starts_with("\xEF\xBB\xBFjob_id,run_id,"));
  EXPECT_EQ(csv.find("\r\n"), csv.size() - 2);
}

TEST(ReportGuide, ExplainsEveryFigureAndColumn) {
  const absl::StatusOr<std::string> guide = base::ReadFile(BALLAST_REPORT_GUIDE);
  ASSERT_TRUE(guide.ok()) << guide.status();
  const auto expect_row = [&guide](std::string_view name) {
    EXPECT_THAT(*guide, testing::HasSubstr(fmt::format("| `{}` |", name)));
  };
  for (const FigureDefinition& figure : AllFigures()) expect_row(figure.name);
  for (const LoadFigureDefinition& figure : AllLoadFigures()) expect_row(figure.name);
  for (const CommandFigureDefinition& figure : AllCommandFigures()) expect_row(figure.name);
  v1::Report with_load;
  with_load.add_runs()->mutable_run()->add_attempts()->mutable_result()->add_loads();
  for (const std::string& csv : {ReportToCsv(v1::Report()), LoadsToCsv(with_load), CommandsToCsv(ReportOfCommands())}) {
    std::string_view header = std::string_view(csv).substr(3, csv.find("\r\n") - 3);
    while (!header.empty()) {
      const std::string_view column = header.substr(0, header.find(','));
      expect_row(column);
      header.remove_prefix(std::min(column.size() + 1, header.size()));
    }
  }
}

}  // namespace
}  // namespace ballast::report
