#include "coordinator/rpc/access_control.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/tls/authority.h"
#include "common/tls/private_key.h"
#include "coordinator/rpc/method_access.h"

namespace ballast::coordinator {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr char kSubmit[] = "/ballast.v1.JobService/SubmitJob";
constexpr char kConnect[] = "/ballast.v1.WorkerService/Connect";
constexpr char kEnroll[] = "/ballast.v1.EnrollmentService/Enroll";

class SettableClock final : public base::Clock {
 public:
  base::SystemTime Now() const override { return now; }
  std::chrono::nanoseconds Monotonic() const override { return now.time_since_epoch(); }
  base::SystemTime now{seconds(1'764'460'800)};
};

class AccessControlTest : public testing::Test {
 protected:
  std::string Certificate(v1::Role role, const std::string& name = "somebody") const {
    return Issue(authority_, role, name);
  }
  std::string Issue(const tls::CertificateAuthority& authority, v1::Role role, const std::string& name) const {
    const std::string request = *tls::MakeCertificateRequest(*tls::MakePrivateKey(), "x");
    return *authority.IssueClient(request, role, name, clock_.now, hours(1));
  }
  absl::StatusCode Check(std::string_view method, const std::string& certificate) {
    const absl::Status status = access_.Check(method, certificate);
    message_ = std::string(status.message());
    return status.code();
  }
  v1::Certificate Record(const std::string& pem) const {
    const tls::CertificateFacts facts = *tls::ReadCertificate(pem);
    v1::Certificate certificate;
    certificate.set_serial(facts.serial);
    certificate.set_role(facts.role);
    certificate.set_name(facts.name);
    *certificate.mutable_revoke_time() = base::ToProto(clock_.now);
    certificate.set_revoke_reason("by anna: lost");
    return certificate;
  }

  SettableClock clock_;
  const tls::CertificateAuthority authority_ = *tls::CertificateAuthority::Create(clock_.now);
  std::vector<Refusal> refusals_;
  AccessControl access_{authority_.certificate_pem(), &clock_,
                        [this](const Refusal& refusal) { refusals_.push_back(refusal); }};
  std::string message_;
};

TEST_F(AccessControlTest, EveryCallIsForItsRolesAndNobodyElse) {
  for (const v1::Role role : {v1::WORKER, v1::CLIENT, v1::ADMIN}) {
    const std::string certificate = Certificate(role);
    for (const MethodAccess& entry : MethodTable()) {
      EXPECT_EQ(Check(entry.method, certificate),
                Allows(entry.access, role) ? absl::StatusCode::kOk : absl::StatusCode::kPermissionDenied)
          << entry.method << " for " << tls::RoleText(role);
    }
  }
}

TEST_F(AccessControlTest, WithoutACertificateThereIsOnlyEnrolmentAndHealth) {
  for (const MethodAccess& entry : MethodTable()) {
    EXPECT_EQ(Check(entry.method, ""),
              entry.access == Access::kAnyone ? absl::StatusCode::kOk : absl::StatusCode::kUnauthenticated)
        << entry.method;
  }
  EXPECT_EQ(Check("/ballast.v1.JobService/NoSuchCall", ""), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(message_, HasSubstr("ballast login TOKEN@HOST:PORT"));
}

TEST_F(AccessControlTest, WhatIsInNoTableIsRefusedToAdministratorsToo) {
  for (const char* method : {"/ballast.v1.JobService/NoSuchCall", "", "/", "/ballast.v1.JobService/SubmitJob/"}) {
    EXPECT_EQ(Check(method, Certificate(v1::ADMIN)), absl::StatusCode::kUnimplemented) << method;
  }
}

TEST_F(AccessControlTest, RefusalsSayWhoAskedForWhat) {
  EXPECT_EQ(Check(kSubmit, Certificate(v1::WORKER, "mini-3")), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(message_, "SubmitJob is for clients and administrators; this is the certificate of worker 'mini-3'");
  ASSERT_EQ(refusals_.size(), 1U);
  EXPECT_EQ(refusals_[0].caller.name, "mini-3");
  EXPECT_EQ(refusals_[0].caller.role, v1::WORKER);
  EXPECT_EQ(refusals_[0].action, "SubmitJob");
  EXPECT_EQ(Check(kSubmit, Certificate(v1::CLIENT)), absl::StatusCode::kOk);
  EXPECT_EQ(refusals_.size(), 1U);
}

TEST_F(AccessControlTest, WhatSomebodyMakesUpIsNotWrittenDown) {
  const std::string made_up = "/" + std::string(7000, 'x');
  for (const std::string& certificate : {std::string(), Certificate(v1::ADMIN, "root")}) {
    for (const std::string& method : {made_up, made_up + "/y", std::string("nonsense")}) {
      EXPECT_NE(Check(method, certificate), absl::StatusCode::kOk);
      EXPECT_EQ(refusals_.back().action, "UnknownCall");
      EXPECT_LT(refusals_.back().status.message().size(), 300U);
    }
  }
}

TEST_F(AccessControlTest, ACertificateThatDoesNotHoldIsRefusedForEveryCall) {
  const tls::CertificateAuthority other = *tls::CertificateAuthority::Create(clock_.now);
  const std::string foreign = Issue(other, v1::ADMIN, "mallory");
  for (const char* method : {kSubmit, kConnect, kEnroll}) {
    EXPECT_EQ(Check(method, foreign), absl::StatusCode::kUnauthenticated) << method;
    EXPECT_THAT(message_, HasSubstr("another certificate authority issued it"));
    EXPECT_EQ(Check(method, "nonsense"), absl::StatusCode::kUnauthenticated) << method;
  }
  EXPECT_TRUE(refusals_.back().caller.name.empty()) << "what another authority says of its holders counts for nothing";
}

TEST_F(AccessControlTest, TheClockIsLookedAtWithEveryCall) {
  const std::string certificate = Certificate(v1::CLIENT, "anna");
  EXPECT_EQ(Check(kSubmit, certificate), absl::StatusCode::kOk);
  clock_.now += hours(1) + seconds(1);
  EXPECT_EQ(Check(kSubmit, certificate), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(message_, HasSubstr("the certificate of client 'anna' is not valid now: it expired on 2025-11-30"));
  EXPECT_EQ(Check(kEnroll, certificate), absl::StatusCode::kUnauthenticated);
  clock_.now -= hours(3);
  EXPECT_EQ(Check(kSubmit, certificate), absl::StatusCode::kUnauthenticated);
}

TEST_F(AccessControlTest, ARevokedCertificateIsRefusedAtOnceAndOthersOfTheNameAreNot) {
  const std::string lost = Certificate(v1::CLIENT, "anna");
  const std::string other = Certificate(v1::CLIENT, "anna");
  EXPECT_EQ(Check(kSubmit, lost), absl::StatusCode::kOk);
  access_.Revoke(Record(lost));
  EXPECT_EQ(Check(kSubmit, lost), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(message_,
              HasSubstr("the certificate of client 'anna' was revoked on 2025-11-30 00:00:00 UTC (by anna: lost)"));
  EXPECT_EQ(refusals_.back().caller.name, "anna") << "who used it is written down";
  EXPECT_EQ(Check(kSubmit, other), absl::StatusCode::kOk);
}

TEST_F(AccessControlTest, WithANameAllThatWereIssuedBeforeAreRefused) {
  const std::string unknown = Certificate(v1::CLIENT, "anna");
  const std::string of_admin = Certificate(v1::ADMIN, "anna");
  const std::string of_other = Certificate(v1::CLIENT, "bob");
  clock_.now += seconds(30);
  v1::NameRevocation revocation;
  revocation.set_role(v1::CLIENT);
  revocation.set_name("anna");
  *revocation.mutable_revoke_time() = base::ToProto(clock_.now);
  revocation.set_revoke_reason("by root: lost");
  access_.RevokeName(revocation);
  EXPECT_EQ(Check(kSubmit, unknown), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(message_, HasSubstr("client 'anna' was revoked on 2025-11-30 00:00:30 UTC (by root: lost)"));
  EXPECT_EQ(Check(kSubmit, of_admin), absl::StatusCode::kOk);
  EXPECT_EQ(Check(kSubmit, of_other), absl::StatusCode::kOk);
  EXPECT_EQ(Check(kSubmit, Certificate(v1::CLIENT, "anna")), absl::StatusCode::kUnauthenticated) << "issued just now";
  clock_.now += seconds(1);
  EXPECT_EQ(Check(kSubmit, Certificate(v1::CLIENT, "anna")), absl::StatusCode::kOk);
  clock_.now += hours(24);
  EXPECT_EQ(Check(kSubmit, Certificate(v1::CLIENT, "anna")), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace ballast::coordinator
