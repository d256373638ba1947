#include "common/rpc/peer_inspection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "common/tls/authority.h"
#include "common/tls/private_key.h"
#include "tests/unit/common/rpc/tls_server.h"

namespace ballast::rpc {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

class InspectPeerTest : public testing::Test {
 protected:
  static tls::Identity IdentityBy(const tls::CertificateAuthority& authority, v1::Role role, const std::string& name) {
    const std::string key = *tls::MakePrivateKey();
    const std::string certificate =
        *authority.IssueClient(*tls::MakeCertificateRequest(key, name), role, name, base::RealClock().Now(), hours(1));
    return *tls::MakeIdentity(key, certificate, authority.certificate_pem());
  }
  static std::string Look(const TlsServer& server, const tls::Identity* identity) {
    const absl::Status status = InspectPeer(server.address(), identity, seconds(10));
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
    return std::string(status.message());
  }

  const tls::CertificateAuthority authority_ = *tls::CertificateAuthority::Create(base::RealClock().Now());
  const tls::Identity own_ = IdentityBy(authority_, v1::CLIENT, "anna");
};

TEST_F(InspectPeerTest, ADeviceThatPosesAsTheCoordinatorIsNamed) {
  const tls::Identity thief = IdentityBy(authority_, v1::WORKER, "q1");
  const std::string whole_chain = thief.certificate_pem + thief.authority_pem;
  for (const std::string& chain : {whole_chain, thief.certificate_pem}) {
    const TlsServer server(thief.private_key_pem, chain);
    const std::string message = Look(server, &own_);
    EXPECT_THAT(message, HasSubstr("it is that of worker 'q1', not a coordinator's"));
    EXPECT_THAT(message, HasSubstr("check the address and the network"));
    EXPECT_THAT(message, Not(HasSubstr("instead of"))) << "the authority is the same";
  }
}

TEST_F(InspectPeerTest, AnotherAuthorityIsShownBesideTheOneThatWasJoined) {
  const tls::CertificateAuthority other = *tls::CertificateAuthority::Create(base::RealClock().Now());
  const std::string key = *tls::MakePrivateKey();
  const std::string certificate =
      *other.IssueServer(*tls::MakeCertificateRequest(key, "x"), {}, base::RealClock().Now(), hours(1));
  const TlsServer server(key, certificate + other.certificate_pem());
  const std::string message = Look(server, &own_);
  EXPECT_THAT(message,
              HasSubstr("another certificate authority issued it (authority " + other.fingerprint().substr(0, 16) +
                        "… instead of " + authority_.fingerprint().substr(0, 16) + "…)"));
  EXPECT_THAT(Look(server, nullptr), HasSubstr("wants a certificate, and there is none here for it"));
}

}  // namespace
}  // namespace ballast::rpc
