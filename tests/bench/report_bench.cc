// Prints how long reports and comparisons take over a real database: the report of a soak, its export with samples, a
// comparison of many runs. Usage: bench_report [HOURS [DEVICES [RUNS]]]   (a soak of so many hours at 10 Hz; so many
// devices with so many runs each; 8, 100 and 30)
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/metrics/chunk_codec.h"
#include "common/render/json.h"
#include "coordinator/report/report.h"
#include "storage/sqlite/sqlite_store.h"
#include "tests/bench/synthetic_samples.h"

namespace {

using ballast::bench::SyntheticSamples;
namespace base = ballast::base;
namespace metrics = ballast::metrics;
namespace report = ballast::report;
namespace storage = ballast::storage;
namespace v1 = ballast::v1;

constexpr char kSoakJob[] = "j-00000000s0";
constexpr char kSoakRun[] = "j-00000000s0.1";
constexpr char kFleetJob[] = "j-00000000f0";
constexpr int kSamplesPerSecond = 10;
constexpr int kSecondsPerChunk = 5;
constexpr int kSecondsPerEvent = 30;
constexpr int kRepeats = 5;

[[noreturn]] void Fail(const absl::Status& status) {
  fmt::print(stderr, "{}\n", status.ToString());
  std::exit(EXIT_FAILURE);
}

void Require(const absl::Status& status) {
  if (!status.ok()) Fail(status);
}

template <typename T>
T Require(absl::StatusOr<T> value) {
  if (!value.ok()) Fail(value.status());
  return *std::move(value);
}

// Prints the median of some repetitions, as time on the wall and as processor time (which a busy machine does not
// stretch); the first one, in which the caches of this process are cold, apart.
void Measure(std::string_view what, std::string_view goal, const std::function<std::size_t()>& work) {
  std::vector<double> wall_ms;
  std::vector<double> cpu_ms;
  std::size_t bytes = 0;
  for (int i = 0; i < kRepeats; ++i) {
    const auto wall_start = std::chrono::steady_clock::now();
    const std::clock_t cpu_start = std::clock();
    bytes = work();
    cpu_ms.push_back(1e3 * static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
    wall_ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - wall_start).count());
  }
  const double first_ms = wall_ms.front();
  std::sort(wall_ms.begin(), wall_ms.end());
  std::sort(cpu_ms.begin(), cpu_ms.end());
  fmt::print("{:44} first {:7.1f} ms, median {:7.1f} ms, processor {:7.1f} ms (goal: {}), {:.1f} MB\n", what, first_ms,
             wall_ms[kRepeats / 2], cpu_ms[kRepeats / 2], goal, static_cast<double>(bytes) / 1e6);
}

v1::Job MakeJob(const std::string& id) {
  v1::Job job;
  job.set_job_id(id);
  job.set_state(v1::Job::FINISHED);
  v1::PressureWorkload& pressure = *job.mutable_spec()->mutable_workload()->mutable_pressure();
  pressure.mutable_burst()->set_target_percent(70);
  return job;
}

v1::Run MakeRun(const std::string& job_id, std::uint32_t number, const std::string& device_id,
                std::uint32_t repetition) {
  v1::Run run;
  run.set_run_id(fmt::format("{}.{}", job_id, number));
  run.set_job_id(job_id);
  run.set_device_id(device_id);
  run.set_repetition(repetition);
  run.set_state(v1::Run::ENDED);
  run.set_workload_kind("pressure");
  run.mutable_outcome()->set_kind(v1::COMPLETED);
  v1::Attempt& attempt = *run.add_attempts();
  attempt.set_attempt(1);
  attempt.mutable_start_time()->set_seconds(1'772'600'000);
  attempt.mutable_end_time()->set_seconds(1'772'600'010 + number % 7);
  v1::RunResult& result = *attempt.mutable_result();
  result.set_peak_held_bytes(2'000'000'000 + number);
  result.set_fill_bytes_per_second(2e9 + number);
  result.set_limit_bytes(4'117'528'576);
  for (int i = 0; i < 4; ++i) {
    v1::Phase& phase = *result.add_phases();
    phase.set_kind(v1::Phase::HOLD);
    phase.mutable_end_offset()->set_seconds(5);
    phase.mutable_hold_quality()->set_sample_count(50);
    phase.mutable_hold_quality()->set_within_one_point_count(49);
  }
  return run;
}

// A run of so many seconds, a chunk every five seconds as a worker sends them.
void WriteTelemetry(storage::Store* store, const std::string& run_id, int seconds, std::uint32_t seed) {
  SyntheticSamples source(SyntheticSamples::Load::kHold, seed);
  metrics::ChunkBuilder builder;
  storage::WriteBatch batch;
  for (int second = 0; second < seconds; ++second) {
    for (int i = 0; i < kSamplesPerSecond; ++i) {
      builder.AddSample(std::chrono::milliseconds(1000 * second + 1000 / kSamplesPerSecond * i), source.Next());
    }
    if (second % kSecondsPerEvent == 0) {
      v1::Event event;
      event.set_kind(v1::Event::CYCLE_COMPLETED);
      event.mutable_offset()->set_seconds(second);
      event.set_message("a cycle ended");
      builder.AddEvent(event);
    }
    if ((second + 1) % kSecondsPerChunk == 0) {
      batch.push_back(storage::PutChunk{
          .run_id = run_id, .attempt = 1, .seq = static_cast<std::uint64_t>(second) + 2, .chunk = builder.Finish()});
    }
    if (batch.size() == 500 || second + 1 == seconds) Require(store->WriteAndWait(std::exchange(batch, {})));
  }
}

void WriteSoak(storage::Store* store, int seconds) {
  v1::Device device;
  device.set_device_id("d-soak");
  Require(store->WriteAndWait({storage::PutDevice{.device = device}, storage::PutJob{.job = MakeJob(kSoakJob)},
                               storage::PutRun{.run = MakeRun(kSoakJob, 1, "d-soak", 1)}}));
  WriteTelemetry(store, kSoakRun, seconds, 1);
}

void WriteFleet(storage::Store* store, int devices, int runs) {
  Require(store->WriteAndWait({storage::PutJob{.job = MakeJob(kFleetJob)}}));
  std::uint32_t number = 0;
  for (int i = 0; i < devices; ++i) {
    v1::Device device;
    device.set_device_id(fmt::format("d-{:04}", i));
    device.mutable_facts()->set_hostname(fmt::format("host-{}", i));
    storage::WriteBatch batch = {storage::PutDevice{.device = device}};
    const std::uint32_t first = number;
    for (int repetition = 1; repetition <= runs; ++repetition) {
      batch.push_back(storage::PutRun{
          .run = MakeRun(kFleetJob, ++number, device.device_id(), static_cast<std::uint32_t>(repetition))});
    }
    Require(store->WriteAndWait(std::move(batch)));
    for (std::uint32_t run = first + 1; run <= number; ++run) {
      WriteTelemetry(store, fmt::format("{}.{}", kFleetJob, run), 5, run);
    }
  }
}

int Run(const std::filesystem::path& directory, int hours, int devices, int runs) {
  const std::filesystem::path file = directory / "bench.db";
  std::unique_ptr<storage::Store> store = Require(storage::OpenSqliteStore(file));
  // The smoke test has no hours to fill.
  const int soak_seconds = hours > 0 ? 3600 * hours : 30;
  WriteSoak(store.get(), soak_seconds);
  WriteFleet(store.get(), devices, runs);
  // Opened anew, so that the first repetition has only the system's cache.
  store.reset();
  store = Require(storage::OpenSqliteStore(file));
  fmt::print("soak of {} s at {} Hz; {} devices x {} runs; database {:.0f} MB\n", soak_seconds, kSamplesPerSecond,
             devices, runs, static_cast<double>(std::filesystem::file_size(file)) / 1e6);

  const base::Clock& clock = base::RealClock();
  v1::GetReportRequest soak;
  soak.add_job_ids(kSoakJob);
  v1::GetReportRequest fleet;
  fleet.add_job_ids(kFleetJob);
  Measure("report of the soak", "< 300 ms",
          [&] { return Require(report::BuildReport(*store, soak, {}, clock)).ByteSizeLong(); });
  Measure("export of the soak as JSON, 20,000 samples", "none", [&] {
    return ballast::render::ToJson(Require(report::BuildReport(*store, soak, {.include_samples = true}, clock))).size();
  });
  Measure("report of all devices and runs", "none",
          [&] { return Require(report::BuildReport(*store, fleet, {}, clock)).ByteSizeLong(); });
  v1::CompareRunsRequest request;
  request.add_item_ids(kFleetJob);
  request.set_dimension(v1::CompareRunsRequest::DEVICE);
  Measure("comparison of all devices and runs", "< 300 ms",
          [&] { return Require(report::BuildComparison(*store, request, clock)).ByteSizeLong(); });
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int index, int otherwise) { return argc > index ? std::atoi(argv[index]) : otherwise; };
  std::string name = (std::filesystem::temp_directory_path() / "ballast-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    fmt::print(stderr, "cannot make a directory {}\n", name);
    return EXIT_FAILURE;
  }
  const int result = Run(name, argument(1, 8), argument(2, 100), argument(3, 30));
  std::filesystem::remove_all(name);
  return result;
}
