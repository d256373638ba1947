// Prints how fast the SQLite store takes telemetry and how fast it lists runs.
// Usage: bench_storage [CHUNKS [RUNS [DIRECTORY]]]
// For the figures of a full history: bench_storage 5000 1000000 /a/directory/on/the/disk/in/question
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "common/metrics/chunk_codec.h"
#include "storage/sqlite/sqlite_store.h"
#include "tests/bench/synthetic_samples.h"

namespace ballast {
namespace {

constexpr std::size_t kSamplesPerChunk = 50;
constexpr double kValuesPerChunk = kSamplesPerChunk * metrics::kMetricCount;
constexpr std::size_t kWorkers = 200;   // runs that send chunks in turn
constexpr std::size_t kInFlight = 400;  // chunks that are sent and not acknowledged

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Check(const absl::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", status.ToString());
  std::exit(EXIT_FAILURE);
}

v1::Run MakeRun(std::size_t number, v1::Run::State state) {
  v1::Run run;
  run.set_job_id(fmt::format("j-{}", number / 1000));
  run.set_run_id(fmt::format("{}.{}", run.job_id(), number % 1000 + 1));
  run.set_device_id(fmt::format("d-{}", number % 100));
  run.set_state(state);
  run.set_workload_kind("pressure");
  run.mutable_create_time()->set_seconds(static_cast<std::int64_t>(1'700'000'000 + number));
  if (state == v1::Run::ENDED) {
    // One in ten thousand is the kind of run that people look for.
    run.mutable_outcome()->set_kind(number % 10'000 == 77 ? v1::OOM_KILLED : v1::COMPLETED);
  }
  (*run.mutable_annotations())["build"] = fmt::format("{}", number / 5000);
  v1::RunResult* const result = run.add_attempts()->mutable_result();
  result->set_peak_held_bytes(number * 4096);
  for (int i = 0; i < 8; ++i) result->add_phases()->set_target_percent(70);
  return run;
}

void PutJobsAndDevices(storage::Store& store, std::size_t run_count) {
  storage::WriteBatch batch;
  for (std::size_t i = 0; i < 100; ++i) {
    v1::Device device;
    device.set_device_id(fmt::format("d-{}", i));
    (*device.mutable_labels())["class"] = i % 4 == 0 ? "a" : "b";
    batch.push_back(storage::PutDevice{device});
  }
  for (std::size_t i = 0; i <= run_count / 1000; ++i) {
    v1::Job job;
    job.set_job_id(fmt::format("j-{}", i));
    batch.push_back(storage::PutJob{job});
  }
  Check(store.WriteAndWait(std::move(batch)));
}

// Writes batches with a bound on what is under way, as many workers together do.
class Feeder {
 public:
  explicit Feeder(storage::Store& store) : store_(store) {}

  void Send(storage::WriteBatch batch) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return in_flight_ < kInFlight; });
      ++in_flight_;
    }
    store_.Write(std::move(batch), [this](const absl::Status& status) {
      Check(status);
      const std::lock_guard lock(mutex_);
      --in_flight_;
      changed_.notify_one();
    });
  }

  void WaitForAll() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return in_flight_ == 0; });
  }

 private:
  storage::Store& store_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t in_flight_ = 0;
};

void MeasureIngest(storage::Store& store, std::size_t chunk_count) {
  bench::SyntheticSamples source(bench::SyntheticSamples::Load::kHold);
  metrics::ChunkBuilder builder;
  std::vector<v1::Chunk> chunks(64);
  for (v1::Chunk& chunk : chunks) {
    for (std::size_t i = 0; i < kSamplesPerChunk; ++i)
      builder.AddSample(std::chrono::milliseconds(100) * i, source.Next());
    chunk = builder.Finish();
  }
  storage::WriteBatch runs;
  for (std::size_t i = 0; i < kWorkers; ++i) runs.push_back(storage::PutRun{MakeRun(i, v1::Run::RUNNING)});
  Check(store.WriteAndWait(std::move(runs)));

  Feeder feeder(store);
  const auto start = Clock::now();
  for (std::size_t i = 0; i < chunk_count; ++i) {
    feeder.Send({storage::PutChunk{.run_id = MakeRun(i % kWorkers, v1::Run::RUNNING).run_id(),
                                   .attempt = 1,
                                   .seq = i / kWorkers + 1,
                                   .chunk = chunks[i % chunks.size()]}});
  }
  feeder.WaitForAll();
  const double seconds = SecondsSince(start);
  const double values = kValuesPerChunk * static_cast<double>(chunk_count);
  fmt::print("ingest: {:.2f} M values/s durable ({:.0f} chunks/s of {} samples x {} metrics, {} in flight)\n",
             values / seconds / 1e6, static_cast<double>(chunk_count) / seconds, kSamplesPerChunk,
             metrics::kMetricCount, kInFlight);

  const std::size_t commits = std::min<std::size_t>(200, chunk_count);
  const auto commit_start = Clock::now();
  for (std::size_t i = 0; i < commits; ++i) {
    Check(store.WriteAndWait(
        {storage::PutChunk{.run_id = "j-0.1", .attempt = 2, .seq = i + 1, .chunk = chunks[i % chunks.size()]}}));
  }
  fmt::print("one at a time: {:.0f} commits/s\n", static_cast<double>(commits) / SecondsSince(commit_start));
}

void MeasureList(storage::Store& store, std::string_view name, const v1::RunFilter& filter) {
  v1::ListRunsRequest request;
  *request.mutable_filter() = filter;
  double first = 0;
  double next = 0;
  int found = 0;
  for (int round = 0; round < 5; ++round) {  // the median is not worth the code: the fastest of five
    request.clear_page_token();
    auto start = Clock::now();
    const auto page = store.ListRuns(request);
    Check(page.status());
    const double first_seconds = SecondsSince(start);
    found = page->runs_size();
    request.set_page_token(page->next_page_token());
    start = Clock::now();
    Check(store.ListRuns(request).status());
    const double next_seconds = SecondsSince(start);
    first = round == 0 ? first_seconds : std::min(first, first_seconds);
    next = round == 0 ? next_seconds : std::min(next, next_seconds);
  }
  fmt::print("list {:28} {:8.2f} ms, next page {:8.2f} ms ({} runs)\n", name, first * 1e3, next * 1e3, found);
}

void MeasureLists(storage::Store& store, std::size_t run_count) {
  Feeder feeder(store);
  const auto start = Clock::now();
  storage::WriteBatch batch;
  for (std::size_t i = kWorkers; i < run_count; ++i) {
    batch.push_back(storage::PutRun{MakeRun(i, i + 3 >= run_count ? v1::Run::QUEUED : v1::Run::ENDED)});
    if (batch.size() == 50 || i + 1 == run_count) feeder.Send(std::exchange(batch, {}));
  }
  feeder.WaitForAll();
  fmt::print("history: {} runs, {:.0f} runs/s\n", run_count, static_cast<double>(run_count) / SecondsSince(start));

  v1::RunFilter filter;
  MeasureList(store, "all", filter);
  filter.add_job_ids("j-1");
  MeasureList(store, "a job", filter);
  filter.clear_job_ids();
  filter.add_device_ids("d-7");
  MeasureList(store, "a device", filter);
  filter.add_outcomes(v1::OOM_KILLED);
  MeasureList(store, "a device, a rare outcome", filter);
  filter.clear_device_ids();
  MeasureList(store, "a rare outcome", filter);
  filter.add_outcomes(v1::COMPLETED);
  MeasureList(store, "two outcomes", filter);
  filter.clear_outcomes();
  filter.add_states(v1::Run::QUEUED);
  filter.add_states(v1::Run::RUNNING);
  MeasureList(store, "open runs", filter);
  filter.clear_states();
  (*filter.mutable_labels())["class"] = "a";
  MeasureList(store, "a label", filter);
  filter.clear_labels();
  (*filter.mutable_annotations())["build"] = "0";
  MeasureList(store, "an old annotation", filter);
  filter.clear_annotations();
  filter.mutable_created_before()->set_seconds(static_cast<std::int64_t>(1'700'000'000 + run_count / 2));
  MeasureList(store, "before a time", filter);
}

int Main(int argc, char** argv) {
  const std::size_t chunk_count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 2000;
  const std::size_t run_count = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 20'000;
  const std::filesystem::path parent =
      argc > 3 ? std::filesystem::path(argv[3]) : std::filesystem::temp_directory_path();
  const std::filesystem::path directory = parent / fmt::format("ballast-bench-storage-{}", ::getpid());
  const std::filesystem::path file = directory / "ballast.db";
  {
    auto store = storage::OpenSqliteStore(file);
    Check(store.status());
    PutJobsAndDevices(**store, run_count);
    MeasureIngest(**store, chunk_count);
    store->reset();
    fmt::print(
        "disk: {:.2f} bytes/value, indexes and rollups included\n",
        static_cast<double>(std::filesystem::file_size(file)) / static_cast<double>(chunk_count) / kValuesPerChunk);
    store = storage::OpenSqliteStore(file);
    Check(store.status());
    MeasureLists(**store, run_count);
  }
  std::filesystem::remove_all(directory);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  return ballast::Main(argc, argv);
}
