// Plays random histories of a fleet; docs/simulation.md.
//
// `simulation --seeds FROM..TO [--jobs N]` plays them all and says what they amounted to; it exits with 1 at the first
// that fails.
// `simulation --seed N [--trace]` plays one, and says what came of it, or everything that happens in it.
// `simulation --mutation NAME --seeds …` does the same with a deliberate bug.
// `simulation --mutations N [--jobs N]`: each deliberate bug must be caught within N seeds.
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "tests/simulation/mutation.h"
#include "tests/simulation/schedule.h"

namespace {

namespace simulation = ballast::simulation;

constexpr int kUsage = 2;

struct Failure {
  std::uint64_t seed = 0;
  std::string problem;
};

struct Result {
  simulation::Figures figures;
  std::optional<Failure> failure;  // of the lowest seed
};

Result PlayAll(std::uint64_t from, std::uint64_t to, unsigned jobs) {
  std::atomic<std::uint64_t> next{from};
  std::mutex mutex;
  Result result;
  std::atomic<std::uint64_t> first_failure{UINT64_MAX};
  const auto play = [&] {
    simulation::Figures figures;
    while (true) {
      const std::uint64_t seed = next.fetch_add(1);
      if (seed > to || seed > first_failure) break;
      simulation::Schedule schedule(seed, false);
      const std::string problem = schedule.Play();
      figures.Add(schedule.figures());
      if (problem.empty()) continue;
      const std::scoped_lock lock(mutex);
      if (seed >= first_failure) continue;
      first_failure = seed;
      result.failure = Failure{seed, problem};
    }
    const std::scoped_lock lock(mutex);
    result.figures.Add(figures);
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < jobs; ++i) threads.emplace_back(play);
    play();
  }
  return result;
}

void Print(const simulation::Figures& figures, double elapsed) {
  fmt::print("{} schedules in {:.1f} s ({:.0f} a second), {} steps, {} runs, {:.1f} hours of virtual time\n",
             figures.schedules, elapsed, static_cast<double>(figures.schedules) / elapsed, figures.steps, figures.runs,
             static_cast<double>(figures.virtual_seconds) / 3600);
  for (std::size_t i = 0; i < figures.faults.size(); ++i)
    fmt::print("{:>12}  {}\n", figures.faults[i], simulation::NameOf(static_cast<simulation::Fault>(i)));
}

void Print(const Failure& failure) {
  fmt::print("seed {}: {}\n  try: simulation --seed {} --trace\n", failure.seed, failure.problem, failure.seed);
}

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

int CatchMutations(std::uint64_t limit, unsigned jobs) {
  int missed = 0;
  for (const std::string_view name : simulation::kMutations) {
    simulation::SetMutation(name);
    const Result result = PlayAll(1, limit, jobs);
    if (result.failure) {
      fmt::print("{:<32} caught by seed {}: {}\n", name, result.failure->seed, result.failure->problem);
    } else {
      fmt::print("{:<32} NOT caught by {} seeds\n", name, limit);
      ++missed;
    }
  }
  return missed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<std::uint64_t> seed;
  std::optional<std::uint64_t> from;
  std::optional<std::uint64_t> to;
  std::optional<std::uint64_t> mutations;
  unsigned jobs = 1;
  bool trace = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--trace") {
      trace = true;
      continue;
    }
    const std::string_view value = i + 1 < argc ? argv[++i] : "";
    if (flag == "--seed" && ParseNumber(value)) {
      seed = ParseNumber(value);
    } else if (flag == "--mutations" && ParseNumber(value)) {
      mutations = ParseNumber(value);
    } else if (flag == "--jobs" && ParseNumber(value).value_or(0) > 0) {
      jobs = static_cast<unsigned>(*ParseNumber(value));
    } else if (flag == "--mutation" && simulation::IsMutation(value)) {
      simulation::SetMutation(value);
    } else if (const std::size_t dots = value.find(".."); flag == "--seeds" && dots != std::string_view::npos) {
      from = ParseNumber(value.substr(0, dots));
      to = ParseNumber(value.substr(dots + 2));
    } else {
      fmt::print(stderr, "error: {} {}\n  try: --seeds 1..1000 --jobs 2, --seed N --trace, --mutations 10000\n", flag,
                 value);
      return kUsage;
    }
  }
  ballast::base::Log().set_level(trace ? spdlog::level::debug : spdlog::level::off);
  if (mutations) return CatchMutations(*mutations, jobs);
  if (seed) {
    simulation::Schedule schedule(*seed, trace);
    const std::string problem = schedule.Play();
    if (problem.empty()) {
      fmt::print("seed {}: nothing broken in {} steps\n", *seed, schedule.figures().steps);
    } else {
      Print(Failure{*seed, problem});
    }
    return problem.empty() ? 0 : 1;
  }
  if (!from || !to || *from > *to) {
    fmt::print(stderr, "error: no seeds to play\n  try: --seeds 1..1000 --jobs 2\n");
    return kUsage;
  }
  const auto start = std::chrono::steady_clock::now();
  const Result result = PlayAll(*from, *to, jobs);
  Print(result.figures, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  if (result.failure) Print(*result.failure);
  return result.failure ? 1 : 0;
}
