#include "common/rpc/enrollment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "common/base/next_step.h"
#include "common/tls/authority.h"
#include "common/tls/private_key.h"
#include "tests/unit/common/rpc/tls_server.h"

namespace ballast::rpc {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::StartsWith;

base::SystemTime Now() {
  return base::RealClock().Now();
}

class EnrollTest : public testing::Test {
 protected:
  // What comes of it with a token of this authority.
  [[nodiscard]] absl::Status EnrollAt(const std::string& address) const {
    const std::string token =
        *tls::MakeJoinToken(v1::WORKER, "", minutes(15), Now(), authority_.fingerprint(), "secret");
    return Enroll({token, address}, "q1", seconds(10)).status();
  }
  static std::string NextStep(const absl::Status& status) { return base::NextStepOf(status).value_or(""); }

  const tls::CertificateAuthority authority_ = *tls::CertificateAuthority::Create(Now());
  const std::string key_ = *tls::MakePrivateKey();
  const std::string request_ = *tls::MakeCertificateRequest(key_, "x");
};

TEST_F(EnrollTest, WhoeverAnswersInTheCoordinatorsPlaceIsLookedIntoFirst) {
  const tls::CertificateAuthority other = *tls::CertificateAuthority::Create(Now());
  const TlsServer another(key_, *other.IssueServer(request_, {}, Now(), hours(1)) + other.certificate_pem());
  const TlsServer thief(
      key_, *authority_.IssueClient(request_, v1::WORKER, "q7", Now(), hours(1)) + authority_.certificate_pem());
  for (const auto& [server, cause] :
       {std::pair{&another, "(authority "}, std::pair{&thief, "it is that of worker 'q7'"}}) {
    const absl::Status status = EnrollAt(server->address());
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
    EXPECT_THAT(std::string(status.message()), HasSubstr("this is not the coordinator that the token is for"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(cause));
    EXPECT_THAT(std::string(status.message()), HasSubstr("the token was not sent"));
    EXPECT_THAT(NextStep(status), StartsWith("check the address and the network first"));
  }
}

TEST_F(EnrollTest, AClockThatIsWrongIsToldAsThat) {
  const base::SystemTime later = Now() + hours(48);
  const TlsServer server(key_, *authority_.IssueServer(request_, {}, later, hours(1)) + authority_.certificate_pem());
  const absl::Status status = EnrollAt(server.address());
  EXPECT_THAT(std::string(status.message()), HasSubstr("is the clock right?"));
  EXPECT_THAT(NextStep(status), StartsWith("set the clock"));
}

TEST_F(EnrollTest, WhereNoTokenIsNeededItIsLeftOut) {
  const absl::Status socket = EnrollAt("unix:/run/x.sock");
  EXPECT_EQ(socket.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(NextStep(socket), HasSubstr("without --join and with --coordinator unix:/run/x.sock"));
  const TlsServer plain("", "");
  const absl::Status status = EnrollAt(plain.address());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(NextStep(status), HasSubstr("ballast-coordinator init"));
}

TEST_F(EnrollTest, ANameThatLeadsNowhereIsNotAHostThatDoesNotAnswer) {
  // Longer than a name may be, so that nobody is asked for it.
  const absl::Status unknown = EnrollAt(std::string(64, 'x') + ":7850");
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("its host name leads to no address (DNS)"));
  const absl::Status closed = EnrollAt("127.0.0.1:1");
  EXPECT_EQ(closed.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(closed.message()), HasSubstr("nothing answers there"));
  EXPECT_EQ(EnrollAt("lab").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(NextStep(EnrollAt("lab")), HasSubstr("TOKEN@HOST:PORT"));
}

}  // namespace
}  // namespace ballast::rpc
