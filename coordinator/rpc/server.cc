#include "coordinator/rpc/server.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "absl/synchronization/mutex.h"
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
#include "coordinator/rpc/admission.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/device_service.h"
#include "coordinator/rpc/enrollment_service.h"
#include "coordinator/rpc/job_ids.h"
#include "coordinator/rpc/job_intake.h"
#include "coordinator/rpc/job_service.h"
#include "coordinator/rpc/listen_address.h"
#include "coordinator/rpc/model_service.h"
#include "coordinator/rpc/next_step.h"
#include "coordinator/rpc/open_files.h"
#include "coordinator/rpc/planning_service.h"
#include "coordinator/rpc/report_service.h"
#include "coordinator/rpc/run_service.h"
#include "coordinator/rpc/scheduling_options.h"
#include "coordinator/rpc/secure_port.h"
#include "coordinator/rpc/stall_watch.h"
#include "coordinator/rpc/tcp_listener.h"
#include "coordinator/rpc/wanted_jobs.h"
#include "coordinator/rpc/worker_service.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"

namespace ballast::coordinator {
namespace {

// Clients that ask more often than this are cut off.
constexpr int kMinPingIntervalMs = 20'000;
// Connections without a call are closed after this time; clients connect again by themselves. Workers have a call that
// never ends.
constexpr int kMaxIdleMs = 600'000;
// Files that are open at most when another connection is taken: three times the largest fleet. Each connection costs
// some memory, whoever makes it.
constexpr std::size_t kMaxFiles = 32'768;
// Files that connections leave to the database, models and the rest.
constexpr std::size_t kReservedFiles = 128;
// Files that are counted from the beginning.
constexpr std::size_t kInitialFiles = 256;
// Headers of one call.
constexpr int kMaxMetadataBytes = 8 << 10U;
// Threads of the calls that block (reports, lists); workers and watchers need none.
constexpr int kMaxThreads = 256;
// What buffers of one connection take while nobody waits for a message of it, and of all together at most.
constexpr std::size_t kConnectionBytes = 32U << 10U;
constexpr std::size_t kMaxConnectionBytes = 448U << 20U;
// How much of a stream comes before somebody asks for its next message; what that needs comes besides.
constexpr int kLookaheadBytes = 16 << 10;
static_assert(kLookaheadBytes < kConnectionBytes);
constexpr std::chrono::seconds kCallGrace{3};
// Models that are pushed or fetched and do not move: a client that was stopped must not keep the file, or a thread.
// Long, because a device under pressure may take nothing for minutes.
constexpr std::chrono::minutes kStallPatience{5};
// For a run that retention removes to be gone from the disk.
constexpr std::chrono::seconds kRemovalTimeout{60};

class GrpcServer final : public Server {
 public:
  GrpcServer(storage::Store* store, const base::Clock& clock) : store_(store), clock_(clock), audit_(store, &clock) {}
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
  AuditLog audit_;
  std::unique_ptr<SecurePort> secure_port_;  // null: plain text. Sessions refer to it until they are gone
  std::unique_ptr<models::ModelLibrary> models_;
  v1::EnvironmentCatalogue environments_;
  std::unique_ptr<JobIds> job_ids_;
  std::unique_ptr<Admission> admission_;
  std::unique_ptr<EnrollmentLimit> enrollment_limit_;
  std::unique_ptr<JobIds> reservation_ids_;
  StallWatch stalls_{kStallPatience};
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
  std::unique_ptr<ReportService> report_service_;
  std::unique_ptr<AdminService> admin_service_;
  std::mutex serving_mutex_;
  bool serving_ = false;  // guarded by serving_mutex_
  grpc::ResourceQuota quota_{"coordinator"};
  std::unique_ptr<TcpListener> listener_;
  std::unique_ptr<grpc::Server> server_;  // set under serving_mutex_, since the actor's thread looks at it
  bool stopped_ = false;
};

int Milliseconds(const google::protobuf::Duration& duration) {
  return static_cast<int>(base::ToSeconds(base::FromProto(duration)) * 1000);
}

// Whether the address is served with TLS or in plain text; a word of warning where that is dangerous.
absl::Status GrpcServer::Secure(const v1::CoordinatorConfig& config, bool local) {
  const bool has_authority = Pki::Exists(config.data_dir());
  // What can open a unix socket is decided by its permissions.
  if (has_authority && !rpc::IsUnixAddress(config.listen())) {
    if (config.insecure())
      base::Log().warn("--insecure has no effect: there are certificates in {}/pki", config.data_dir());
    BALLAST_ASSIGN_OR_RETURN(secure_port_, SecurePort::Open(config, store_, &clock_, [this](const Refusal& refusal) {
                               audit_.Record(refusal.caller, {.action = refusal.action, .subject = {}}, refusal.status);
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
  const bool over_unix = config.listen().starts_with("unix:");
  const std::size_t max_open_files = RaiseOpenFileLimit();
  if (over_unix) {
    BALLAST_RETURN_IF_ERROR(CheckUnixSocket(config.listen()));
  } else {
    BALLAST_ASSIGN_OR_RETURN(listener_, TcpListener::Open(config.listen()));
  }

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
  admission_ = std::make_unique<Admission>(config.access_limits(), &clock_, &audit_);
  enrollment_limit_ = std::make_unique<EnrollmentLimit>(config.access_limits().enrollments_per_minute(), &clock_);
  job_intake_ = std::make_unique<JobIntake>(actor_.get(), store_, job_ids_.get(), models_.get(), &environments_);
  wanted_jobs_.Start(actor_.get(), job_intake_.get());
  job_service_ =
      std::make_unique<JobService>(actor_.get(), store_, job_intake_.get(), access, admission_.get(), &audit_);
  reservation_service_ =
      std::make_unique<ReservationService>(actor_.get(), reservation_ids_.get(), admission_.get(), &audit_);
  schedule_service_ = std::make_unique<ScheduleService>(actor_.get(), job_intake_.get(), admission_.get(), &audit_);
  run_service_ = std::make_unique<RunService>(*store_, admission_.get());
  device_service_ = std::make_unique<DeviceService>(actor_.get(), store_, admission_.get(), &audit_);
  report_service_ = std::make_unique<ReportService>(*store_, clock_, admission_.get());
  model_service_ = std::make_unique<ModelService>(models_.get(), store_, admission_.get(), &audit_, &stalls_);
  worker_service_ =
      std::make_unique<WorkerService>(actor_.get(), models_.get(), access, admission_.get(), &audit_, &stalls_);
  enrollment_service_ = std::make_unique<EnrollmentService>(desk, enrollment_limit_.get(), admission_.get(), &audit_);
  admin_service_ = std::make_unique<AdminService>(desk, store_, admission_.get(), &audit_);

  rpc::LogGrpcQuietly();
  // Debian builds abseil with its search for deadlocks: a graph over all of gRPC's mutexes, with many of each
  // connection, that is walked whenever one is locked while another is held. With some thousands of connections it
  // takes all the time there is.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  const std::shared_ptr<grpc::ServerCredentials> credentials =
      secure_port_ == nullptr ? grpc::InsecureServerCredentials() : secure_port_->Credentials();
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
  int bound = 0;
  if (over_unix) {
    builder.AddListeningPort(config.listen(), credentials, &bound);
  } else {
    acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  }
  // The kernel looks after connections that say nothing (tcp_listener.cc). gRPC 1.51 would set its timer anew with
  // every message that comes, which is a quarter of the processor's time with 10,000 workers.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, INT_MAX);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
  const v1::AccessLimits& limits = config.access_limits();
  // From the connection's first byte to the client's first HTTP/2 settings.
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(limits.handshake_timeout()));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(limits.streams_per_connection()));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kMaxIdleMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.SetMaxReceiveMessageSize(static_cast<int>(std::min<std::uint64_t>(limits.message_bytes(), INT_MAX)));
  builder.SetMaxSendMessageSize(rpc::kMaxMessageBytes);
  // With its probes gRPC lets a stream send as much as comes in while a ping is answered. Where the coordinator is
  // slow, that is tens of MiB for a model that is pushed, and then the stream would be ended for what it was allowed.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
  // gRPC 1.51 looks at the size of a message when all of it is in memory: what it may have for buffers is what bounds a
  // message that says it is huge. Beyond it, it ends streams. So there is room for two of the largest messages, and for
  // what as many connections need as there have been.
  const auto bound_buffers = [this, messages = 2 * limits.message_bytes()](std::size_t open_files) {
    quota_.Resize(messages + std::min(open_files * kConnectionBytes, kMaxConnectionBytes));
  };
  bound_buffers(kInitialFiles);
  builder.SetResourceQuota(quota_.SetMaxThreads(kMaxThreads));
  builder.RegisterService(job_service_.get());
  builder.RegisterService(reservation_service_.get());
  builder.RegisterService(schedule_service_.get());
  builder.RegisterService(run_service_.get());
  builder.RegisterService(device_service_.get());
  builder.RegisterService(report_service_.get());
  builder.RegisterService(model_service_.get());
  builder.RegisterService(worker_service_.get());
  builder.RegisterService(enrollment_service_.get());
  builder.RegisterService(admin_service_.get());
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    if (over_unix) BALLAST_RETURN_IF_ERROR(CheckUnixSocket(config.listen()));  // taken meanwhile?
    return WithNextStep(absl::UnavailableError(fmt::format("listen on {}: gRPC refused it", config.listen())),
                        "give another --listen address; --log-level debug says what gRPC has against this one");
  }
  BeginRetention(config.retention());
  address_ = over_unix ? config.listen() : WithPort(config.listen(), listener_->port());
  if (listener_ != nullptr) {
    const std::size_t reserved = std::min(max_open_files, kReservedFiles);
    const std::size_t most = std::min(max_open_files - reserved, kMaxFiles);
    // No address alone keeps the others out.
    const std::size_t asked = limits.connections_per_address() == 0 ? most : limits.connections_per_address();
    listener_->Start(std::move(acceptor), {.max_open_files = most,
                                           .max_per_address = std::min(asked, most / 4 * 3),
                                           .on_open_files = [bound_buffers](std::size_t open_files) {
                                             bound_buffers(std::max(open_files, kInitialFiles));
                                           }});
  }
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
  removal.audit = [this](base::SystemTime before) {
    return store_->WriteAndWait({storage::DeleteAuditBefore{.time = base::ToProto(before)}});
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
  listener_.reset();
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
