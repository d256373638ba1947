// How fast the built-in loader brings a model into memory and uses it once, with the file in the page cache, beside
// `cat FILE >/dev/null`. The file is made first, and removed.
//
//   bench_model_load [SHAPE] [LEVEL] [DIRECTORY]   (defaults: qwen2.5-1.5b, Q4_K_M, /var/tmp)
//   bench_model_load --json                        as lines for figure_table.py
//
// Needs room for the file on the disk and twice in memory.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <limits>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "ballast/v1/runner.pb.h"
#include "common/base/child_process.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/units.h"
#include "common/gguf/synthetic_model.h"
#include "worker/model/load_execution.h"

namespace ballast::model {
namespace {

constexpr int kRounds = 5;

[[noreturn]] void Fail(std::string_view message) {
  fmt::print(stderr, "error: {}\n", message);
  std::exit(1);
}

// Adds the times of the stages up.
class StageTimes final : public LoadObserver {
 public:
  void OnPhase(const v1::Phase& /*phase*/) override {}
  void OnLoadBegin(const v1::LoadBegin& /*begin*/) override {}
  void OnEvent(const v1::Event& /*event*/) override {}
  void OnRuntime(pid_t /*pid*/) override {}
  void OnStage(const v1::LoadStage& stage) override {
    const double seconds = base::ToSeconds(base::FromProto(stage.duration()));
    if (stage.kind() == v1::LoadStage::PASSES) again_ += seconds;
    if (stage.kind() == v1::LoadStage::LOAD) load_ += seconds;
    if (stage.kind() == v1::LoadStage::FIRST_PASS) first_ += seconds;
  }
  [[nodiscard]] double load() const { return load_; }
  [[nodiscard]] double first() const { return first_; }
  [[nodiscard]] double again() const { return again_; }

 private:
  double load_ = 0;
  double first_ = 0;
  double again_ = 0;
};

StageTimes Load(const std::filesystem::path& file, v1::ModelLoad::Loader loader, unsigned threads) {
  v1::LoadTask task;
  task.add_paths(file.string());
  task.mutable_load()->set_loader(loader);
  task.mutable_load()->set_threads(threads);
  task.mutable_load()->set_cache(v1::WARM);
  task.mutable_load()->set_passes(1);
  StageTimes times;
  const v1::RunnerFinished finished = ExecuteLoad(task, base::RealClock().Monotonic(), &times, std::stop_token());
  if (finished.outcome() != v1::COMPLETED) Fail(finished.message());
  return times;
}

double Cat(const std::filesystem::path& file, int null) {
  const auto begun = base::RealClock().Monotonic();
  auto child = base::ChildProcess::Start({.argv = {"cat", file.string()}, .passed_fds = {{.from = null, .to = 1}}});
  if (!child.ok() || child->Wait()->exit_code != 0) Fail("cat failed");
  return base::ToSeconds(base::RealClock().Monotonic() - begun);
}

struct Figure {
  std::string name;
  v1::ModelLoad::Loader loader;
  unsigned threads;
  bool with_pass;
  bool has_goal;
  double seconds = std::numeric_limits<double>::max();
};

void Bench(const std::filesystem::path& file, const std::string& model, bool as_json) {
  const base::Fd null = base::OpenFile("/dev/null", O_WRONLY).value();
  const double bytes = static_cast<double>(std::filesystem::file_size(file));
  std::vector<Figure> figures = {
      {.name = "mmap and first pass, 1 thread",
       .loader = v1::ModelLoad::MMAP,
       .threads = 1,
       .with_pass = true,
       .has_goal = true},
      {.name = "mmap and first pass, 2 threads",
       .loader = v1::ModelLoad::MMAP,
       .threads = 2,
       .with_pass = true,
       .has_goal = false},
      {.name = "mmap+populate, first pass, 1 thread",
       .loader = v1::ModelLoad::MMAP_POPULATE,
       .threads = 1,
       .with_pass = true,
       .has_goal = false},
      // On all processors: pages have to be cleared before they are read into, which cat's buffer does not.
      {.name = "read", .loader = v1::ModelLoad::READ, .threads = 1, .with_pass = false, .has_goal = true},
  };
  double cat = std::numeric_limits<double>::max();
  double again = std::numeric_limits<double>::max();
  // In turn, so that the machine's moods hit all of them alike; the best round of each counts.
  for (int round = 0; round < kRounds; ++round) {
    for (Figure& figure : figures) {
      const StageTimes times = Load(file, figure.loader, figure.threads);
      figure.seconds = std::min(figure.seconds, times.load() + (figure.with_pass ? times.first() : 0));
      if (figure.threads == 1) again = std::min(again, times.again());
    }
    cat = std::min(cat, Cat(file, null.get()));
  }
  if (!as_json) {
    fmt::print("{}, {}, in the page cache\n", model, base::FormatBytes(static_cast<std::uint64_t>(bytes)));
    fmt::print("  {:36} {:6.2f} GB/s\n", "cat FILE >/dev/null", bytes / cat / 1e9);
    fmt::print("  {:36} {:6.2f} GB/s\n", "a pass over mapped weights, 1 thread", bytes / again / 1e9);
  }
  for (const Figure& figure : figures) {
    const double ratio = cat / figure.seconds;
    if (as_json) {
      fmt::print(R"({{"figure": "{}, warm", "measured": "{:.2f} GB/s", "peer": "cat FILE >/dev/null: {:.2f} GB/s", )"
                 R"("ratio": {:.4f}, "decides": {:.4f}{}}})"
                 "\n",
                 figure.name, bytes / figure.seconds / 1e9, bytes / cat / 1e9, ratio, ratio,
                 figure.has_goal ? R"(, "goal": [">=", 0.9])" : "");
    } else {
      fmt::print("  {:36} {:6.2f} GB/s {:6.2f} of cat{}\n", figure.name, bytes / figure.seconds / 1e9, ratio,
                 figure.has_goal ? "   goal >= 0.90" : "");
    }
  }
}

}  // namespace
}  // namespace ballast::model

int main(int argc, char** argv) {
  using namespace ballast;
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool as_json = std::erase(arguments, "--json") > 0;
  const auto shape = gguf::FindShape(!arguments.empty() ? arguments[0] : "qwen2.5-1.5b");
  const auto level = gguf::FindQuantLevel(arguments.size() > 1 ? arguments[1] : "Q4_K_M");
  if (!shape.ok() || !level.ok()) model::Fail((shape.ok() ? level.status() : shape.status()).ToString());
  const std::filesystem::path directory = arguments.size() > 2 ? arguments[2] : "/var/tmp";
  const std::filesystem::path file = directory / fmt::format("ballast-bench-{}.gguf", ::getpid());
  const auto written = gguf::WriteSyntheticModel(gguf::SyntheticModel(*shape, *level, 1), file, {});
  if (!written.ok()) model::Fail(written.status().ToString());
  model::Bench(file, fmt::format("{} {}", shape->name, gguf::NameOf(*level)), as_json);
  std::filesystem::remove(file);
  return 0;
}
