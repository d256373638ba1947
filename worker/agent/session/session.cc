#include "worker/agent/session/session.h"

#include <memory>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer_inspection.h"

namespace ballast::agent {
namespace {

// How long the coordinator may take to answer the end of the stream.
constexpr std::chrono::milliseconds kGoodbyeTimeout(300);
// For a look at who answers where no session comes about.
constexpr std::chrono::milliseconds kInspectionTimeout(1000);

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

Session::Connection::~Connection() {
  if (stream == nullptr) return;
  context.TryCancel();
  if (listener.joinable()) listener.join();
  (void)stream->Finish();
}

void Session::Replace() {
  const std::scoped_lock lock(mutex_);
  replace_ = true;
  changed_.notify_all();
}

void Session::Loop() {
  while (true) {
    const std::uint64_t welcomes_before = welcome_count();
    const std::optional<absl::Status> status = RunOnce();
    if (!status) continue;
    previous_.reset();
    std::unique_lock lock(mutex_);
    if (stopping_) return;
    const std::chrono::milliseconds wait = core_.End(*status);
    if (welcome_count_ > welcomes_before) {
      last_problem_.clear();
      last_cause_.clear();
    }
    lock.unlock();
    Explain(*status);
    lock.lock();
    changed_.wait_for(lock, wait, [this] { return stopping_ || replace_; });
    if (stopping_) return;
  }
}

void Session::Explain(absl::Status status) {
  if (absl::IsAborted(status)) {
    base::Log().error(
        "another worker connects as device '{}' ({}); two machines must not share an identifier: give one of them its "
        "own "
        "with --device-id, or remove the file device_id from its data directory if that was copied",
        options_.identity.device_id, std::string(status.message()));
    return;
  }
  std::string cause(status.message());
  if (cause == last_cause_) {
    base::Log().debug("coordinator {}: {}", options_.coordinator, cause);
    return;
  }
  last_cause_ = std::move(cause);
  if (absl::IsUnavailable(status)) {
    // gRPC says no more than that it could not connect.
    const std::shared_ptr<const tls::Identity> identity = options_.tls_identity ? options_.tls_identity() : nullptr;
    const absl::Status found = rpc::InspectPeer(options_.coordinator, identity.get(), kInspectionTimeout);
    if (!found.ok()) status = found;
    if (identity == nullptr && absl::IsUnauthenticated(found)) {
      status = absl::UnauthenticatedError(
          fmt::format("{}: start this worker with --join TOKEN@{} (ballast token create --role worker makes a token)",
                      std::string(found.message()), options_.coordinator));
    }
  }
  std::string problem(status.message());
  if (problem == last_problem_) return;
  base::Log().log(IsRefusal(status) ? spdlog::level::err : spdlog::level::warn,
                  "coordinator {}: {}; trying again from now on, at most {} s apart", options_.coordinator, problem,
                  std::chrono::ceil<std::chrono::seconds>(options_.identity.reconnect_max).count());
  last_problem_ = std::move(problem);
}

std::optional<absl::Status> Session::RunOnce() {
  v1::DeviceFacts facts = options_.facts();
  {
    const std::scoped_lock lock(mutex_);
    replace_ = false;  // before the identity is asked for: the next one asks for the next session
  }
  const std::shared_ptr<const tls::Identity> identity = options_.tls_identity ? options_.tls_identity() : nullptr;
  auto channel = rpc::CreateChannel(options_.coordinator, options_.insecure, identity.get());
  if (!channel.ok()) return channel.status();
  auto connection = std::make_unique<Connection>();
  connection->channel = *std::move(channel);
  connection->stub = v1::WorkerService::NewStub(connection->channel);
  v1::WorkerMessage hello;
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return absl::CancelledError("the worker is stopping");
    context_ = &connection->context;
    hello = core_.Begin(Now(), std::move(facts));
  }
  reader_.Rewind();
  connection->stream = connection->stub->Connect(&connection->context);
  connection->listener = std::jthread([this, raw = connection.get()] { Listen(*raw); });
  const absl::Status problem = connection->stream->Write(hello) ? Talk(*connection) : absl::OkStatus();
  previous_.reset();
  {
    const std::scoped_lock lock(mutex_);
    if (problem.ok() && replace_ && !connection->ended && !stopping_) {
      connection->replaced = true;
      context_ = nullptr;
      changed_.notify_all();
      previous_ = std::move(connection);
      return std::nullopt;
    }
  }
  // Where this side ends the session, the other gets the time to take what was written before.
  connection->stream->WritesDone();
  {
    std::unique_lock lock(mutex_);
    if (problem.ok()) changed_.wait_for(lock, kGoodbyeTimeout, [&] { return connection->ended; });
    if (!connection->ended) connection->context.TryCancel();
  }
  connection->listener.join();
  const grpc::Status status = connection->stream->Finish();
  connection->stream.reset();
  {
    const std::scoped_lock lock(mutex_);
    context_ = nullptr;
    changed_.notify_all();
  }
  if (!problem.ok()) return problem;
  if (status.ok()) return absl::UnavailableError("the coordinator ended the session");
  return rpc::FromGrpc(status);
}

absl::Status Session::Talk(Connection& connection) {
  Stream* const stream = connection.stream.get();
  while (true) {
    SessionCore::Step step;
    bool welcomed = false;
    {
      const std::scoped_lock lock(mutex_);
      if (connection.ended || stopping_ || (replace_ && core_.welcomed())) return absl::OkStatus();
      changed_since_ = false;
      step = core_.Next(Now());
      welcomed = core_.welcomed();
    }
    if (welcomed) previous_.reset();
    switch (step.kind) {
      case SessionCore::Step::Kind::kWait: {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, step.until - Now(), [&] {
          return connection.ended || stopping_ || (replace_ && core_.welcomed()) || changed_since_;
        });
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

void Session::Listen(Connection& connection) {
  v1::CoordinatorMessage message;
  while (connection.stream->Read(&message)) {
    {
      const std::scoped_lock lock(mutex_);
      if (connection.replaced) continue;  // what it brings is said again in the other session
      core_.Hear(Now(), message);
      if (message.has_welcome()) ++welcome_count_;
    }
    if (message.has_welcome()) {
      base::Log().info("connected to coordinator {} (version {}) as device {}", options_.coordinator,
                       message.welcome().coordinator_version(), options_.identity.device_id);
    }
    CarryOut(message, supervisor_, spool_);
    const std::scoped_lock lock(mutex_);
    changed_since_ = true;
    changed_.notify_all();
  }
  const std::scoped_lock lock(mutex_);
  connection.ended = true;
  changed_.notify_all();
}

}  // namespace ballast::agent
