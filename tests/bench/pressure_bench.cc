// How fast memory is filled and given back, what holding and touching cost, and how closely a target is held while a
// neighbour moves. Bounded to 1 GiB of memory.
//
//   bench_pressure [MEBIBYTES] [SECONDS]     (defaults: 1024, 5)
//   bench_pressure --json                    the fill rate alone, as a line for figure_table.py
//
// Percentages refer to the tightest memory cgroup, so run it inside a limited one to see how a small machine behaves.
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"
#include "common/os/memory_gauge.h"
#include "worker/pressure/held_memory.h"
#include "worker/pressure/hot_set.h"
#include "worker/pressure/pacer.h"
#include "worker/pressure/page_block.h"
#include "worker/pressure/pressure_engine.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace ballast::pressure {
namespace {

constexpr std::size_t kMiB = 1U << 20U;
constexpr int kRounds = 3;

double Seconds(const std::function<void()>& work) {
  const auto begun = base::RealClock().Monotonic();
  work();
  return base::ToSeconds(base::RealClock().Monotonic() - begun);
}

v1::PageContent RandomContent() {
  v1::PageContent content;
  content.set_kind(v1::PageContent::RANDOM);
  return content;
}

// A mapping with pages of the base size, as HeldMemory has them.
class Mapping {
 public:
  explicit Mapping(std::size_t bytes)
      : begin_(static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
        bytes_(bytes) {
    if (begin_ == MAP_FAILED) {
      fmt::print(stderr, "error: cannot map {}\n", base::FormatBytes(bytes));
      std::exit(1);
    }
    ::madvise(begin_, bytes_, MADV_NOHUGEPAGE);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { ::munmap(begin_, bytes_); }
  [[nodiscard]] char* begin() const { return begin_; }

 private:
  char* begin_;
  std::size_t bytes_;
};

// The three ways to fill, in turn, so that the machine's moods hit all of them alike; the best round of each counts.
void BenchFill(std::size_t bytes, bool as_json) {
  const std::vector<std::uint64_t> block = MakePageBlock(RandomContent(), 1024, 1);
  const std::size_t block_bytes = block.size() * sizeof(std::uint64_t);
  double held = 1e9;
  double populated = 1e9;
  double written = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    {
      auto memory = HeldMemory::Create({.content = RandomContent()});
      if (!memory.ok()) std::exit(1);
      held = std::min(held, Seconds([&] {
                        if (!(*memory)->Grow(bytes, {}).ok()) std::exit(1);
                      }));
    }
    {
      const Mapping mapping(bytes);
      populated =
          std::min(populated, Seconds([&] {
                     ::madvise(mapping.begin(), bytes, MADV_POPULATE_WRITE);
                     for (std::size_t offset = 0; offset < bytes; offset += block_bytes) {
                       std::memcpy(mapping.begin() + offset, block.data(), std::min(block_bytes, bytes - offset));
                     }
                   }));
    }
    {
      const Mapping mapping(bytes);
      written = std::min(written, Seconds([&] {
                           for (std::size_t offset = 0; offset < bytes; offset += sizeof(std::uint64_t)) {
                             const std::uint64_t word = MixWord(offset);
                             std::memcpy(mapping.begin() + offset, &word, sizeof word);
                           }
                         }));
    }
  }
  const auto rate = [bytes](double seconds) { return static_cast<double>(bytes) / seconds / 1e9; };
  const double limit = std::max(rate(populated), rate(written));
  if (as_json) {
    fmt::print(
        R"({{"figure": "fill {}, one thread", "measured": "{:.2f} GB/s", "peer": "{}: {:.2f} GB/s", "ratio": {:.4f}, )"
        R"("decides": {:.4f}, "goal": [">=", 0.9]}})"
        "\n",
        base::FormatBytes(bytes), rate(held), populated < written ? "populate + memcpy" : "plain write loop", limit,
        rate(held) / limit, rate(held) / limit);
    return;
  }
  fmt::print("fill {}, unique incompressible pages, one thread\n", base::FormatBytes(bytes));
  fmt::print("  HeldMemory::Grow                 {:6.2f} GB/s\n", rate(held));
  fmt::print("  MADV_POPULATE_WRITE + memcpy     {:6.2f} GB/s\n", rate(populated));
  fmt::print("  plain write loop                 {:6.2f} GB/s\n", rate(written));
  fmt::print("  ratio to the better              {:6.2f}        goal >= 0.90\n", rate(held) / limit);
}

double ProcessCpuSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// Each kind, on one thread and on two: filling, and giving back.
void BenchKinds(std::size_t bytes) {
  fmt::print("kinds of memory, {}         fill GB/s   release, processor ms/GiB\n", base::FormatBytes(bytes));
  for (const v1::MemoryKind kind : {v1::ANONYMOUS, v1::SHARED, v1::FILE_CACHE}) {
    for (const unsigned threads : {1U, 2U}) {
      auto memory = HeldMemory::Create({.content = RandomContent(),
                                        .kind = kind,
                                        .fill_threads = threads,
                                        .scratch_dir = std::filesystem::current_path()});
      if (!memory.ok()) std::exit(1);
      const double filled = Seconds([&] {
        if (!(*memory)->Grow(bytes, {}).ok()) std::exit(1);
      });
      const double cpu_before = ProcessCpuSeconds();
      (*memory)->Shrink(bytes, [] {});
      const double released = ProcessCpuSeconds() - cpu_before;
      fmt::print("  {:<11} {} thread{}               {:7.2f}                     {:7.1f}\n", v1::MemoryKind_Name(kind),
                 threads, threads == 1 ? " " : "s", static_cast<double>(bytes) / filled / 1e9,
                 1000 * released * 1024 * kMiB / static_cast<double>(bytes));
    }
  }
}

// What touching all of it once a second costs.
void BenchHotSet(std::size_t bytes, double seconds) {
  auto memory = HeldMemory::Create({.content = RandomContent()});
  if (!memory.ok() || !(*memory)->Grow(bytes, {}).ok()) std::exit(1);
  v1::HotSet settings;
  settings.set_percent(100);
  settings.mutable_interval()->set_seconds(1);
  auto hot_set = HotSet::Start(settings, HotSet::Touch::kWrite);
  if (!hot_set.ok()) std::exit(1);
  const double cpu_before = ProcessCpuSeconds();
  (*hot_set)->SetPages((*memory)->segments());
  MachinePacer pacer;
  const double lasted = Seconds([&] {
    static_cast<void>(pacer.WaitUntil(pacer.Now() + std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9)),
                                      std::stop_token()));
  });
  const double cpu = ProcessCpuSeconds() - cpu_before;
  const HotSetReport report = (*hot_set)->report();
  (*hot_set)->SetPages({});
  fmt::print("hot set of {}, once a second: {} touches in {:.1f} s, {:.2f} % of a processor ({:.0f} ns a touch)\n",
             base::FormatBytes(bytes), report.touched_pages, lasted, 100 * cpu / lasted,
             1e9 * cpu / static_cast<double>(std::max<std::uint64_t>(report.touched_pages, 1)));
}

double ThreadCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Takes the processor time of the engine's thread at both ends of the hold.
class HoldObserver final : public PressureObserver {
 public:
  void OnPhase(const v1::Phase& phase) override {
    holding = phase.kind() == v1::Phase::HOLD;
    if (phase.kind() == v1::Phase::HOLD) cpu_at_begin = ThreadCpuSeconds();
    if (phase.kind() == v1::Phase::RELEASE) cpu_at_end = ThreadCpuSeconds();
  }
  void OnEvent(const v1::Event&) override {}
  void OnStep(const v1::Step&) override {}
  void OnState(const v1::RunnerState&) override {}
  std::atomic<bool> holding{false};
  double cpu_at_begin = 0;
  double cpu_at_end = 0;
};

// Grows and shrinks by `amplitude` once in four seconds.
void BeNeighbour(const std::stop_token& stop, std::size_t amplitude) {
  auto memory = HeldMemory::Create({.content = RandomContent()});
  MachinePacer pacer;
  const auto begun = pacer.Now();
  while (memory.ok() && pacer.WaitUntil(pacer.Now() + std::chrono::milliseconds(20), stop)) {
    const double phase = base::ToSeconds(pacer.Now() - begun) / 4.0;
    const double height = 1 - std::abs(2 * (phase - std::floor(phase)) - 1);
    const auto wanted = static_cast<std::size_t>(height * static_cast<double>(amplitude));
    const std::size_t has = (*memory)->held_bytes();
    if (wanted > has) {
      if (!(*memory)->Grow(wanted - has, stop).ok()) return;
    } else {
      (*memory)->Shrink(has - wanted, [] {});
    }
  }
}

// A burst from inside this process, watched from beside it every 20 ms.
void BenchHold(std::size_t bytes, double seconds, bool with_neighbour) {
  auto gauge = os::MemoryGauge::Open();
  auto watcher = os::MemoryGauge::Open();
  auto memory = HeldMemory::Create({.content = RandomContent()});
  if (!gauge.ok() || !watcher.ok() || !memory.ok()) std::exit(1);
  const auto now = (*gauge)->Read();
  if (!now.ok()) std::exit(1);
  // Half of the bytes for the burst and at most a quarter for the neighbour.
  const double target =
      now->used_percent() + 100.0 * static_cast<double>(bytes / 2) / static_cast<double>(now->limit_bytes);
  if (target > 90) {
    fmt::print("hold: left out, only {} available\n", base::FormatBytes(now->available_bytes));
    return;
  }
  const std::size_t amplitude = std::min<std::size_t>(bytes / 4, now->limit_bytes / 20);

  v1::PressureWorkload workload;
  workload.set_floor_percent(5);
  workload.mutable_burst()->set_target_percent(target);
  *workload.mutable_burst()->mutable_duration() =
      base::ToProto(std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9)));
  HoldObserver observer;
  MachinePacer pacer;
  v1::RunnerFinished finished;
  std::size_t samples = 0;
  std::size_t within_half = 0;
  std::size_t within_one = 0;
  {
    std::jthread neighbour;
    if (with_neighbour) {
      neighbour = std::jthread([amplitude](const std::stop_token& stop) { BeNeighbour(stop, amplitude); });
    }
    std::jthread watching([&](const std::stop_token& stop) {
      MachinePacer beat;
      while (beat.WaitUntil(beat.Now() + std::chrono::milliseconds(20), stop)) {
        const auto reading = (*watcher)->Read();
        if (!observer.holding || !reading.ok()) continue;
        ++samples;
        const double distance = std::abs(reading->used_percent() - target);
        within_half += distance <= 0.5 ? 1 : 0;
        within_one += distance <= 1.0 ? 1 : 0;
      }
    });
    PressureEngine engine({.gauge = gauge->get(), .memory = memory->get(), .pacer = &pacer, .observer = &observer},
                          pacer.Now());
    finished = engine.Run(workload, {});
  }
  const auto share = [samples](std::size_t count) {
    return samples == 0 ? 0.0 : 100.0 * static_cast<double>(count) / static_cast<double>(samples);
  };
  fmt::print("hold {:.1f} % of {} for {:g} s, {}: {}\n", target, base::FormatBytes(now->limit_bytes), seconds,
             with_neighbour ? fmt::format("a neighbour moving by {}", base::FormatBytes(amplitude))
                            : std::string("no neighbour"),
             finished.message());
  fmt::print("  samples within 0.5 points        {:6.1f} %      goal >= 95\n", share(within_half));
  fmt::print("  samples within 1 point           {:6.1f} %\n", share(within_one));
  fmt::print("  of a processor, in the hold      {:6.2f} %{}\n",
             100.0 * (observer.cpu_at_end - observer.cpu_at_begin) / seconds, with_neighbour ? "" : "      goal <= 1");
}

}  // namespace
}  // namespace ballast::pressure

int main(int argc, char** argv) {
  constexpr unsigned long kMaxMebibytes = 1024;
  const bool as_json = argc == 2 && std::string_view(argv[1]) == "--json";
  const unsigned long mebibytes = argc > 1 && !as_json ? std::strtoul(argv[1], nullptr, 10) : kMaxMebibytes;
  const double seconds = argc > 2 ? std::strtod(argv[2], nullptr) : 5.0;
  if (mebibytes == 0 || mebibytes > kMaxMebibytes || !(seconds > 0) || seconds > 3600) {
    fmt::print(stderr, "error: bench_pressure [MEBIBYTES up to {}] [SECONDS up to 3600] | --json\n", kMaxMebibytes);
    return 2;
  }
  const std::size_t bytes = mebibytes * ballast::pressure::kMiB;
  ballast::pressure::BenchFill(bytes, as_json);
  if (as_json) return 0;
  ballast::pressure::BenchKinds(bytes);
  ballast::pressure::BenchHotSet(bytes, seconds);
  ballast::pressure::BenchHold(bytes, seconds, false);
  ballast::pressure::BenchHold(bytes, seconds, true);
  return 0;
}
