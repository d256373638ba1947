#include "worker/agent/session/session.h"

#include <algorithm>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"

namespace ballast::agent {
namespace {

constexpr std::uint32_t kProtocolVersion = 1;
constexpr std::size_t kMaxHeldAttempts = 10'000;
constexpr std::size_t kMaxWaitingRejections = 64;
constexpr std::chrono::seconds kDefaultHeartbeat(2);
constexpr std::chrono::milliseconds kShortestHeartbeat(50);
// How long the coordinator may take to answer the end of the stream.
constexpr std::chrono::milliseconds kGoodbyeTimeout(300);

// Refusals that will be the same again until a person changes something.
bool IsRefusal(const absl::Status& status) {
  return absl::IsAborted(status) || absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status) || absl::IsUnimplemented(status);
}

}  // namespace

Session::Session(SessionOptions options, Spool* spool, RunSupervisor* supervisor)
    : options_(std::move(options)),
      spool_(spool),
      supervisor_(supervisor),
      reader_(spool),
      backoff_(options_.reconnect_max, std::random_device()()) {
  spool_->SetListener([this] {
    const std::scoped_lock lock(mutex_);
    outbox_.records = true;
    changed_.notify_all();
  });
  supervisor_->SetListener(this);
  thread_ = std::jthread([this] { Loop(); });
}

Session::~Session() {
  Stop(std::chrono::milliseconds(0));
}

bool Session::Stop(std::chrono::milliseconds deliver) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, deliver, [this] { return stopping_ || !welcomed_ || spool_->unacknowledged_bytes() == 0; });
    stopping_ = true;
    changed_.notify_all();
    // A session that is still being set up has nothing to say goodbye to; one that hangs gets no longer.
    const std::chrono::milliseconds patience = welcomed_ ? 2 * kGoodbyeTimeout : std::chrono::milliseconds(0);
    changed_.wait_for(lock, patience, [this] { return context_ == nullptr; });
    if (context_ != nullptr) context_->TryCancel();
  }
  supervisor_->SetListener(nullptr);
  spool_->SetListener(nullptr);
  if (thread_.joinable()) thread_.join();
  return spool_->unacknowledged_bytes() == 0;
}

std::uint64_t Session::welcome_count() const {
  const std::scoped_lock lock(mutex_);
  return welcome_count_;
}

void Session::OnProgress(const v1::RunProgress& progress) {
  const std::scoped_lock lock(mutex_);
  if (!welcomed_) return;
  outbox_.progress = progress;  // in the place of one that is still waiting: only the newest counts
  changed_.notify_all();
}

void Session::OnRejected(const v1::AssignmentRejected& rejected) {
  const std::scoped_lock lock(mutex_);
  // Without a session it need not be said: the next hello shows that the attempt is not here.
  if (!welcomed_ || outbox_.rejections.size() >= kMaxWaitingRejections) return;
  outbox_.rejections.push_back(rejected);
  changed_.notify_all();
}

void Session::Loop() {
  while (true) {
    const std::uint64_t welcomes_before = welcome_count();
    const absl::Status status = RunOnce();
    std::unique_lock lock(mutex_);
    if (stopping_) return;
    const std::chrono::milliseconds wait = WaitBeforeNext(status, welcome_count_ > welcomes_before);
    lock.unlock();
    Explain(status);
    lock.lock();
    changed_.wait_for(lock, wait, [this] { return stopping_; });
    if (stopping_) return;
  }
}

std::chrono::milliseconds Session::WaitBeforeNext(const absl::Status& status, bool welcomed) {
  if (IsRefusal(status)) return backoff_.NextAfterRefusal();
  if (welcomed) {
    backoff_.Reset();
    last_problem_.clear();
  }
  return backoff_.Next();
}

void Session::Explain(const absl::Status& status) {
  std::string problem(status.message());
  if (absl::IsAborted(status)) {
    base::Log().error(
        "another worker connects as device '{}' ({}); two machines must not share an identifier: give one of them its "
        "own "
        "with --device-id, or remove the file device_id from its data directory if that was copied",
        options_.device_id, problem);
    return;
  }
  if (problem == last_problem_) {
    base::Log().debug("coordinator {}: {}", options_.coordinator, problem);
    return;
  }
  base::Log().log(IsRefusal(status) ? spdlog::level::err : spdlog::level::warn,
                  "coordinator {}: {}; trying again from now on, at most {} s apart", options_.coordinator, problem,
                  std::chrono::ceil<std::chrono::seconds>(options_.reconnect_max).count());
  last_problem_ = std::move(problem);
}

absl::Status Session::RunOnce() {
  const v1::WorkerMessage hello = MakeHello();
  BALLAST_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                           rpc::CreateChannel(options_.coordinator, options_.insecure));
  const std::unique_ptr<v1::WorkerService::Stub> stub = v1::WorkerService::NewStub(channel);
  grpc::ClientContext context;  // without a deadline: a session lasts as long as it can
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return absl::CancelledError("the worker is stopping");
    context_ = &context;
    ended_ = false;
    outbox_ = {};
    outbox_.records = true;
  }
  reader_.Rewind();
  const std::unique_ptr<Stream> stream = stub->Connect(&context);
  absl::Status problem;
  {
    const std::jthread listener([this, raw = stream.get()] { Listen(raw); });
    problem = stream->Write(hello) ? Talk(stream.get()) : absl::OkStatus();
    // Where this side ends the session, the other gets the time to take what was written before.
    stream->WritesDone();
    std::unique_lock lock(mutex_);
    if (problem.ok()) changed_.wait_for(lock, kGoodbyeTimeout, [this] { return ended_; });
    if (!ended_) context.TryCancel();
  }
  const grpc::Status status = stream->Finish();
  {
    const std::scoped_lock lock(mutex_);
    context_ = nullptr;
    welcomed_ = false;
    changed_.notify_all();
  }
  if (!problem.ok()) return problem;
  if (status.ok()) return absl::UnavailableError("the coordinator ended the session");
  return rpc::FromGrpc(status);
}

v1::WorkerMessage Session::MakeHello() const {
  v1::WorkerMessage message;
  v1::Hello* const hello = message.mutable_hello();
  hello->set_protocol_version(kProtocolVersion);
  hello->set_device_id(options_.device_id);
  for (const auto& [key, value] : options_.labels) (*hello->mutable_labels())[key] = value;
  *hello->mutable_facts() = options_.facts();
  // In this order: an attempt that ends in between is still found in the spool.
  const std::optional<AttemptKey> active = supervisor_->active();
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

absl::Status Session::Talk(Stream* stream) {
  BALLAST_RETURN_IF_ERROR(WaitForWelcome());
  auto next_heartbeat = std::chrono::steady_clock::now();
  while (true) {
    Outbox out;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_until(lock, next_heartbeat, [this] {
        return ended_ || stopping_ || outbox_.records || outbox_.progress || !outbox_.rejections.empty();
      });
      if (ended_ || stopping_) return absl::OkStatus();
      out = std::exchange(outbox_, {});
    }
    for (v1::AssignmentRejected& rejected : out.rejections) {
      v1::WorkerMessage message;
      *message.mutable_assignment_rejected() = std::move(rejected);
      if (!stream->Write(message)) return absl::OkStatus();
    }
    if (out.progress) {
      v1::WorkerMessage message;
      *message.mutable_progress() = *std::move(out.progress);
      if (!stream->Write(message)) return absl::OkStatus();
    }
    if (std::chrono::steady_clock::now() >= next_heartbeat) {
      if (!SendHeartbeat(stream)) return absl::OkStatus();
      const std::scoped_lock lock(mutex_);
      next_heartbeat = std::chrono::steady_clock::now() + heartbeat_interval_;
    }
    if (!out.records) continue;
    // One at a time, so that a heartbeat never waits behind a backlog.
    std::optional<v1::Record> record = reader_.Next();
    if (!record) continue;
    v1::WorkerMessage message;
    *message.mutable_record() = *std::move(record);
    if (!stream->Write(message)) return absl::OkStatus();
    const std::scoped_lock lock(mutex_);
    outbox_.records = true;
  }
}

absl::Status Session::WaitForWelcome() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, options_.welcome_timeout, [this] { return welcomed_ || ended_ || stopping_; });
  if (welcomed_ || ended_ || stopping_) return absl::OkStatus();
  return absl::DeadlineExceededError("the coordinator did not answer the hello");
}

bool Session::SendHeartbeat(Stream* stream) {
  v1::WorkerMessage message;
  v1::Heartbeat* const heartbeat = message.mutable_heartbeat();
  if (const std::optional<AttemptKey> active = supervisor_->active()) {
    heartbeat->set_active_run_id(active->run_id);
    heartbeat->set_active_attempt(active->attempt);
  }
  heartbeat->set_spool_bytes(spool_->unacknowledged_bytes());
  return stream->Write(message);
}

void Session::Listen(Stream* stream) {
  v1::CoordinatorMessage message;
  while (stream->Read(&message)) Handle(message);
  const std::scoped_lock lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

void Session::Handle(const v1::CoordinatorMessage& message) {
  switch (message.content_case()) {
    case v1::CoordinatorMessage::kWelcome: {
      base::Log().info("connected to coordinator {} (version {}) as device {}", options_.coordinator,
                       message.welcome().coordinator_version(), options_.device_id);
      const std::chrono::nanoseconds asked = base::FromProto(message.welcome().heartbeat_interval());
      const std::scoped_lock lock(mutex_);
      heartbeat_interval_ = asked > std::chrono::nanoseconds(0)
                                ? std::max<std::chrono::nanoseconds>(asked, kShortestHeartbeat)
                                : std::chrono::nanoseconds(kDefaultHeartbeat);
      welcomed_ = true;
      ++welcome_count_;
      changed_.notify_all();
      break;
    }
    case v1::CoordinatorMessage::kAssignment:
      supervisor_->Assign(message.assignment());
      break;
    case v1::CoordinatorMessage::kCancel:
      supervisor_->Cancel({message.cancel().run_id(), message.cancel().attempt()}, message.cancel().outcome(),
                          message.cancel().reason());
      break;
    case v1::CoordinatorMessage::kAck: {
      const v1::RecordAck& ack = message.ack();
      spool_->Acknowledge({ack.run_id(), ack.attempt()},
                          std::span(ack.seqs().data(), static_cast<std::size_t>(ack.seqs_size())));
      const std::scoped_lock lock(mutex_);
      changed_.notify_all();
      break;
    }
    case v1::CoordinatorMessage::kRecordRejected: {
      const v1::RecordRejected& rejected = message.record_rejected();
      const AttemptKey key{rejected.run_id(), rejected.attempt()};
      supervisor_->Cancel(key, v1::CANCELLED,
                          fmt::format("the coordinator does not know this run: {}", rejected.reason()));
      spool_->SetAside(key, rejected.reason());
      break;
    }
    case v1::CoordinatorMessage::CONTENT_NOT_SET:
      break;  // a message of a later version
  }
}

}  // namespace ballast::agent
