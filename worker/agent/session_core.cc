#include "worker/agent/session_core.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"

namespace ballast::agent {
namespace {

constexpr std::uint32_t kProtocolVersion = 1;
constexpr std::size_t kMaxHeldAttempts = 10'000;
constexpr std::size_t kMaxWaitingRejections = 64;
constexpr std::chrono::seconds kDefaultHeartbeat(2);
constexpr std::chrono::milliseconds kShortestHeartbeat(50);
constexpr std::chrono::seconds kClockProbeInterval(30);

}  // namespace

bool IsRefusal(const absl::Status& status) {
  return absl::IsAborted(status) || absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status) || absl::IsUnimplemented(status);
}

void CarryOut(const v1::CoordinatorMessage& message, RunTaker* runs, Spool* spool) {
  switch (message.content_case()) {
    case v1::CoordinatorMessage::kAssignment:
      runs->Assign(message.assignment());
      break;
    case v1::CoordinatorMessage::kCancel:
      runs->Cancel({message.cancel().run_id(), message.cancel().attempt()}, message.cancel().outcome(),
                   message.cancel().reason());
      break;
    case v1::CoordinatorMessage::kAck: {
      const v1::RecordAck& ack = message.ack();
      spool->Acknowledge({ack.run_id(), ack.attempt()},
                         std::span(ack.seqs().data(), static_cast<std::size_t>(ack.seqs_size())));
      break;
    }
    case v1::CoordinatorMessage::kRecordRejected: {
      const v1::RecordRejected& rejected = message.record_rejected();
      const AttemptKey key{rejected.run_id(), rejected.attempt()};
      runs->Cancel(key, v1::CANCELLED, fmt::format("the coordinator does not know this run: {}", rejected.reason()));
      spool->SetAside(key, rejected.reason());
      break;
    }
    case v1::CoordinatorMessage::kWelcome:
    case v1::CoordinatorMessage::kClockReading:
    case v1::CoordinatorMessage::CONTENT_NOT_SET:  // a message of a later version
      break;
  }
}

SessionCore::SessionCore(SessionIdentity identity, const Spool* spool, const RunTaker* runs, PeerClock* clock,
                         std::uint64_t seed)
    : identity_(std::move(identity)),
      spool_(spool),
      runs_(runs),
      clock_(clock),
      backoff_(identity_.reconnect_max, seed) {}

v1::WorkerMessage SessionCore::Begin(std::chrono::nanoseconds now, v1::DeviceFacts facts) {
  welcomed_ = false;
  began_ = now;
  rejections_.clear();
  progress_.reset();
  records_wait_ = true;
  clock_->BeginSession();

  v1::WorkerMessage message;
  v1::Hello* const hello = message.mutable_hello();
  hello->set_protocol_version(kProtocolVersion);
  hello->set_device_id(identity_.device_id);
  for (const auto& [key, value] : identity_.labels) (*hello->mutable_labels())[key] = value;
  hello->mutable_facts()->Swap(&facts);
  // In this order: an attempt that ends in between is still found in the spool.
  const std::optional<AttemptKey> active = runs_->active();
  std::vector<AttemptKey> held = spool_->Held();
  if (active) {
    std::erase(held, *active);
    held.insert(held.begin(), *active);
  }
  if (held.size() > kMaxHeldAttempts) held.resize(kMaxHeldAttempts);
  for (const AttemptKey& key : held) {
    v1::HeldAttempt* const attempt = hello->add_held_attempts();
    attempt->set_run_id(key.run_id);
    attempt->set_attempt(key.attempt);
    attempt->set_active(active == key);
  }
  return message;
}

SessionCore::Step SessionCore::Next(std::chrono::nanoseconds now) {
  Step step;
  if (!welcomed_) {
    step.until = began_ + identity_.welcome_timeout;
    if (now < step.until) return step;
    step.kind = Step::Kind::kEnd;
    step.problem = absl::DeadlineExceededError("the coordinator did not answer the hello");
    return step;
  }
  step.kind = Step::Kind::kSend;
  if (!rejections_.empty()) {
    step.message.mutable_assignment_rejected()->Swap(&rejections_.front());
    rejections_.pop_front();
  } else if (progress_) {
    step.message.mutable_progress()->Swap(&*progress_);
    progress_.reset();
  } else if (now >= next_heartbeat_) {
    next_heartbeat_ = now + heartbeat_interval_;
    step.message = Heartbeat(now);
  } else if (std::exchange(records_wait_, false)) {
    step.kind = Step::Kind::kRecord;  // one at a time, so that a heartbeat never waits behind a backlog
  } else {
    step.kind = Step::Kind::kWait;
    step.until = next_heartbeat_;
  }
  return step;
}

void SessionCore::RecordRead(bool found) {
  if (found) records_wait_ = true;
}

v1::WorkerMessage SessionCore::Heartbeat(std::chrono::nanoseconds now) {
  v1::WorkerMessage message;
  v1::Heartbeat* const heartbeat = message.mutable_heartbeat();
  if (const std::optional<AttemptKey> active = runs_->active()) {
    heartbeat->set_active_run_id(active->run_id);
    heartbeat->set_active_attempt(active->attempt);
  }
  heartbeat->set_spool_bytes(spool_->undelivered_bytes());
  if (const absl::Status status = spool_->disk_status(); !status.ok())
    heartbeat->set_storage_problem(std::string(status.message()));
  if (now - probe_time_ >= kClockProbeInterval) {
    probe_time_ = now;
    heartbeat->set_clock_probe(++clock_probe_);
  }
  return message;
}

void SessionCore::Hear(std::chrono::nanoseconds now, const v1::CoordinatorMessage& message) {
  if (message.has_welcome()) {
    const v1::Welcome& welcome = message.welcome();
    const std::chrono::nanoseconds asked = base::FromProto(welcome.heartbeat_interval());
    heartbeat_interval_ = asked > std::chrono::nanoseconds(0)
                              ? std::max<std::chrono::nanoseconds>(asked, kShortestHeartbeat)
                              : std::chrono::nanoseconds(kDefaultHeartbeat);
    next_heartbeat_ = now;
    probe_time_ = now - kClockProbeInterval;  // the first heartbeat asks: the welcome may have waited for a disk
    if (welcome.has_server_time()) clock_->Add(began_, now, base::FromProto(welcome.server_time()));
    welcomed_ = true;
  } else if (message.has_clock_reading() && message.clock_reading().clock_probe() == clock_probe_) {
    clock_->Add(probe_time_, now, base::FromProto(message.clock_reading().time()));
  }
}

void SessionCore::Tell(const v1::RunProgress& progress) {
  if (welcomed_) progress_ = progress;  // in the place of one that is still waiting: only the newest counts
}

void SessionCore::Tell(const v1::AssignmentRejected& rejected) {
  // Without a session it need not be said: the next hello shows that the attempt is not here.
  if (welcomed_ && rejections_.size() < kMaxWaitingRejections) rejections_.push_back(rejected);
}

std::chrono::milliseconds SessionCore::End(const absl::Status& status) {
  const bool welcomed = std::exchange(welcomed_, false);
  if (IsRefusal(status)) return backoff_.NextAfterRefusal();
  if (welcomed) backoff_.Reset();
  return backoff_.Next();
}

}  // namespace ballast::agent
