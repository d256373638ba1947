// What sampling costs: every metric of this machine and of one process, at a pace, so that the processor's caches are
// as cold each time as they are in a run. Nothing is written or sent.
//
//   bench_sampling [SECONDS] [SAMPLES_PER_SECOND]   (defaults: 10, 10)
//   bench_sampling --json                           as lines for figure_table.py
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "common/metrics/chunk_codec.h"
#include "worker/telemetry/sampler.h"

namespace {

namespace metrics = ballast::metrics;

double ThreadCpuSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool as_json = std::erase(arguments, "--json") > 0;
  const double seconds = !arguments.empty() ? std::atof(arguments[0].c_str()) : 10;
  const double rate = arguments.size() > 1 ? std::atof(arguments[1].c_str()) : 10;
  auto sampler = ballast::telemetry::Sampler::Open();
  if (!sampler.ok() || seconds <= 0 || rate <= 0) {
    fmt::print(stderr, "error: {}\n", sampler.ok() ? "times must be above 0" : sampler.status().ToString());
    return 1;
  }
  (*sampler)->WatchProcess(::getpid());
  metrics::ChunkBuilder chunk;
  metrics::SampleRow row = metrics::EmptyRow();
  const auto count = static_cast<int>(seconds * rate);
  const auto begun = std::chrono::steady_clock::now();
  const double cpu_before = ThreadCpuSeconds();
  for (int i = 0; i < count; ++i) {
    const std::chrono::duration<double> offset(i / rate);
    std::this_thread::sleep_until(begun + std::chrono::duration_cast<std::chrono::nanoseconds>(offset));
    (*sampler)->Sample(&row);
    if (chunk.full()) static_cast<void>(chunk.Finish());
    chunk.AddSample(std::chrono::duration_cast<std::chrono::nanoseconds>(offset), row);
  }
  const double used = 100 * (ThreadCpuSeconds() - cpu_before) / (count / rate);
  int present = 0;
  for (const std::int64_t value : row) present += value != metrics::kAbsent ? 1 : 0;
  if (as_json) {
    fmt::print(
        R"({{"figure": "sampling at {:g} Hz", "measured": "{:.2f} % of a core", "peer": "{} metrics, {} samples", )"
        R"("decides": {:.4f}, "goal": ["<=", 0.5, " %"]}})"
        "\n",
        rate, used, present, count, used);
  } else {
    fmt::print("{} metrics, {:g} times a second: {:.2f} % of a core, {:.0f} µs a sample\n", present, rate, used,
               1e4 * used / rate);
  }
  return 0;
}
