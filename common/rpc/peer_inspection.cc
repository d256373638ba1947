#include "common/rpc/peer_inspection.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/tls/certificate.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace ballast::rpc {
namespace {

class ChainVerifier final : public grpc::experimental::ExternalCertificateVerifier {
 public:
  ChainVerifier(ChainCheck check, std::shared_ptr<ShownCertificates> shown)
      : check_(std::move(check)), shown_(std::move(shown)) {}

  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)> /*callback*/, grpc::Status* sync_status) override {
    const grpc::string_ref text = request->peer_cert_full_chain();
    std::vector<std::string> chain = tls::SplitCertificates({text.data(), text.size()});
    const absl::Status verdict = chain.empty() ? absl::UnauthenticatedError("it shows no certificate") : check_(chain);
    *sync_status = ToGrpc(verdict);
    shown_->Set(std::move(chain), verdict);
    return true;
  }
  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest* /*request*/) override {}

 private:
  const ChainCheck check_;
  const std::shared_ptr<ShownCertificates> shown_;
};

absl::Status CheckServer(const std::vector<std::string>& chain, const tls::Identity& identity) {
  if (const absl::Status status = tls::CheckServerCertificate(chain.front(), identity.authority_pem); !status.ok()) {
    const std::string problem =
        fmt::format("its certificate is not one of the coordinator that was joined: {}", std::string(status.message()));
    BALLAST_ASSIGN_OR_RETURN(const tls::CertificateFacts own, tls::ReadCertificate(identity.authority_pem));
    // Its own comes first; a coordinator shows its authority's behind it.
    const auto shown = tls::ReadCertificate(chain.back());
    if (chain.size() < 2 || !shown.ok() || shown->fingerprint == own.fingerprint) {
      return absl::UnauthenticatedError(
          problem + "; something else answers in the coordinator's place: check the address and the network");
    }
    return absl::UnauthenticatedError(
        fmt::format("{} (authority {}… instead of {}…); another coordinator has this address, or it was set up anew",
                    problem, shown->fingerprint.substr(0, 16), own.fingerprint.substr(0, 16)));
  }
  BALLAST_ASSIGN_OR_RETURN(const tls::CertificateFacts facts, tls::ReadCertificate(chain.front()));
  return base::WithContext(tls::CheckTime(facts, base::RealClock().Now()), "the coordinator's certificate");
}

}  // namespace

void ShownCertificates::Set(std::vector<std::string> chain, absl::Status verdict) {
  const std::scoped_lock lock(mutex_);
  chain_ = std::move(chain);
  verdict_ = std::move(verdict);
}

std::vector<std::string> ShownCertificates::chain() const {
  const std::scoped_lock lock(mutex_);
  return chain_;
}

absl::Status ShownCertificates::verdict() const {
  const std::scoped_lock lock(mutex_);
  return verdict_;
}

std::shared_ptr<grpc::ChannelCredentials> CheckingCredentials(ChainCheck check,
                                                              std::shared_ptr<ShownCertificates> shown) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  // The verifier checks more than OpenSSL would, against an authority that is known only once it was shown.
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  options.set_certificate_verifier(
      grpc::experimental::ExternalCertificateVerifier::Create<ChainVerifier>(std::move(check), std::move(shown)));
  return grpc::experimental::TlsCredentials(options);
}

bool AwaitConnection(grpc::Channel& channel, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::system_clock::now() + timeout;
  grpc_connectivity_state state = channel.GetState(true);
  while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE) {
    if (!channel.WaitForStateChange(state, deadline)) return false;
    state = channel.GetState(true);
  }
  return state == GRPC_CHANNEL_READY;
}

absl::Status InspectPeer(const std::string& address, const tls::Identity* identity, std::chrono::milliseconds timeout) {
  BALLAST_ASSIGN_OR_RETURN(const bool local, IsLocalAddress(address));
  if (IsUnixAddress(address)) return absl::OkStatus();
  const auto shown = std::make_shared<ShownCertificates>();
  const auto look_only = [](const std::vector<std::string>&) { return absl::UnauthenticatedError("seen enough"); };
  const auto channel = CreateChannelWith(address, local, CheckingCredentials(look_only, shown));
  (void)AwaitConnection(*channel, timeout);
  if (const std::vector<std::string> chain = shown->chain(); !chain.empty()) {
    if (identity != nullptr) return CheckServer(chain, *identity);
    return absl::UnauthenticatedError("the coordinator there wants a certificate, and there is none here for it");
  }
  if (identity == nullptr) return absl::OkStatus();
  const auto plain = CreateChannelWith(address, local, grpc::InsecureChannelCredentials());
  if (!AwaitConnection(*plain, timeout)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "what answers there speaks plain text, and the certificate that is kept for it is for TLS");
}

}  // namespace ballast::rpc
