#include "ballast/memory_guard.h"

#include <unistd.h>
#include <limits>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/field_rules.h"
#include "common/os/file_reader.h"
#include "common/os/procfs.h"
#include "worker/guard/memory_guard.h"
#include "worker/memory/local_models.h"
#include "worker/memory/memory_monitor.h"
#include "worker/memory/quantization_advice.h"
#include "worker/memory/reclaim.h"
#include "worker/memory/signal_block.h"

namespace ballast {
namespace {

using std::chrono::nanoseconds;

constexpr double kMinAvailablePercent = 5;
constexpr std::chrono::milliseconds kShortestInterval(10);
constexpr std::chrono::hours kLongestInterval(1);
constexpr std::size_t kMostActs = 500;
constexpr std::size_t kMostWaiting = 64;

}  // namespace

// The guard's thread sees and notes; a second thread, which may allocate and wait, takes samples and calls back.
class MemoryGuard::Impl final : public guard::GuardedLoad, public guard::GuardListener {
 public:
  Impl(MemoryGuardOptions options, std::unique_ptr<memory::LocalModels> models,
       std::unique_ptr<memory::MemoryMonitor> monitor)
      : options_(std::move(options)),
        models_(std::move(models)),
        monitor_(std::move(monitor)),
        statm_(os::FileReader::OpenOptional("/proc/self/statm")) {}
  ~Impl() override { Stop(); }

  void SetCallback(Callback Impl::*which, Callback callback) {
    const std::scoped_lock lock(mutex_);
    this->*which = std::move(callback);
  }

  absl::Status Start() {
    const std::scoped_lock lifecycle(lifecycle_mutex_);
    if (thread_.joinable()) return absl::OkStatus();
    std::unique_ptr<guard::MemoryGuard> guard;
    if (options_.thresholds.mode() != v1::GuardSpec::OFF) {
      guard::GuardOptions guard_options{.thresholds = guard::ThresholdsOf(options_.thresholds, 0, 0),
                                        .root = options_.root};
      guard_options.thresholds.can_end = false;
      BALLAST_ASSIGN_OR_RETURN(guard, guard::MemoryGuard::Open(guard_options, this, this));
    }
    {
      const std::scoped_lock lock(mutex_);
      start_ = base::RealClock().Monotonic();
      waiting_count_ = 0;
      stopping_ = false;
      acts_.clear();
    }
    {
      const std::scoped_lock lock(monitor_mutex_);
      monitor_->Begin();
    }
    guard_ = std::move(guard);
    const memory::SignalBlock block;
    thread_ = std::thread([this] { Loop(); });
    if (guard_) guard_->Start();
    monitoring_ = true;
    return absl::OkStatus();
  }

  void Stop() {
    const std::scoped_lock lifecycle(lifecycle_mutex_);
    if (!thread_.joinable()) return;
    if (guard_) guard_->Stop();
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    thread_.join();
    guard_.reset();
    monitoring_ = false;
  }

  [[nodiscard]] bool monitoring() const { return monitoring_; }

  absl::StatusOr<v1::MemoryReading> Read() {
    const std::scoped_lock lock(monitor_mutex_);
    return monitor_->Read();
  }

  [[nodiscard]] const std::shared_ptr<memory::Reclaim>& reclaim() const { return reclaim_; }

  v1::OptimiseResult Optimise() {
    v1::OptimiseResult result = reclaim_->Run();
    const std::scoped_lock lock(mutex_);
    last_optimisation_ = result;
    return result;
  }

  // `environment_bytes`: the memory of an environment that is empty; 0 for the memory that there is.
  absl::StatusOr<v1::QuantizationAdvice> Advise(const std::string& model_id, std::vector<memory::CandidateLevel> levels,
                                                std::uint64_t environment_bytes = 0) {
    BALLAST_ASSIGN_OR_RETURN(const v1::MemoryReading reading, Read());
    const std::uint64_t all = environment_bytes > 0 ? environment_bytes : std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t limit = std::min(all, reading.limit_bytes());
    const std::uint64_t available = std::min(all, reading.available_bytes());
    const double kept = options_.thresholds.min_available_percent() / 100 * static_cast<double>(limit);
    const auto kept_bytes = static_cast<std::uint64_t>(kept);
    return memory::Advise(model_id, std::move(levels), available - std::min(available, kept_bytes));
  }

  absl::StatusOr<v1::QuantizationAdvice> Advise(const std::string& asked_model_id, std::uint64_t environment_bytes) {
    const std::string& model_id = asked_model_id.empty() ? models_->first_model_id() : asked_model_id;
    BALLAST_ASSIGN_OR_RETURN(auto described, models_->DescribeLevels(model_id));
    std::vector<memory::CandidateLevel> levels;
    for (auto& level : described) levels.push_back({std::move(level.quant), std::move(level.description)});
    return Advise(model_id, std::move(levels), environment_bytes);
  }

  absl::Status Fill(v1::MemoryReport* report) {
    {
      const std::scoped_lock lock(monitor_mutex_);
      BALLAST_ASSIGN_OR_RETURN(*report->mutable_now(), monitor_->Read());
      *report->mutable_time() = report->now().time();
      monitor_->Fill(report);
    }
    report->set_monitoring(monitoring_);
    const std::scoped_lock lock(mutex_);
    for (const v1::GuardAct& act : acts_) *report->add_guard_acts() = act;
    if (last_optimisation_) *report->mutable_last_optimisation() = *last_optimisation_;
    return absl::OkStatus();
  }

  // The guard's thread; nothing here allocates or waits. This program is the load, and cannot be asked to end.
  std::optional<std::uint64_t> HeldBytes() override {
    const std::optional<std::string_view> text = statm_.Read(statm_buffer_);
    const auto pages = text ? os::ParseProcessStatm(*text) : std::nullopt;
    return pages ? pages->resident_pages * page_bytes_ : 0;
  }
  void AskToShrink(std::uint64_t /*bytes*/, nanoseconds /*pause*/) override {}
  void AskToRelease() override {}
  void Kill() override {}
  void OnAct(const guard::Act& act) override {
    const std::scoped_lock lock(mutex_);
    // Where the callbacks take so long, what is asked again says the same.
    if (waiting_count_ == waiting_.size()) return;
    waiting_[waiting_count_++] = act;
    changed_.notify_all();
  }
  void OnTrigger(nanoseconds /*time*/, std::chrono::microseconds /*stall*/,
                 std::chrono::microseconds /*window*/) override {}

  Callback on_warning_;  // guarded by mutex_, as on_act_
  Callback on_act_;

 private:
  void Loop() {
    nanoseconds next_sample = start_;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      const std::vector<guard::Act> acts(waiting_.begin(),
                                         waiting_.begin() + static_cast<std::ptrdiff_t>(waiting_count_));
      waiting_count_ = 0;
      lock.unlock();
      const nanoseconds now = base::RealClock().Monotonic();
      if (now >= next_sample) {
        TakeSample();
        // Samples that were missed are not made up for.
        next_sample = std::max(next_sample + options_.sample_interval, now);
      }
      for (const guard::Act& act : acts) TellOf(act);
      lock.lock();
      const nanoseconds wait = next_sample - base::RealClock().Monotonic();
      changed_.wait_for(lock, std::max(wait, nanoseconds(0)), [this] { return stopping_ || waiting_count_ > 0; });
    }
  }

  void TakeSample() {
    const std::scoped_lock lock(monitor_mutex_);
    const absl::StatusOr<v1::MemoryReading> reading = monitor_->Read();
    if (reading.ok()) monitor_->Add(base::RealClock().Monotonic(), *reading);
  }

  void TellOf(const guard::Act& act) {
    v1::GuardAct told;
    *told.mutable_offset() = base::ToProto(act.time - start_);
    told.set_action(act.action);
    told.set_signal(act.signal);
    told.set_value(act.value);
    told.set_threshold(act.threshold);
    const bool warning = act.action == v1::GuardAct::WARNED;
    if (!warning && options_.optimise_on_act) {
      *told.mutable_reaction() = base::ToProto(base::RealClock().Monotonic() - act.time);
      (void)Optimise();
    }
    Callback callback;
    {
      const std::scoped_lock lock(mutex_);
      acts_.push_back(told);
      if (acts_.size() > kMostActs) acts_.pop_front();
      callback = warning ? on_warning_ : on_act_;
    }
    if (!callback) return;
    const absl::StatusOr<v1::MemoryReading> reading = Read();
    callback(told, reading.ok() ? *reading : v1::MemoryReading());
  }

  const MemoryGuardOptions options_;
  const std::unique_ptr<memory::LocalModels> models_;
  const std::shared_ptr<memory::Reclaim> reclaim_ = std::make_shared<memory::Reclaim>();

  std::mutex monitor_mutex_;
  const std::unique_ptr<memory::MemoryMonitor> monitor_;  // guarded by monitor_mutex_

  // Of the guard's thread.
  os::FileReader statm_;
  std::array<char, 256> statm_buffer_{};
  const std::uint64_t page_bytes_ = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<guard::Act, kMostWaiting> waiting_;  // the first `waiting_count_`
  std::size_t waiting_count_ = 0;
  std::deque<v1::GuardAct> acts_;
  std::optional<v1::OptimiseResult> last_optimisation_;
  nanoseconds start_{0};
  bool stopping_ = false;

  std::mutex lifecycle_mutex_;
  std::atomic<bool> monitoring_ = false;
  std::unique_ptr<guard::MemoryGuard> guard_;
  std::thread thread_;
};

Droppable& Droppable::operator=(Droppable&& other) noexcept {
  if (this != &other) {
    if (remove_) remove_();
    remove_ = std::exchange(other.remove_, nullptr);
  }
  return *this;
}

Droppable::~Droppable() {
  if (remove_) remove_();
}

absl::StatusOr<std::unique_ptr<MemoryGuard>> MemoryGuard::Create(MemoryGuardOptions options) {
  if (options.sample_interval < kShortestInterval || options.sample_interval > kLongestInterval) {
    return absl::InvalidArgumentError(
        fmt::format("sample_interval: {} ms; it is from 10 ms to 1 h", options.sample_interval.count()));
  }
  if (options.thresholds.min_available_percent() == 0) {
    options.thresholds.set_min_available_percent(kMinAvailablePercent);
  }
  config::ApplyDefaults(&options.thresholds);
  BALLAST_RETURN_IF_ERROR(config::Validate(options.thresholds));
  // Only descriptions are asked for, so no digest is worth keeping.
  BALLAST_ASSIGN_OR_RETURN(auto models, memory::LocalModels::Open(options.model_catalogue, {}));
  BALLAST_ASSIGN_OR_RETURN(auto monitor, memory::MemoryMonitor::Open(options.root));
  return std::unique_ptr<MemoryGuard>(
      new MemoryGuard(std::make_unique<Impl>(std::move(options), std::move(models), std::move(monitor))));
}

MemoryGuard::MemoryGuard(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

MemoryGuard::~MemoryGuard() = default;

void MemoryGuard::OnWarning(Callback callback) {
  impl_->SetCallback(&Impl::on_warning_, std::move(callback));
}

void MemoryGuard::OnAct(Callback callback) {
  impl_->SetCallback(&Impl::on_act_, std::move(callback));
}

absl::Status MemoryGuard::Start() {
  return impl_->Start();
}

void MemoryGuard::Stop() {
  impl_->Stop();
}

bool MemoryGuard::monitoring() const {
  return impl_->monitoring();
}

absl::StatusOr<v1::MemoryReading> MemoryGuard::Read() {
  return impl_->Read();
}

Droppable MemoryGuard::AddDroppable(std::string name, int priority, std::function<std::uint64_t()> drop) {
  const std::shared_ptr<memory::Reclaim> reclaim = impl_->reclaim();
  const auto entry = reclaim->Add(std::move(name), priority, std::move(drop));
  return Droppable([reclaim, entry] { reclaim->Remove(entry); });
}

v1::OptimiseResult MemoryGuard::Optimise() {
  return impl_->Optimise();
}

absl::StatusOr<v1::QuantizationAdvice> MemoryGuard::AdviseQuantization(const std::string& model_id,
                                                                       std::uint64_t environment_bytes) {
  return impl_->Advise(model_id, environment_bytes);
}

absl::StatusOr<v1::QuantizationAdvice> MemoryGuard::AdviseQuantization(std::span<const v1::ModelDescription> levels) {
  std::vector<memory::CandidateLevel> candidates;
  for (const v1::ModelDescription& level : levels) candidates.push_back({level.quant(), level});
  return impl_->Advise("", std::move(candidates));
}

absl::Status MemoryGuard::Fill(v1::MemoryReport* report) {
  return impl_->Fill(report);
}

}  // namespace ballast
