#include "common/rpc/enrollment.h"

#include <future>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "absl/strings/match.h"
#include "ballast/v1/enrollment_service.grpc.pb.h"
#include "common/base/clock.h"
#include "common/base/next_step.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer_inspection.h"
#include "common/tls/private_key.h"
#include "grpcpp/generic/generic_stub.h"

namespace ballast::rpc {
namespace {

constexpr std::string_view kCheckWhoAnswers =
    "check the address and the network first: somebody may answer in the coordinator's place; then ask for a token of "
    "the coordinator that is there";

// Long enough for an answer that is there already.
constexpr std::chrono::milliseconds kAtOnce(1000);

// The certificate of the authority that the token names, where the server's certificate is by it and valid.
absl::StatusOr<std::string> FindAuthority(const std::vector<std::string>& chain, const std::string& fingerprint) {
  std::string shown;
  for (const std::string& pem : chain) {
    BALLAST_ASSIGN_OR_RETURN(const tls::CertificateFacts facts, tls::ReadCertificate(pem));
    shown = facts.fingerprint;
    if (facts.fingerprint != fingerprint) continue;
    if (const absl::Status status = tls::CheckServerCertificate(chain.front(), pem); !status.ok()) {
      return base::WithNextStep(
          absl::UnauthenticatedError(fmt::format(
              "this is not the coordinator that the token is for, by its certificate: {}; the token was not sent",
              std::string(status.message()))),
          kCheckWhoAnswers);
    }
    BALLAST_ASSIGN_OR_RETURN(const tls::CertificateFacts own, tls::ReadCertificate(chain.front()));
    if (const absl::Status status = tls::CheckTime(own, base::RealClock().Now()); !status.ok()) {
      return base::WithNextStep(base::WithContext(status, "the coordinator's certificate"),
                                "set the clock of this machine, or of the coordinator's; the token was not sent");
    }
    return pem;
  }
  return base::WithNextStep(
      absl::UnauthenticatedError(fmt::format(
          "this is not the coordinator that the token is for (authority {}… instead of {}…); the token was not sent",
          shown.substr(0, 16), fingerprint.substr(0, 16))),
      kCheckWhoAnswers);
}

absl::StatusOr<tls::Identity> IdentityOf(const std::string& private_key, const v1::EnrollResponse& response,
                                         const std::string& authority_pem) {
  // The authority is the one that was checked, whatever the answer says.
  return tls::MakeIdentity(private_key, response.certificate_pem(), authority_pem);
}

absl::Status At(const std::string& address, const absl::Status& status) {
  const std::optional<std::string> next_step = base::NextStepOf(status);
  absl::Status at = base::WithContext(status, fmt::format("coordinator at {}", address));
  return next_step ? base::WithNextStep(std::move(at), *next_step) : at;
}

// A call that is for everybody, but nobody comes by with a certificate that does not hold. Its empty request has no
// bytes, so that no generated code is needed.
absl::Status CheckHealth(const std::shared_ptr<grpc::Channel>& channel, std::chrono::milliseconds timeout) {
  grpc::GenericStub stub(channel);
  const auto context = MakeContext(timeout);
  const grpc::ByteBuffer request(nullptr, 0);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> answer;
  stub.UnaryCall(context.get(), "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&answer](grpc::Status status) { answer.set_value(std::move(status)); });
  return FromGrpc(answer.get_future().get());
}

// Why a channel that failed to connect did, as far as it can be told apart: only the status of a call says it.
absl::Status WhyNobodyAnswers(const std::shared_ptr<grpc::Channel>& channel) {
  if (channel->GetState(false) == GRPC_CHANNEL_TRANSIENT_FAILURE) {
    const absl::Status status = CheckHealth(channel, kAtOnce);
    if (absl::IsUnavailable(status) && absl::StrContains(std::string(status.message()), "DNS resolution failed")) {
      return absl::UnavailableError("its host name leads to no address (DNS)");
    }
  }
  return absl::UnavailableError("nothing answers there");
}

}  // namespace

absl::StatusOr<tls::Identity> Enroll(const tls::JoinTarget& target, const std::string& name,
                                     std::chrono::milliseconds timeout) {
  BALLAST_ASSIGN_OR_RETURN(const tls::JoinToken token, tls::ReadJoinToken(target.token));
  const absl::StatusOr<bool> local = IsLocalAddress(target.address);
  if (!local.ok()) return base::WithNextStep(local.status(), "give the token with its address: TOKEN@HOST:PORT");
  if (IsUnixAddress(target.address)) {
    return base::WithNextStep(
        At(target.address, absl::InvalidArgumentError("a unix socket needs no certificate, and gives none")),
        fmt::format("leave the token out: start ballast-worker without --join and with --coordinator {0}, give ballast "
                    "--coordinator {0}; or join by HOST:PORT",
                    target.address));
  }
  const auto shown = std::make_shared<ShownCertificates>();
  const auto check = [fingerprint = token.authority_fingerprint](const std::vector<std::string>& chain) {
    return FindAuthority(chain, fingerprint).status();
  };
  const auto channel = CreateChannelWith(target.address, *local, CheckingCredentials(check, shown));
  if (!AwaitConnection(*channel, timeout)) {
    if (!shown->verdict().ok()) return At(target.address, shown->verdict());
    const auto plain = CreateChannelWith(target.address, *local, grpc::InsecureChannelCredentials());
    if (AwaitConnection(*plain, timeout)) {
      return base::WithNextStep(
          At(target.address, absl::FailedPreconditionError("it speaks plain text and has no certificates; make them "
                                                           "with `ballast-coordinator init` and start it again")),
          "on the coordinator's machine: ballast-coordinator init, and the coordinator again; or leave the token out");
    }
    return At(target.address, WhyNobodyAnswers(plain));
  }
  BALLAST_ASSIGN_OR_RETURN(const std::string authority, FindAuthority(shown->chain(), token.authority_fingerprint));
  BALLAST_ASSIGN_OR_RETURN(const std::string key, tls::MakePrivateKey());
  v1::EnrollRequest request;
  request.set_token(target.token);
  request.set_name(name);
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_certificate_request_pem(), tls::MakeCertificateRequest(key, name));
  v1::EnrollResponse response;
  const absl::Status status =
      FromGrpc(v1::EnrollmentService::NewStub(channel)->Enroll(MakeContext(timeout).get(), request, &response));
  if (!status.ok()) return At(target.address, status);
  return IdentityOf(key, response, authority);
}

absl::StatusOr<tls::Identity> Renew(const std::string& address, const tls::Identity& identity,
                                    std::chrono::milliseconds timeout) {
  BALLAST_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, CreateChannel(address, identity));
  BALLAST_ASSIGN_OR_RETURN(const std::string key, tls::MakePrivateKey());
  v1::RenewRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_certificate_request_pem(),
                           tls::MakeCertificateRequest(key, identity.facts.name));
  v1::EnrollResponse response;
  const absl::Status status =
      FromGrpc(v1::EnrollmentService::NewStub(channel)->Renew(MakeContext(timeout).get(), request, &response));
  if (!status.ok()) return At(address, status);
  return IdentityOf(key, response, identity.authority_pem);
}

absl::Status CheckAccepted(const std::string& address, const tls::Identity& identity,
                           std::chrono::milliseconds timeout) {
  BALLAST_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, CreateChannel(address, identity));
  const absl::Status status = CheckHealth(channel, timeout);
  return status.ok() ? status : At(address, status);
}

}  // namespace ballast::rpc
