#include "common/rpc/enrollment.h"

#include <future>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "ballast/v1/enrollment_service.grpc.pb.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer_inspection.h"
#include "common/tls/private_key.h"
#include "grpcpp/generic/generic_stub.h"

namespace ballast::rpc {
namespace {

// The certificate of the authority that the token names, where the server's certificate is by it and valid.
absl::StatusOr<std::string> FindAuthority(const std::vector<std::string>& chain, const std::string& fingerprint) {
  std::string shown;
  for (const std::string& pem : chain) {
    BALLAST_ASSIGN_OR_RETURN(const tls::CertificateFacts facts, tls::ReadCertificate(pem));
    shown = facts.fingerprint;
    if (facts.fingerprint != fingerprint) continue;
    BALLAST_RETURN_IF_ERROR(tls::CheckServerCertificate(chain.front(), pem));
    BALLAST_ASSIGN_OR_RETURN(const tls::CertificateFacts own, tls::ReadCertificate(chain.front()));
    BALLAST_RETURN_IF_ERROR(
        base::WithContext(tls::CheckTime(own, base::RealClock().Now()), "the coordinator's certificate"));
    return pem;
  }
  return absl::UnauthenticatedError(fmt::format(
      "this is not the coordinator that the token is for (authority {}… instead of {}…); the token was not sent",
      shown.substr(0, 16), fingerprint.substr(0, 16)));
}

absl::StatusOr<tls::Identity> IdentityOf(const std::string& private_key, const v1::EnrollResponse& response,
                                         const std::string& authority_pem) {
  // The authority is the one that was checked, whatever the answer says.
  return tls::MakeIdentity(private_key, response.certificate_pem(), authority_pem);
}

absl::Status At(const std::string& address, const absl::Status& status) {
  return base::WithContext(status, fmt::format("coordinator at {}", address));
}

}  // namespace

absl::StatusOr<tls::Identity> Enroll(const tls::JoinTarget& target, const std::string& name,
                                     std::chrono::milliseconds timeout) {
  BALLAST_ASSIGN_OR_RETURN(const tls::JoinToken token, tls::ReadJoinToken(target.token));
  BALLAST_ASSIGN_OR_RETURN(const bool local, IsLocalAddress(target.address));
  if (IsUnixAddress(target.address)) {
    return At(target.address,
              absl::InvalidArgumentError("a unix socket needs no certificate; join by HOST:PORT, or use it without"));
  }
  const auto shown = std::make_shared<ShownCertificates>();
  const auto check = [fingerprint = token.authority_fingerprint](const std::vector<std::string>& chain) {
    return FindAuthority(chain, fingerprint).status();
  };
  const auto channel = CreateChannelWith(target.address, local, CheckingCredentials(check, shown));
  if (!AwaitConnection(*channel, timeout)) {
    if (!shown->verdict().ok()) return At(target.address, shown->verdict());
    const auto plain = CreateChannelWith(target.address, local, grpc::InsecureChannelCredentials());
    if (AwaitConnection(*plain, timeout)) {
      return At(target.address, absl::FailedPreconditionError("it speaks plain text and has no certificates; make them "
                                                              "with `ballast-coordinator init` and start it again"));
    }
    return At(target.address, absl::UnavailableError("nothing answers there"));
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
  // The health check is for everybody, but nobody comes by with a certificate that does not hold. Its empty request has
  // no bytes, so that no generated code is needed.
  grpc::GenericStub stub(channel);
  const auto context = MakeContext(timeout);
  const grpc::ByteBuffer request(nullptr, 0);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> answer;
  stub.UnaryCall(context.get(), "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&answer](grpc::Status status) { answer.set_value(std::move(status)); });
  const absl::Status status = FromGrpc(answer.get_future().get());
  return status.ok() ? status : At(address, status);
}

}  // namespace ballast::rpc
