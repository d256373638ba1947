#include "cli/trace_flags.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/memory_curve.h"
#include "cli/render/text_width.h"
#include "cli/session.h"
#include "cli/trace_file.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

constexpr char kMode[] = "trace";
constexpr char kMetric[] = "mem_used_percent";
constexpr std::size_t kMaxSourceBytes = 256;

absl::StatusOr<MemoryCurve> ReadFromFile(const std::string& file) {
  absl::StatusOr<MemoryCurve> curve = ReadTraceFile(file);
  if (curve.ok()) return curve;
  // Whatever is wrong with it, the flag's value is; it is not a job that could not be found.
  return WithNextStep(absl::InvalidArgumentError(std::string(curve.status().message())),
                      "--trace FILE with two columns, time and percent or bytes; ballast simple --help");
}

void AddSamples(const v1::SampleSeries& series, MemoryCurve* curve) {
  const auto column = std::ranges::find(series.columns(), kMetric, &v1::SampleColumn::metric);
  if (column == series.columns().end()) return;
  const int count = std::min(series.offset_ms_size(), column->values_size());
  for (int i = 0; i < count; ++i) {
    const double value = column->values(i);
    if (!std::isfinite(value) || !(series.offset_ms(i) >= 0)) continue;
    const std::chrono::duration<double, std::milli> offset(std::min(series.offset_ms(i), 3.2e10));  // a year
    const auto rounded = std::chrono::round<std::chrono::nanoseconds>(offset);
    if (!curve->points.empty() && rounded <= curve->points.back().offset) continue;
    curve->points.push_back({rounded, std::clamp(value, 0.0, 100.0)});
  }
}

absl::StatusOr<MemoryCurve> ReadFromRun(const std::string& run, const ConnectionFlags& connection, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, connection, Session::Use::kHistory));
  v1::ReadSamplesRequest request;
  request.set_run_id(run);
  request.add_metrics(kMetric);
  MemoryCurve curve;
  const absl::Status status =
      session->Stream(&v1::RunService::Stub::ReadSamples, request, [&](const v1::SampleSeries& series) {
        AddSamples(series, &curve);
        return absl::OkStatus();
      });
  if (!status.ok()) return WithNextStep(status, "ballast runs list");
  if (curve.points.size() < 2) {
    return WithNextStep(absl::FailedPreconditionError(fmt::format("--from-run: run {} has fewer than two samples of {}",
                                                                  base::Quoted(run), kMetric)),
                        fmt::format("ballast runs samples {} shows what it has", run));
  }
  return curve;
}

std::string DeviationText(double deviation, MemoryCurve::Unit unit) {
  return unit == MemoryCurve::Unit::kPercent ? fmt::format("{:.2f} points", deviation)
                                             : base::FormatBytes(static_cast<std::uint64_t>(std::llround(deviation)));
}

}  // namespace

void AddTraceFlags(CLI::App* command, TraceFlags* flags) {
  command->add_option("--trace", flags->file, "trace: a CSV file of two columns, time and percent or bytes in use")
      ->type_name("FILE")
      ->group("Pressure");
  command->add_option("--from-run", flags->run, "trace: the memory use of an earlier run, from its first sample on")
      ->type_name("RUN")
      ->group("Pressure");
}

absl::Status FillTrace(const TraceFlags& flags, const std::string& mode, const ConnectionFlags& connection,
                       Context& context, v1::JobSpec* spec) {
  if (mode != kMode) {
    if (flags.file.empty() && flags.run.empty()) return absl::OkStatus();
    const char* flag = flags.file.empty() ? "--from-run" : "--trace";
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("{} does not belong to mode {}; it belongs to {}", flag, mode, kMode)),
        fmt::format("--mode {} {}", kMode, flags.file.empty() ? "--from-run RUN" : "--trace FILE"));
  }
  if (flags.file.empty() == flags.run.empty()) {
    return WithNextStep(absl::InvalidArgumentError(flags.file.empty() ? "mode trace needs a curve"
                                                                      : "--trace and --from-run exclude each other"),
                        "--trace FILE or --from-run RUN");
  }
  BALLAST_ASSIGN_OR_RETURN(const MemoryCurve curve,
                           flags.run.empty() ? ReadFromFile(flags.file) : ReadFromRun(flags.run, connection, context));
  const ThinnedCurve thinned = ThinCurve(curve, kMaxTracePoints);
  const std::string source = flags.run.empty() ? flags.file : "run " + flags.run;
  if (thinned.curve.points.size() < curve.points.size()) {
    context.err << fmt::format("{}: {} points are thinned to {}, nowhere more than {} beside the curve\n",
                               Printable(source), curve.points.size(), thinned.curve.points.size(),
                               DeviationText(thinned.deviation, curve.unit));
  }
  v1::TracePattern* trace = spec->mutable_workload()->mutable_pressure()->mutable_trace();
  FillTracePoints(thinned.curve, trace);
  // For people: a path's last part says enough, and control characters have no place in it.
  const std::string shown =
      Printable(flags.run.empty() ? std::filesystem::path(flags.file).filename().string() : source);
  if (shown.size() <= kMaxSourceBytes) trace->set_source(shown);
  return absl::OkStatus();
}

}  // namespace ballast::cli
