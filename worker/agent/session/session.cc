#include "worker/agent/session/session.h"

#include <memory>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"

namespace ballast::agent {
namespace {

// How long the coordinator may take to answer the end of the stream.
constexpr std::chrono::milliseconds kGoodbyeTimeout(300);

std::chrono::nanoseconds Now() {
  return base::RealClock().Monotonic();
}

}  // namespace

Session::Session(SessionOptions options, Spool* spool, RunSupervisor* supervisor, PeerClock* clock)
    : options_(std::move(options)),
      spool_(spool),
      supervisor_(supervisor),
      reader_(spool),
      core_(options_.identity, spool, supervisor, clock, std::random_device()()) {
  spool_->SetListener([this] {
    const std::scoped_lock lock(mutex_);
    core_.RecordsWait();
    changed_since_ = true;
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
    changed_.wait_for(lock, deliver,
                      [this] { return stopping_ || !core_.welcomed() || spool_->unacknowledged_bytes() == 0; });
    stopping_ = true;
    changed_.notify_all();
    // A session that is still being set up has nothing to say goodbye to; one that hangs gets no longer.
    const std::chrono::milliseconds patience = core_.welcomed() ? 2 * kGoodbyeTimeout : std::chrono::milliseconds(0);
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
  core_.Tell(progress);
  changed_since_ = true;
  changed_.notify_all();
}

void Session::OnRejected(const v1::AssignmentRejected& rejected) {
  const std::scoped_lock lock(mutex_);
  core_.Tell(rejected);
  changed_since_ = true;
  changed_.notify_all();
}

void Session::Loop() {
  while (true) {
    const std::uint64_t welcomes_before = welcome_count();
    const absl::Status status = RunOnce();
    std::unique_lock lock(mutex_);
    if (stopping_) return;
    const std::chrono::milliseconds wait = core_.End(status);
    if (welcome_count_ > welcomes_before) last_problem_.clear();
    lock.unlock();
    Explain(status);
    lock.lock();
    changed_.wait_for(lock, wait, [this] { return stopping_; });
    if (stopping_) return;
  }
}

void Session::Explain(const absl::Status& status) {
  std::string problem(status.message());
  if (absl::IsAborted(status)) {
    base::Log().error(
        "another worker connects as device '{}' ({}); two machines must not share an identifier: give one of them its "
        "own "
        "with --device-id, or remove the file device_id from its data directory if that was copied",
        options_.identity.device_id, problem);
    return;
  }
  if (problem == last_problem_) {
    base::Log().debug("coordinator {}: {}", options_.coordinator, problem);
    return;
  }
  base::Log().log(IsRefusal(status) ? spdlog::level::err : spdlog::level::warn,
                  "coordinator {}: {}; trying again from now on, at most {} s apart", options_.coordinator, problem,
                  std::chrono::ceil<std::chrono::seconds>(options_.identity.reconnect_max).count());
  last_problem_ = std::move(problem);
}

absl::Status Session::RunOnce() {
  v1::DeviceFacts facts = options_.facts();
  BALLAST_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                           rpc::CreateChannel(options_.coordinator, options_.insecure));
  const std::unique_ptr<v1::WorkerService::Stub> stub = v1::WorkerService::NewStub(channel);
  grpc::ClientContext context;  // without a deadline: a session lasts as long as it can
  v1::WorkerMessage hello;
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return absl::CancelledError("the worker is stopping");
    context_ = &context;
    ended_ = false;
    hello = core_.Begin(Now(), std::move(facts));
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
    changed_.notify_all();
  }
  if (!problem.ok()) return problem;
  if (status.ok()) return absl::UnavailableError("the coordinator ended the session");
  return rpc::FromGrpc(status);
}

absl::Status Session::Talk(Stream* stream) {
  while (true) {
    SessionCore::Step step;
    {
      const std::scoped_lock lock(mutex_);
      if (ended_ || stopping_) return absl::OkStatus();
      changed_since_ = false;
      step = core_.Next(Now());
    }
    switch (step.kind) {
      case SessionCore::Step::Kind::kWait: {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, step.until - Now(), [this] { return ended_ || stopping_ || changed_since_; });
        break;
      }
      case SessionCore::Step::Kind::kSend:
        if (!stream->Write(step.message)) return absl::OkStatus();
        break;
      case SessionCore::Step::Kind::kRecord: {
        // Without the lock: a disk can take seconds, and who tells progress must not wait for it.
        std::optional<v1::Record> record = reader_.Next();
        {
          const std::scoped_lock lock(mutex_);
          core_.RecordRead(record.has_value());
        }
        if (!record) break;
        v1::WorkerMessage message;
        *message.mutable_record() = *std::move(record);
        if (!stream->Write(message)) return absl::OkStatus();
        break;
      }
      case SessionCore::Step::Kind::kEnd:
        return step.problem;
    }
  }
}

void Session::Listen(Stream* stream) {
  v1::CoordinatorMessage message;
  while (stream->Read(&message)) {
    if (message.has_welcome()) {
      base::Log().info("connected to coordinator {} (version {}) as device {}", options_.coordinator,
                       message.welcome().coordinator_version(), options_.identity.device_id);
    }
    {
      const std::scoped_lock lock(mutex_);
      core_.Hear(Now(), message);
      if (message.has_welcome()) ++welcome_count_;
    }
    CarryOut(message, supervisor_, spool_);
    const std::scoped_lock lock(mutex_);
    changed_since_ = true;
    changed_.notify_all();
  }
  const std::scoped_lock lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

}  // namespace ballast::agent
