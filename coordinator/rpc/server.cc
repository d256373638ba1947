#include "coordinator/rpc/server.h"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/config/field_text.h"
#include "common/environment/catalogue.h"
#include "common/rpc/channel.h"
#include "coordinator/models/model_library.h"
#include "coordinator/retention/retention.h"
#include "coordinator/rpc/actor.h"
#include "coordinator/rpc/admin_service.h"
#include "coordinator/rpc/device_service.h"
#include "coordinator/rpc/enrollment_service.h"
#include "coordinator/rpc/job_ids.h"
#include "coordinator/rpc/job_intake.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/listen_address.h"
#include "coordinator/rpc/model_service.h"
#include "coordinator/rpc/next_step.h"
#include "coordinator/rpc/planning_service.h"
#include "coordinator/rpc/report_service.h"
#include "coordinator/rpc/run_service.h"
#include "coordinator/rpc/scheduling_options.h"
#include "coordinator/rpc/wanted_jobs.h"
#include "coordinator/rpc/secure_port.h"
#include "coordinator/rpc/worker_service.h"
#include "grpc/support/log.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"

namespace ballast::coordinator {
namespace {

// Connections that say nothing are asked after a minute, and given long to answer: a device that thrashes answers late,
// and is of the greatest interest just then. It counts as offline long before; this only frees what a dead one left
// open.
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 300'000;
// Clients that ask more often than this are cut off.
constexpr int kMinPingIntervalMs = 20'000;
// Threads of the calls that block (reports, lists); workers and watchers need none.
constexpr int kMaxThreads = 256;
// What messages and buffers of all connections may take together; senders wait beyond it.
constexpr std::size_t kMaxBufferBytes = 512U << 20U;
constexpr std::chrono::seconds kCallGrace{3};
// For a run that retention removes to be gone from the disk.
constexpr std::chrono::seconds kRemovalTimeout{60};

class GrpcServer final : public Server {
 public:
  GrpcServer(storage::Store* store, const base::Clock& clock)
      : store_(store), clock_(clock), report_service_(*store, clock) {}
  ~GrpcServer() override { Stop(); }

  absl::Status Begin(const v1::CoordinatorConfig& config);

  const std::string& address() const override { return address_; }
  void Stop() override;

 private:
  absl::Status Secure(const v1::CoordinatorConfig& config, bool local);
  void SetServing(bool serving);
  void BeginRetention(const v1::RetentionConfig& config);

  storage::Store* const store_;
  const base::Clock& clock_;
  std::string address_;
  std::unique_ptr<SecurePort> secure_port_;  // null: plain text. Sessions refer to it until they are gone
  std::unique_ptr<models::ModelLibrary> models_;
  v1::EnvironmentCatalogue environments_;
  std::unique_ptr<JobIds> job_ids_;
  std::unique_ptr<JobIds> reservation_ids_;
  WantedJobs wanted_jobs_;  // outlives the actor, which adds to it
  std::unique_ptr<Actor> actor_;
  std::unique_ptr<JobIntake> job_intake_;
  std::unique_ptr<retention::Retention> retention_;
  std::unique_ptr<JobService> job_service_;
  std::unique_ptr<ReservationService> reservation_service_;
  std::unique_ptr<ScheduleService> schedule_service_;
  std::unique_ptr<RunService> run_service_;
  std::unique_ptr<DeviceService> device_service_;
  std::unique_ptr<ModelService> model_service_;
  std::unique_ptr<WorkerService> worker_service_;
  std::unique_ptr<EnrollmentService> enrollment_service_;
  std::unique_ptr<AdminService> admin_service_;
  ReportService report_service_;
  std::mutex serving_mutex_;
  bool serving_ = false;                  // guarded by serving_mutex_
  std::unique_ptr<grpc::Server> server_;  // set under serving_mutex_, since the actor's thread looks at it
  bool stopped_ = false;
};

// What gRPC itself has to say is for those who look for it: what matters to others comes as a status.
void LogFromGrpc(gpr_log_func_args* args) {
  base::Log().debug("grpc: {}", args->message);
}

// Whether the address is served with TLS or in plain text; a word of warning where that is dangerous.
absl::Status GrpcServer::Secure(const v1::CoordinatorConfig& config, bool local) {
  const bool has_authority = Pki::Exists(config.data_dir());
  // What can open a unix socket is decided by its permissions.
  if (has_authority && !rpc::IsUnixAddress(config.listen())) {
    if (config.insecure())
      base::Log().warn("--insecure has no effect: there are certificates in {}/pki", config.data_dir());
    BALLAST_ASSIGN_OR_RETURN(secure_port_, SecurePort::Open(config, store_, &clock_, [](const Refusal& refusal) {
                               base::Log().warn("{} refused: {}", refusal.method,
                                                std::string(refusal.status.message()));
                             }));
    base::Log().info("TLS on {}; certificate authority {}", config.listen(),
                     secure_port_->pki().authority().fingerprint());
    return absl::OkStatus();
  }
  if (local) return absl::OkStatus();
  if (!config.insecure()) {
    return WithNextStep(
        absl::FailedPreconditionError(fmt::format(
            "plain text on {} could be read and written by anyone on the network; make certificates, listen on a "
            "loopback address or a unix socket, or accept it with --insecure",
            config.listen())),
        fmt::format(
            "ballast-coordinator init --data-dir {}, --listen 127.0.0.1:7850, --listen unix:/PATH, or --insecure",
            config.data_dir()));
  }
  base::Log().warn("plain text on {}: anyone who reaches this port can read and run everything", config.listen());
  return absl::OkStatus();
}

absl::Status GrpcServer::Begin(const v1::CoordinatorConfig& config) {
  BALLAST_ASSIGN_OR_RETURN(const bool local, rpc::IsLocalAddress(config.listen()));
  BALLAST_RETURN_IF_ERROR(Secure(config, local));
  BALLAST_RETURN_IF_ERROR(CheckCanListen(config.listen()));

  const absl::StatusOr<std::string> greatest = store_->GreatestJobId();
  if (!greatest.ok()) return OfStore(greatest.status());
  job_ids_ = std::make_unique<JobIds>(&clock_, *greatest);
  reservation_ids_ = std::make_unique<JobIds>(&clock_, "", "v-");
  auto library = models::ModelLibrary::Open(std::filesystem::path(config.data_dir()) / "models", config.models());
  if (!library.ok()) return OfModels(library.status());
  models_ = *std::move(library);
  std::vector<std::filesystem::path> environment_files;
  if (!config.environments().empty()) environment_files.emplace_back(config.environments());
  auto environments = profiles::LoadEnvironments(environment_files);
  if (!environments.ok()) return OfEnvironments(environments.status());
  environments_ = *std::move(environments);

  ActorOptions options;
  options.core.heartbeat_interval = base::FromProto(config.heartbeat_interval());
  options.core.offline_after = base::FromProto(config.offline_after());
  options.core.version = base::kVersion;
  options.core.did_you_mean = [](const std::string& name, const std::vector<std::string>& candidates) {
    return config::DidYouMean(name, candidates);
  };
  options.core.scheduling = SchedulingOptionsOf(config.scheduling());
  options.core.find_time_zone = FindTimeZone;
  options.on_wanted_job = [this](core::WantJob want) { wanted_jobs_.Add(std::move(want)); };
  options.on_serving = [this](bool serving) { SetServing(serving); };
  absl::StatusOr<std::unique_ptr<Actor>> actor = Actor::Start(store_, &clock_, std::move(options));
  if (!actor.ok()) return OfStore(actor.status());
  actor_ = *std::move(actor);
  AccessControl* const access = secure_port_ == nullptr ? nullptr : &secure_port_->access();
  CertificateDesk* const desk = secure_port_ == nullptr ? nullptr : &secure_port_->desk();
  job_intake_ = std::make_unique<JobIntake>(actor_.get(), store_, job_ids_.get(), models_.get(), &environments_);
  wanted_jobs_.Start(actor_.get(), job_intake_.get());
  job_service_ = std::make_unique<JobService>(actor_.get(), store_, job_intake_.get(), access);
  reservation_service_ = std::make_unique<ReservationService>(actor_.get(), reservation_ids_.get());
  schedule_service_ = std::make_unique<ScheduleService>(actor_.get(), job_intake_.get());
  run_service_ = std::make_unique<RunService>(*store_);
  device_service_ = std::make_unique<DeviceService>(actor_.get(), store_);
  model_service_ = std::make_unique<ModelService>(models_.get(), store_);
  worker_service_ = std::make_unique<WorkerService>(actor_.get(), models_.get(), access);
  enrollment_service_ = std::make_unique<EnrollmentService>(desk);
  admin_service_ = std::make_unique<AdminService>(desk, store_);

  gpr_set_log_function(LogFromGrpc);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(config.listen(),
                           secure_port_ == nullptr ? grpc::InsecureServerCredentials() : secure_port_->Credentials(),
                           &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
  builder.SetMaxReceiveMessageSize(rpc::kMaxMessageBytes);
  builder.SetMaxSendMessageSize(rpc::kMaxMessageBytes);
  builder.SetResourceQuota(grpc::ResourceQuota("coordinator").Resize(kMaxBufferBytes).SetMaxThreads(kMaxThreads));
  builder.RegisterService(job_service_.get());
  builder.RegisterService(reservation_service_.get());
  builder.RegisterService(schedule_service_.get());
  builder.RegisterService(run_service_.get());
  builder.RegisterService(device_service_.get());
  builder.RegisterService(&report_service_);
  builder.RegisterService(model_service_.get());
  builder.RegisterService(worker_service_.get());
  builder.RegisterService(enrollment_service_.get());
  builder.RegisterService(admin_service_.get());
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || (port == 0 && !config.listen().starts_with("unix:"))) {
    BALLAST_RETURN_IF_ERROR(CheckCanListen(config.listen()));  // taken meanwhile?
    return WithNextStep(absl::UnavailableError(fmt::format("listen on {}: gRPC refused it", config.listen())),
                        "give another --listen address; --log-level debug says what gRPC has against this one");
  }
  address_ = WithPort(config.listen(), port);
  BeginRetention(config.retention());
  const std::lock_guard lock(serving_mutex_);
  server_ = std::move(server);
  server_->GetHealthCheckService()->SetServingStatus(serving_);
  return absl::OkStatus();
}

// What is removed is removed by the core, so that it remembers nothing of what the store has no longer.
void GrpcServer::BeginRetention(const v1::RetentionConfig& config) {
  const auto call = [this](auto forget) {
    const auto body = [forget](core::Core& core, const core::Instant& /*now*/, core::Actions* actions) {
      const absl::Status status = forget(core, actions);
      return status.ok() ? absl::StatusOr<bool>(true) : absl::StatusOr<bool>(status);
    };
    return actor_->Call<bool>(std::chrono::system_clock::now() + kRemovalTimeout, body).status();
  };
  retention::Removal removal;
  removal.run = [call](const std::string& job_id, const std::string& run_id) {
    return call(
        [job_id, run_id](core::Core& core, core::Actions* actions) { return core.ForgetRun(job_id, run_id, actions); });
  };
  removal.job = [call](const std::string& job_id) {
    return call([job_id](core::Core& core, core::Actions* actions) { return core.ForgetJob(job_id, actions); });
  };
  retention_ = std::make_unique<retention::Retention>(store_, &clock_, config, std::move(removal));
  retention_->Start();
}

void GrpcServer::SetServing(bool serving) {
  const std::lock_guard lock(serving_mutex_);
  serving_ = serving;
  if (server_ != nullptr) server_->GetHealthCheckService()->SetServingStatus(serving);
}

void GrpcServer::Stop() {
  if (std::exchange(stopped_, true)) return;
  SetServing(false);
  if (retention_ != nullptr) retention_->Stop();
  if (actor_ != nullptr) actor_->Stop();
  wanted_jobs_.Stop();
  if (model_service_ != nullptr) model_service_->Stop();
  if (worker_service_ != nullptr) worker_service_->Stop();
  if (server_ != nullptr) {
    server_->Shutdown(std::chrono::system_clock::now() + kCallGrace);
    server_->Wait();
  }
  if (job_service_ != nullptr) job_service_->Stop();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const v1::CoordinatorConfig& config, storage::Store* store,
                                                      const base::Clock& clock) {
  auto server = std::make_unique<GrpcServer>(store, clock);
  BALLAST_RETURN_IF_ERROR(server->Begin(config));
  return server;
}

}  // namespace ballast::coordinator
