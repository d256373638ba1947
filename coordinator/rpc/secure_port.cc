#include "coordinator/rpc/secure_port.h"

#include <utility>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "coordinator/rpc/next_step.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace ballast::coordinator {
namespace {

constexpr unsigned kReloadSeconds = 1;
constexpr std::chrono::seconds kSweepInterval(1);

}  // namespace

SecurePort::SecurePort(Pki pki, const v1::CoordinatorConfig& config, storage::Store* store, const base::Clock* clock,
                       std::function<void(const Refusal&)> on_refusal)
    : pki_(std::move(pki)),
      names_(config.server_names().begin(), config.server_names().end()),
      server_lifetime_(base::FromProto(config.certificates().server_lifetime())),
      clock_(clock),
      access_(pki_.authority().certificate_pem(), clock, std::move(on_refusal)),
      desk_(&pki_, &access_, store, clock, config.certificates()) {}

absl::StatusOr<std::unique_ptr<SecurePort>> SecurePort::Open(const v1::CoordinatorConfig& config, storage::Store* store,
                                                             const base::Clock* clock,
                                                             std::function<void(const Refusal&)> on_refusal) {
  BALLAST_ASSIGN_OR_RETURN(Pki pki, Pki::Open(config.data_dir()));
  std::unique_ptr<SecurePort> port(new SecurePort(std::move(pki), config, store, clock, std::move(on_refusal)));
  BALLAST_RETURN_IF_ERROR(port->RenewIfDue());
  if (const absl::Status status = port->desk_.LoadRevoked(); !status.ok()) return OfStore(status);
  SecurePort* const raw = port.get();
  port->thread_ = std::jthread([raw](const std::stop_token& stop) { raw->Run(stop); });
  return port;
}

SecurePort::~SecurePort() {
  thread_.request_stop();
}

absl::Status SecurePort::RenewIfDue() {
  const base::SystemTime now = clock_->Now();
  if (!pki_.ServerNeedsRenewal(names_, now)) return absl::OkStatus();
  BALLAST_RETURN_IF_ERROR(OfDataDirectory(
      base::WithContext(pki_.RenewServer(names_, now, server_lifetime_), "renew the coordinator's certificate")));
  base::Log().info("the coordinator has a new certificate");
  return absl::OkStatus();
}

void SecurePort::Run(const std::stop_token& stop) {
  std::string last_problem;
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, stop, kSweepInterval, [&stop] { return stop.stop_requested(); })) {
    access_.EndExpired();
    const absl::Status renewed = RenewIfDue();
    if (!renewed.ok() && renewed.message() != last_problem) {
      base::Log().error("{}; trying again every second", std::string(renewed.message()));
    }
    last_problem = std::string(renewed.message());
  }
}

std::shared_ptr<grpc::ServerCredentials> SecurePort::Credentials() {
  // Key and certificate are in one file, which is replaced as a whole.
  const auto files = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      pki_.server_file().string(), pki_.server_file().string(), pki_.authority_file().string(), kReloadSeconds);
  grpc::experimental::TlsServerCredentialsOptions options(files);
  options.watch_identity_key_cert_pairs();
  options.watch_root_certs();
  // Whoever shows a certificate proves to have its key. Whether the certificate holds is checked with each call, not
  // here: a handshake that fails could tell nobody why.
  options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::experimental::TlsServerCredentials(options);
  credentials->SetAuthMetadataProcessor(access_.Processor());
  return credentials;
}

}  // namespace ballast::coordinator
