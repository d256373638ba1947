#include "cli/follow_job.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/render/progress.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/next_step.h"
#include "common/base/status.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kFirstPause(100);
constexpr milliseconds kLongestPause(5'000);
constexpr milliseconds kReconnectPatience(300'000);
// What a job waits for is asked for when nothing was heard of it for so long.
constexpr milliseconds kQuiet(3'000);
// While the answer stays the same the pauses double, up to this: many may follow jobs of a busy fleet.
constexpr milliseconds kLongestQuiet(30'000);
constexpr milliseconds kAskTimeout(1'000);
// Between two tries to have the certificate renewed.
constexpr milliseconds kRenewalPause(60'000);
// The longest wait for the time of its renewal: the wall clock goes on while the machine sleeps, and waits do not.
constexpr milliseconds kLongestRenewalWait(600'000);

struct StreamEnded {
  absl::Status status;
};
struct Interrupted {};
struct ChildEnded {};
using FollowEvent = std::variant<v1::JobUpdate, StreamEnded, Interrupted, ChildEnded>;

// What the reader, the interrupts and the child watch hand to the main thread. Thread-safe.
class EventQueue {
 public:
  void Push(FollowEvent event) {
    const std::scoped_lock lock(mutex_);
    events_.push_back(std::move(event));
    arrived_.notify_one();
  }
  // Waits for at most `timeout`, or as long as it takes; nothing when that is over.
  std::optional<FollowEvent> Pop(std::optional<nanoseconds> timeout) {
    std::unique_lock lock(mutex_);
    const auto any = [this] { return !events_.empty(); };
    if (!timeout) {
      arrived_.wait(lock, any);
    } else if (!arrived_.wait_for(lock, *timeout, any)) {
      return std::nullopt;
    }
    FollowEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<FollowEvent> events_;
};

// One watch stream, read on a thread of its own into a queue that outlives it.
class WatchReader {
 public:
  WatchReader(Session& session, const std::string& job_id, EventQueue& queue)
      : reader_(session.Watch(&context_, job_id)), thread_([this, &queue] {
          v1::JobUpdate update;
          while (reader_->Read(&update)) queue.Push(std::move(update));
          queue.Push(StreamEnded{rpc::FromGrpc(reader_->Finish())});
        }) {}
  ~WatchReader() { context_.TryCancel(); }
  WatchReader(const WatchReader&) = delete;
  WatchReader& operator=(const WatchReader&) = delete;

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::JobUpdate>> reader_;
  std::jthread thread_;  // joined before the members above go
};

// Tells the queue, once, that one of the owner's children has ended: a stream that only goes quiet says nothing of it.
class ChildWatch {
 public:
  ChildWatch(const std::vector<int>& child_fds, EventQueue& queue) : stop_(::eventfd(0, EFD_CLOEXEC)) {
    // Duplicates, because the owner of the children closes its own when it starts one again.
    for (const int fd : child_fds) fds_.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    thread_ = std::jthread([this, &queue] { Listen(queue); });
  }
  ~ChildWatch() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(stop_.get(), &one, sizeof one);
  }
  ChildWatch(const ChildWatch&) = delete;
  ChildWatch& operator=(const ChildWatch&) = delete;

 private:
  void Listen(EventQueue& queue) {
    std::vector<pollfd> polled = {{stop_.get(), POLLIN, 0}};
    for (const base::Fd& fd : fds_) polled.push_back({fd.get(), POLLIN, 0});
    while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
    }
    if (polled.front().revents == 0) queue.Push(ChildEnded{});
  }

  base::Fd stop_;
  std::vector<base::Fd> fds_;
  std::jthread thread_;  // joined before the members above go
};

bool Ended(const v1::Job& job) {
  return job.state() == v1::Job::FINISHED || job.state() == v1::Job::CANCELLED;
}

class Follower {
 public:
  Follower(std::string job_id, Session& session, Context& context)
      : job_id_(std::move(job_id)),
        session_(session),
        context_(context),
        printer_(context.err, context.terminal, context.clock),
        connected_with_(session.renewal_time()) {}

  absl::StatusOr<FollowedJob> Follow() {
    const Interrupts::Scope scope(context_.interrupts, [this] { queue_.Push(Interrupted{}); });
    WatchChildren();
    auto reader = std::make_unique<WatchReader>(session_, job_id_, queue_);
    while (true) {
      DoWhatIsDue();
      const std::optional<FollowEvent> event = queue_.Pop(UntilDue());
      if (!event) continue;
      if (const auto* update = std::get_if<v1::JobUpdate>(&*event)) {
        pause_ = kFirstPause;
        lost_ = false;
        connected_anew_ = false;
        heard_at_ = context_.clock.Monotonic();
        quiet_ = kQuiet;
        printer_.Update(*update);
      } else if (std::holds_alternative<Interrupted>(*event)) {
        if (!TakeInterrupt()) return Result(/*ended=*/false);
      } else if (std::holds_alternative<ChildEnded>(*event)) {
        // Where it was the coordinator the stream ends as well, and is opened again then.
        BALLAST_RETURN_IF_ERROR(RestartEnded());
        WatchChildren();
      } else {
        const absl::Status status = std::get<StreamEnded>(*event).status;
        reader.reset();
        if (Ended(printer_.progress().job())) {
          // What comes after the job, its report for instance, must not meet the end of the certificate before.
          if (session_.renewal_time() != connected_with_) (void)ConnectWithKept();
          return Result(/*ended=*/true);
        }
        BALLAST_RETURN_IF_ERROR(Recover(status));
        WatchChildren();
        reader = std::make_unique<WatchReader>(session_, job_id_, queue_);
      }
    }
  }

 private:
  FollowedJob Result(bool ended) const {
    FollowedJob result{.job = printer_.progress().job(),
                       .runs = printer_.progress().Runs(),
                       .ended = ended,
                       .interrupted = interrupts_ > 0};
    // An interrupt may come before the first update.
    result.job.set_job_id(job_id_);
    return result;
  }

  // When (Clock::Monotonic) the certificate is to be renewed; nothing where there is none.
  std::optional<nanoseconds> RenewalDue(nanoseconds now) const {
    const std::optional<base::SystemTime> time = session_.renewal_time();
    if (!time) return std::nullopt;
    const nanoseconds left = std::clamp<nanoseconds>(*time - context_.clock.Now(), nanoseconds(0), kLongestRenewalWait);
    return std::max(now + left, renewal_tried_at_ + kRenewalPause);
  }

  // When the coordinator is to be asked what the job waits for; nothing while updates say what goes on.
  std::optional<nanoseconds> QuestionDue() const {
    if (!printer_.progress().OnlyWaits()) return std::nullopt;
    return heard_at_ + quiet_;
  }

  // How long nothing has to be done if nothing happens; nothing: for ever.
  std::optional<nanoseconds> UntilDue() const {
    const nanoseconds now = context_.clock.Monotonic();
    std::optional<nanoseconds> left;
    for (const std::optional<nanoseconds>& due : {printer_.redraw_due(), QuestionDue(), RenewalDue(now)}) {
      if (due) left = std::min(left.value_or(nanoseconds::max()), std::max(*due - now, nanoseconds(0)));
    }
    return left;
  }

  void DoWhatIsDue() {
    const nanoseconds now = context_.clock.Monotonic();
    const auto is_due = [now](const std::optional<nanoseconds>& due) { return due && *due <= now; };
    if (is_due(printer_.redraw_due())) printer_.DrawOwed();
    if (is_due(QuestionDue())) AskWhatItWaitsFor();
    if (is_due(RenewalDue(now))) {
      const std::optional<base::SystemTime> before = session_.renewal_time();
      session_.RenewCertificate([this](const std::string& text) { printer_.Note(text); });
      // Only what came to nothing is not tried again at once.
      renewal_tried_at_ = session_.renewal_time() == before ? now : -kRenewalPause;
    }
  }

  // No update comes when only that changes. What goes wrong does not matter: it is asked again, and the stream shows
  // it.
  void AskWhatItWaitsFor() {
    const auto context = rpc::MakeContext(kAskTimeout);
    const Interrupts::Scope scope(context_.interrupts, [&context] { context->TryCancel(); });
    const absl::StatusOr<v1::Job> job = session_.GetJob(context.get(), job_id_);
    const bool news = job.ok() && printer_.UpdateWaitReasons(*job);
    quiet_ = news ? kQuiet : std::min(quiet_ * 2, kLongestQuiet);
    heard_at_ = context_.clock.Monotonic();
  }

  // False: stop following.
  bool TakeInterrupt() {
    ++interrupts_;
    // A watching guest may have become the owner meanwhile.
    if (!session_.owner() || interrupts_ > 1) {
      session_.GiveUpGracefulEnd();
      return false;
    }
    context_.interrupts.Acknowledge();
    printer_.Note("cancelling; once more to stop at once");
    cancel_wanted_ = true;
    Cancel();
    return true;
  }

  // Asks once; what goes wrong shows on the watch stream as well, and Recover asks again.
  void Cancel() {
    const auto context = rpc::MakeContext(std::chrono::seconds(5));
    const Interrupts::Scope scope(context_.interrupts, [&context] { context->TryCancel(); });
    const absl::Status status = session_.Cancel(context.get(), job_id_);
    if (!status.ok() && !context_.interrupts.pending())
      printer_.Note(fmt::format("the job could not be cancelled: {}", std::string(status.message())));
    cancel_wanted_ = !status.ok();
  }

  void WatchChildren() {
    children_.reset();
    if (session_.owner()) children_ = std::make_unique<ChildWatch>(session_.ChildFds(), queue_);
  }

  // The worker's journal tells the coordinator what became of its run when it comes back.
  absl::Status RestartEnded() {
    const absl::Status status = session_.RestartEnded([this](const std::string& text) { printer_.Note(text); });
    // An interrupt is in the queue and decides what happens next.
    return absl::IsCancelled(status) && context_.interrupts.pending() ? absl::OkStatus() : status;
  }

  // After the stream has ended although the job has not: OK when it is worth another try.
  absl::Status Recover(const absl::Status& status) {
    // A session has just looked for its certificate when its first stream is refused.
    if (absl::IsUnauthenticated(status) && !printer_.progress().job().job_id().empty()) return ConnectAnew(status);
    // A stream that ends in order without the job's end is a coordinator that stops.
    if (!status.ok() && !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status))
      return session_.Explain(status);
    const auto now = std::chrono::steady_clock::now();
    if (!std::exchange(lost_, true)) {
      lost_since_ = now;
      printer_.Note("lost the coordinator; connecting again");
    } else if (now - lost_since_ > kReconnectPatience) {
      return session_.Explain(absl::UnavailableError(
          fmt::format("away for {}",
                      base::FormatDuration(std::chrono::duration_cast<std::chrono::nanoseconds>(now - lost_since_)))));
    }
    if (context_.interrupts.WaitFor(pause_)) return absl::OkStatus();  // the queue has it
    pause_ = std::min(pause_ * 2, kLongestPause);
    if (session_.owner()) BALLAST_RETURN_IF_ERROR(RestartEnded());
    const absl::Status again = session_.Reconnect();
    if (again.ok() && session_.owner() && session_.local_device().empty()) {
      // The command that ran this job is gone, and this one has taken its place.
      BALLAST_RETURN_IF_ERROR(session_.StartWorker());
    }
    if (again.ok() && cancel_wanted_) Cancel();
    return absl::OkStatus();
  }

  // After the coordinator has refused the certificate of the connection: OK when it is worth a try with the one that is
  // kept now.
  absl::Status ConnectAnew(const absl::Status& refused) {
    if (std::exchange(connected_anew_, true)) return ButTheJobGoesOn(session_.Explain(refused));
    printer_.Note(fmt::format("{}; connecting again with the one that is kept now", std::string(refused.message())));
    const absl::Status status = ConnectWithKept();
    // Where it cannot be reached the next stream ends at once, and that is waited for. An interrupt is in the queue.
    if (status.ok() || absl::IsUnavailable(status) || context_.interrupts.pending()) return absl::OkStatus();
    return ButTheJobGoesOn(status);
  }

  absl::Status ConnectWithKept() {
    const absl::Status status = session_.ConnectAnew([this](const std::string& text) { printer_.Note(text); });
    connected_with_ = session_.renewal_time();
    return status;
  }

  absl::Status ButTheJobGoesOn(const absl::Status& status) const {
    const std::string follow = fmt::format("ballast watch {} follows it again", job_id_);
    const std::optional<std::string> step = base::NextStepOf(status);
    return WithNextStep(
        absl::Status(status.code(), fmt::format("{}; job {} goes on", std::string(status.message()), job_id_)),
        step ? fmt::format("{}; then {}", *step, follow) : follow);
  }

  std::string job_id_;
  Session& session_;
  Context& context_;
  ProgressPrinter printer_;
  EventQueue queue_;
  std::unique_ptr<ChildWatch> children_;
  int interrupts_ = 0;
  bool cancel_wanted_ = false;
  bool lost_ = false;
  std::optional<base::SystemTime> connected_with_;  // the time of renewal of the connection's certificate
  bool connected_anew_ = false;                     // since the last update, because of the certificate
  nanoseconds heard_at_{0};                         // of the job: the last update or answer
  milliseconds quiet_ = kQuiet;                     // from then until it is asked
  nanoseconds renewal_tried_at_{-kRenewalPause};
  std::chrono::steady_clock::time_point lost_since_;
  milliseconds pause_ = kFirstPause;
};

}  // namespace

absl::StatusOr<FollowedJob> FollowJob(const std::string& job_id, Session& session, Context& context) {
  return Follower(job_id, session, context).Follow();
}

}  // namespace ballast::cli
