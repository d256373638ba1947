// A command's connection to a coordinator, of a fleet or of its own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/admin_service.grpc.pb.h"
#include "ballast/v1/client_service.grpc.pb.h"
#include "ballast/v1/planning_service.grpc.pb.h"
#include "cli/context.h"
#include "cli/error_text.h"
#include "cli/local_fleet.h"
#include "cli/target.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/tls/identity.h"

namespace ballast::cli {

// Calls to one coordinator. In local mode it owns the private coordinator, or is a guest of another command's. Every
// call ends on an interrupt with CANCELLED. Use it on the main thread; WatchInBackground says what else it allows.
class Session {
 public:
  enum class Use {
    kHistory,  // reads and changes what is kept
    kRun,      // runs something: local mode waits until it is the owner; StartWorker is the next step
  };

  // Takes a text for the user.
  using Note = std::function<void(const std::string&)>;

  // Finds the coordinator and connects. UNAVAILABLE within some seconds when nobody answers; other codes as in
  // FindTarget and LocalFleet.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Session>> Open(Context& context, const ConnectionFlags& flags,
                                                                     Use use);

  // Whether the coordinator is a private one of this machine.
  [[nodiscard]] bool local() const { return target_.local(); }
  // Whether it ends with this command.
  [[nodiscard]] bool owner() const { return fleet_ != nullptr && fleet_->owner(); }
  // The coordinator's address.
  [[nodiscard]] const std::string& address() const { return address_; }
  // The caller's name, where the coordinator has to be told: empty where a certificate tells it.
  [[nodiscard]] std::string CallerName() const { return identity_ ? std::string() : UserName(context_); }
  // The device of this machine in local mode, once StartWorker has found it; empty before.
  [[nodiscard]] const std::string& local_device() const { return local_device_; }

  // Owner only: the one command that the worker which is started next may run.
  void OfferCommand(const v1::CommandDefinition& command) { fleet_->OfferCommand(command); }

  // Owner only: starts the worker and waits until its device is connected. FAILED_PRECONDITION when the device is
  // drained.
  [[nodiscard]] absl::Status StartWorker();

  // Owner only, as LocalFleet says: starts children again that have ended, and what shows that one has.
  [[nodiscard]] absl::Status RestartEnded(const Note& note) { return fleet_->RestartEnded(note); }
  [[nodiscard]] std::vector<int> ChildFds() const { return fleet_->ChildFds(); }

  // Connects again after UNAVAILABLE; in local mode a guest becomes the owner where the owner has gone. Tries once.
  // UNAVAILABLE where nobody answers (again); an owner calls RestartEnded first.
  [[nodiscard]] absl::Status Reconnect();

  // When the certificate that is kept for this coordinator is due to be renewed; nothing where none is shown to it.
  [[nodiscard]] std::optional<base::SystemTime> renewal_time() const;

  // Has that certificate renewed where it is due, for the next connection; this one goes on with its own. `note` gets
  // what the user should know, once: no more is tried then.
  void RenewCertificate(const Note& note);

  // Connects anew with the certificate that is kept now, for instance because the one that this connection began with
  // has expired. Not for local mode. Codes as in Open. Tries once.
  [[nodiscard]] absl::Status ConnectAnew(const Note& note) { return ConnectOnce(Use::kHistory, note); }

  // The local owner's children get no time to end. For a user in a hurry.
  void GiveUpGracefulEnd() {
    if (fleet_ != nullptr) fleet_->GiveUpGracefulEnd();
  }

  // One unary call, for instance Call(&v1::JobService::Stub::GetJob, request).
  template <typename Stub, typename Request, typename Response>
  [[nodiscard]] absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                           Response*),
                                              const std::type_identity_t<Request>& request) {
    for (bool again = false;; again = true) {
      Response response;
      const auto context = rpc::MakeContext(kCallTimeout);
      absl::Status status;
      {
        const Interrupts::Scope scope(context_.interrupts, [&context] { context->TryCancel(); });
        status = rpc::FromGrpc((StubFor<Stub>().*method)(context.get(), request, &response));
      }
      if (status.ok()) return response;
      if (!WorthRepeating(status, again)) return Explain(status);
    }
  }

  // One call that answers with a stream; `visit` sees each message and may end it with an error, which is returned.
  template <typename Stub, typename Request, typename Response>
  [[nodiscard]] absl::Status Stream(std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(grpc::ClientContext*,
                                                                                                  const Request&),
                                    const std::type_identity_t<Request>& request,
                                    const std::type_identity_t<std::function<absl::Status(const Response&)>>& visit) {
    for (bool again = false;; again = true) {
      const auto context = rpc::MakeContext(kStreamTimeout);
      absl::Status status;
      absl::Status visited;
      bool any = false;
      {
        const Interrupts::Scope scope(context_.interrupts, [&context] { context->TryCancel(); });
        const auto reader = (StubFor<Stub>().*method)(context.get(), request);
        Response response;
        while (visited.ok() && reader->Read(&response)) {
          any = true;
          visited = visit(response);
        }
        if (!visited.ok()) context->TryCancel();
        status = rpc::FromGrpc(reader->Finish());
      }
      if (!visited.ok()) return visited;
      if (any || !WorthRepeating(status, again)) return Explain(status);
    }
  }

  // Starts following a job. The reader may be read on another thread; it and `context` must be gone before this
  // session.
  [[nodiscard]] std::unique_ptr<grpc::ClientReader<v1::JobUpdate>> Watch(grpc::ClientContext* context,
                                                                         const std::string& job_id);

  // Starts a push; the stream and `context` must be gone before this session.
  [[nodiscard]] std::unique_ptr<grpc::ClientReaderWriter<v1::PushModelRequest, v1::PushModelResponse>> PushModel(
      grpc::ClientContext* context) {
    return models_->PushModel(context);
  }

  // One job, with a context of the caller's. Not explained, not repeated.
  [[nodiscard]] absl::StatusOr<v1::Job> GetJob(grpc::ClientContext* context, const std::string& job_id);

  // Asks for a job's end, with a context of the caller's. Not explained, not repeated.
  [[nodiscard]] absl::Status Cancel(grpc::ClientContext* context, const std::string& job_id);

  // A call's status, with the coordinator's address and a next step where nobody answered or it was refused.
  [[nodiscard]] absl::Status Explain(const absl::Status& status) const;

 private:
  static constexpr std::chrono::milliseconds kCallTimeout = std::chrono::seconds(30);
  static constexpr std::chrono::milliseconds kStreamTimeout = std::chrono::minutes(30);

  Session(Context& context, Target target) : context_(context), target_(std::move(target)) {}

  // Whether a call that failed should be made again: the command whose guest this is has ended, and there is another
  // coordinator now.
  [[nodiscard]] bool WorthRepeating(const absl::Status& status, bool repeated);

  [[nodiscard]] absl::Status Connect(Use use);
  [[nodiscard]] absl::Status ConnectOnce(Use use, const Note& note);
  [[nodiscard]] absl::StatusOr<std::optional<tls::Identity>> KeptIdentity(const Note& note);
  [[nodiscard]] absl::Status WaitUntilConnected();

  template <typename Stub>
  Stub& StubFor() {
    if constexpr (std::is_same_v<Stub, v1::JobService::Stub>) {
      return *jobs_;
    } else if constexpr (std::is_same_v<Stub, v1::RunService::Stub>) {
      return *runs_;
    } else if constexpr (std::is_same_v<Stub, v1::DeviceService::Stub>) {
      return *devices_;
    } else if constexpr (std::is_same_v<Stub, v1::ModelService::Stub>) {
      return *models_;
    } else if constexpr (std::is_same_v<Stub, v1::ReservationService::Stub>) {
      return *reservations_;
    } else if constexpr (std::is_same_v<Stub, v1::ScheduleService::Stub>) {
      return *schedules_;
    } else if constexpr (std::is_same_v<Stub, v1::AdminService::Stub>) {
      return *admin_;
    } else {
      static_assert(std::is_same_v<Stub, v1::ReportService::Stub>);
      return *reports_;
    }
  }

  Context& context_;
  Target target_;
  std::unique_ptr<LocalFleet>
      fleet_;  // local mode only; outlives the channel, so that no call meets a coordinator that is going
  std::string address_;
  std::string local_device_;
  std::optional<tls::Identity> identity_;  // what the next connection shows to the coordinator; nothing for plain text
  bool warned_of_identity_ = false;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::RunService::Stub> runs_;
  std::unique_ptr<v1::DeviceService::Stub> devices_;
  std::unique_ptr<v1::ReportService::Stub> reports_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::ReservationService::Stub> reservations_;
  std::unique_ptr<v1::ScheduleService::Stub> schedules_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

}  // namespace ballast::cli
