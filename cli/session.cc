#include "cli/session.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "cli/credentials.h"
#include "common/rpc/peer_inspection.h"

namespace ballast::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnectPatience(4'000);
constexpr milliseconds kInspectionTimeout(2'000);
constexpr milliseconds kWatchTimeout = std::chrono::hours(24 * 365);
constexpr milliseconds kDevicePatience(15'000);
constexpr milliseconds kDevicePoll(5);
constexpr int kGuestRetries = 2;

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Open(Context& context, const ConnectionFlags& flags, Use use) {
  BALLAST_ASSIGN_OR_RETURN(Target target, FindTarget(flags, context));
  std::unique_ptr<Session> session(new Session(context, std::move(target)));
  BALLAST_RETURN_IF_ERROR(session->Connect(use));
  return session;
}

absl::Status Session::Connect(Use use) {
  const Note note = [this](const std::string& text) { context_.err << text << '\n' << std::flush; };
  absl::Status status = ConnectOnce(use, note);
  // A guest may meet an owner that is just ending: the next look at the lock finds that.
  for (int again = 0; again < kGuestRetries && absl::IsUnavailable(status) && local() && fleet_ != nullptr && !owner();
       ++again) {
    status = ConnectOnce(use, note);
  }
  return status;
}

absl::StatusOr<std::optional<tls::Identity>> Session::KeptIdentity(const Note& note) {
  return FindIdentity(address_, context_, [&](const std::string& warning) {
    if (!std::exchange(warned_of_identity_, true)) note(warning);
  });
}

std::optional<base::SystemTime> Session::renewal_time() const {
  if (!identity_) return std::nullopt;
  return tls::RenewalTime(identity_->facts);
}

void Session::RenewCertificate(const Note& note) {
  // Each try where the next one cannot be kept might leave one more certificate at the coordinator.
  if (!identity_ || warned_of_identity_) return;
  absl::StatusOr<std::optional<tls::Identity>> kept = KeptIdentity(note);
  if (kept.ok() && *kept) identity_ = *std::move(kept);
}

absl::Status Session::ConnectOnce(Use use, const Note& note) {
  if (target_.local()) {
    BALLAST_ASSIGN_OR_RETURN(const auto directory, DataDirectory(context_));
    const auto role = use == Use::kRun ? LocalFleet::Role::kOwner : LocalFleet::Role::kAny;
    fleet_.reset();
    BALLAST_ASSIGN_OR_RETURN(fleet_, LocalFleet::Open(directory, role, context_));
    address_ = fleet_->address();
  } else {
    address_ = target_.address;
  }
  // An address that is none is reported below.
  if (!local() && rpc::IsLocalAddress(address_).ok()) {
    BALLAST_ASSIGN_OR_RETURN(identity_, KeptIdentity(note));
  }
  auto channel = rpc::CreateChannel(address_, target_.insecure, identity_ ? &*identity_ : nullptr);
  if (!channel.ok()) {
    const std::string message = fmt::format("{}: {}", target_.source, std::string(channel.status().message()));
    if (absl::IsInvalidArgument(channel.status())) {
      return WithNextStep(absl::InvalidArgumentError(message), "write the address as HOST:PORT or unix:/PATH");
    }
    return WithNextStep(absl::PermissionDeniedError(message),
                        fmt::format("ballast login TOKEN@{}, or --insecure if everyone on the way may read and change "
                                    "what is sent",
                                    address_));
  }
  channel_ = std::move(*channel);
  jobs_ = v1::JobService::NewStub(channel_);
  runs_ = v1::RunService::NewStub(channel_);
  devices_ = v1::DeviceService::NewStub(channel_);
  reports_ = v1::ReportService::NewStub(channel_);
  models_ = v1::ModelService::NewStub(channel_);
  reservations_ = v1::ReservationService::NewStub(channel_);
  schedules_ = v1::ScheduleService::NewStub(channel_);
  admin_ = v1::AdminService::NewStub(channel_);
  return WaitUntilConnected();
}

bool Session::WorthRepeating(const absl::Status& status, bool repeated) {
  return !repeated && absl::IsUnavailable(status) && local() && !owner() && Reconnect().ok();
}

absl::Status Session::WaitUntilConnected() {
  const auto deadline = std::chrono::system_clock::now() + kConnectPatience;
  grpc_connectivity_state state = channel_->GetState(true);
  // A refused connection ends the wait at once; an address that swallows packets ends it at the deadline.
  while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE &&
         std::chrono::system_clock::now() < deadline) {
    if (context_.interrupts.pending()) return absl::CancelledError("interrupted");
    const auto slice = std::min(deadline, std::chrono::system_clock::now() + milliseconds(100));
    channel_->WaitForStateChange(state, slice);
    state = channel_->GetState(true);
  }
  if (state == GRPC_CHANNEL_READY) return absl::OkStatus();
  if (!local()) {
    // gRPC says no more than that it could not connect.
    const absl::Status found = rpc::InspectPeer(address_, identity_ ? &*identity_ : nullptr, kInspectionTimeout);
    if (absl::IsFailedPrecondition(found)) {
      return WithNextStep(
          absl::UnavailableError(fmt::format("coordinator at {}: {}", address_, std::string(found.message()))),
          "start that coordinator with its certificates, or remove the certificate that is kept for it");
    }
    if (!found.ok()) return Explain(found);
  }
  return Explain(absl::UnavailableError("nothing answers there"));
}

absl::Status Session::Explain(const absl::Status& status) const {
  if (status.code() == absl::StatusCode::kCancelled && context_.interrupts.pending())
    return absl::CancelledError("interrupted");
  if (absl::IsUnauthenticated(status)) {
    return WithNextStep(base::WithContext(status, fmt::format("coordinator at {}", address_)),
                        fmt::format("ballast login TOKEN@{}, with a token that an administrator makes", address_));
  }
  if (absl::IsPermissionDenied(status)) return WithNextStep(status, "ask an administrator to do it");
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  const absl::Status explained(status.code(),
                               fmt::format("coordinator at {}: {}", address_, std::string(status.message())));
  if (local()) return WithNextStep(explained, "run the command again");
  // The connection stands, so it is the coordinator itself that says it cannot at the moment.
  if (absl::IsUnavailable(status) && channel_->GetState(false) == GRPC_CHANNEL_READY)
    return WithNextStep(
        explained, "do what the message says, then run the command again; lists and reports can be read meanwhile");
  const bool from_flag = target_.source == "--coordinator";
  return WithNextStep(
      explained,
      fmt::format("check that ballast-coordinator runs there; the address comes from {}{}", target_.source,
                  from_flag ? "" : fmt::format("; `--coordinator {}` uses this machine", kLocalCoordinator)));
}

absl::Status Session::StartWorker() {
  BALLAST_RETURN_IF_ERROR(fleet_->StartWorker());
  // Only this worker can reach the private coordinator, so whichever device is connected is the one.
  const auto deadline = std::chrono::steady_clock::now() + kDevicePatience;
  v1::ListDevicesRequest request;
  request.set_page_size(1000);
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const v1::ListDevicesResponse response,
                             Call(&v1::DeviceService::Stub::ListDevices, request));
    for (const v1::Device& device : response.devices()) {
      if (device.state() == v1::Device::OFFLINE || device.state() == v1::Device::STATE_UNSPECIFIED) continue;
      local_device_ = device.device_id();
      if (!device.drained()) return absl::OkStatus();
      return WithNextStep(absl::FailedPreconditionError(
                              fmt::format("this machine (device {}) is drained and gets no runs", local_device_)),
                          fmt::format("ballast devices resume {}", local_device_));
    }
    BALLAST_RETURN_IF_ERROR(fleet_->CheckChildren());
    if (std::chrono::steady_clock::now() > deadline) {
      return WithNextStep(absl::UnavailableError(fmt::format("the private worker does not connect within {} s",
                                                             kDevicePatience.count() / 1000)),
                          "read worker.log in the data directory");
    }
    if (context_.interrupts.WaitFor(kDevicePoll)) return absl::CancelledError("interrupted");
  }
}

absl::Status Session::Reconnect() {
  // The owner may be gone: take its place, or be the guest of the next one.
  if (local() && !owner()) return Connect(Use::kHistory);
  // gRPC waits longer after every failure; this command decides itself when it tries.
  grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
  return WaitUntilConnected();
}

std::unique_ptr<grpc::ClientReader<v1::JobUpdate>> Session::Watch(grpc::ClientContext* context,
                                                                  const std::string& job_id) {
  context->set_deadline(std::chrono::system_clock::now() + kWatchTimeout);
  v1::WatchJobRequest request;
  request.set_job_id(job_id);
  return jobs_->WatchJob(context, request);
}

absl::StatusOr<v1::Job> Session::GetJob(grpc::ClientContext* context, const std::string& job_id) {
  v1::GetJobRequest request;
  request.set_job_id(job_id);
  v1::Job job;
  const absl::Status status = rpc::FromGrpc(jobs_->GetJob(context, request, &job));
  if (!status.ok()) return status;
  return job;
}

absl::Status Session::Cancel(grpc::ClientContext* context, const std::string& job_id) {
  v1::CancelJobRequest request;
  request.set_job_id(job_id);
  v1::Job job;
  return rpc::FromGrpc(jobs_->CancelJob(context, request, &job));
}

}  // namespace ballast::cli
