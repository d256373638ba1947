// The server with certificates: real TLS, real store.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ballast/v1/admin_service.grpc.pb.h"
#include "common/base/file.h"
#include "common/rpc/enrollment.h"
#include "common/rpc/peer_inspection.h"
#include "common/tls/authority.h"
#include "common/tls/join_token.h"
#include "common/tls/private_key.h"
#include "coordinator/rpc/next_step.h"
#include "coordinator/rpc/pki.h"
#include "tests/unit/coordinator/rpc/server_fixture.h"

namespace ballast::coordinator {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::SizeIs;

base::SystemTime Now() {
  return base::RealClock().Now();
}

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

class SecureServerTest : public ServerTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Pki::Create(directory_, {"lab.example"}, Now(), hours(1)).ok());
    pki_.emplace(*Pki::Open(directory_));
    StartSecure();
  }
  void StartSecure() {
    StartServer([](v1::CoordinatorConfig* config) {
      config->mutable_certificates()->mutable_worker_lifetime()->set_seconds(3600);
      config->mutable_certificates()->mutable_client_lifetime()->set_seconds(3600);
      config->mutable_certificates()->mutable_server_lifetime()->set_seconds(3600);
    });
  }
  std::string Token(v1::Role role, const std::string& name = "", std::chrono::nanoseconds ttl = minutes(15),
                    base::SystemTime now = Now()) {
    return *tls::MakeJoinToken(role, name, ttl, now, pki_->authority().fingerprint(), pki_->token_secret());
  }
  absl::StatusOr<tls::Identity> Join(const std::string& token, const std::string& name) {
    return rpc::Enroll({token, server_->address()}, name, seconds(10));
  }
  std::shared_ptr<grpc::Channel> ChannelOf(const tls::Identity& identity) {
    return *rpc::CreateChannel(server_->address(), identity);
  }
  // What this identity gets for a client's and for an administrator's call.
  absl::Status List(const std::shared_ptr<grpc::Channel>& channel) {
    v1::ListJobsResponse response;
    return rpc::FromGrpc(
        v1::JobService::NewStub(channel)->ListJobs(rpc::MakeContext(seconds(10)).get(), {}, &response));
  }
  absl::StatusOr<v1::ListCertificatesResponse> Certificates(const std::shared_ptr<grpc::Channel>& channel) {
    v1::ListCertificatesResponse response;
    const absl::Status status = rpc::FromGrpc(
        v1::AdminService::NewStub(channel)->ListCertificates(rpc::MakeContext(seconds(10)).get(), {}, &response));
    if (!status.ok()) return status;
    return response;
  }
  absl::StatusOr<v1::RevokeCertificatesResponse> Revoke(const tls::Identity& admin, const std::string& name) {
    v1::RevokeCertificatesRequest request;
    request.set_name(name);
    return Revoke(admin, request);
  }
  absl::StatusOr<v1::RevokeCertificatesResponse> Revoke(const tls::Identity& admin,
                                                        v1::RevokeCertificatesRequest request) {
    request.set_reason("lost");
    v1::RevokeCertificatesResponse response;
    const absl::Status status =
        rpc::FromGrpc(v1::AdminService::NewStub(ChannelOf(admin))
                          ->RevokeCertificates(rpc::MakeContext(seconds(10)).get(), request, &response));
    if (!status.ok()) return status;
    return response;
  }

  std::optional<Pki> pki_;
};

TEST_F(SecureServerTest, AnIdentityComesOfATokenAndSubmitsUnderItsOwnName) {
  const auto anna = Join(Token(v1::CLIENT), "anna@desk");
  ASSERT_TRUE(anna.ok()) << anna.status();
  EXPECT_EQ(anna->facts.role, v1::CLIENT);
  const auto worker = Join(Token(v1::WORKER), "dev-1");
  ASSERT_TRUE(worker.ok()) << worker.status();
  TestWorker device(ChannelOf(*worker), "dev-1");
  device.Hello();
  v1::SubmitJobRequest request = Request();
  request.set_submitter("somebody else");
  v1::Job job;
  const absl::Status status = rpc::FromGrpc(
      v1::JobService::NewStub(ChannelOf(*anna))->SubmitJob(rpc::MakeContext(seconds(10)).get(), request, &job));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(job.submitter(), "anna@desk");
  EXPECT_FALSE(device.ReadAssignment().empty());
}

TEST_F(SecureServerTest, RolesAreCheckedOnTheWire) {
  const tls::Identity worker = *Join(Token(v1::WORKER), "dev-1");
  const tls::Identity client = *Join(Token(v1::CLIENT), "anna");
  const tls::Identity admin = *Join(Token(v1::ADMIN), "root");
  EXPECT_EQ(List(ChannelOf(worker)).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(List(ChannelOf(client)).ok());
  EXPECT_EQ(Certificates(ChannelOf(client)).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(List(ChannelOf(admin)).ok());
  const auto all = Certificates(ChannelOf(admin));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(all->certificates(), SizeIs(3));
  TestWorker no_worker(ChannelOf(client), "dev-2");
  EXPECT_EQ(no_worker.End().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(SecureServerTest, WithoutACertificateOfThisAuthorityNobodyComesIn) {
  const auto shown = std::make_shared<rpc::ShownCertificates>();
  const auto anyone = [](const std::vector<std::string>&) { return absl::OkStatus(); };
  const auto bare = rpc::CreateChannelWith(server_->address(), true, rpc::CheckingCredentials(anyone, shown));
  const absl::Status none = List(bare);
  EXPECT_EQ(none.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(none), HasSubstr("ballast login TOKEN@HOST:PORT"));
  EXPECT_THAT(shown->chain(), SizeIs(2)) << "the authority's certificate goes out, too";

  // Signed by another authority, but the server is known: as if two coordinators shared an address.
  const tls::CertificateAuthority other = *tls::CertificateAuthority::Create(Now());
  tls::Identity foreign;
  foreign.private_key_pem = *tls::MakePrivateKey();
  foreign.certificate_pem = *other.IssueClient(*tls::MakeCertificateRequest(foreign.private_key_pem, "x"), v1::ADMIN,
                                               "mallory", Now(), hours(1));
  foreign.authority_pem = pki_->authority().certificate_pem();
  const absl::Status another = List(ChannelOf(foreign));
  EXPECT_EQ(another.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(another), HasSubstr("another certificate authority"));
}

TEST_F(SecureServerTest, WhoCannotConnectIsToldWhy) {
  const tls::Identity admin = *Join(Token(v1::ADMIN), "root");
  EXPECT_TRUE(rpc::InspectPeer(server_->address(), &admin, seconds(5)).ok());
  const absl::Status plain = rpc::InspectPeer(server_->address(), nullptr, seconds(5));
  EXPECT_EQ(plain.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(plain), HasSubstr("wants a certificate"));
  tls::Identity other = admin;
  other.authority_pem = tls::CertificateAuthority::Create(Now())->certificate_pem();
  const absl::Status wrong = rpc::InspectPeer(server_->address(), &other, seconds(5));
  EXPECT_EQ(wrong.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(wrong), HasSubstr("not one of the coordinator that was joined"));
  EXPECT_EQ(List(ChannelOf(other)).code(), absl::StatusCode::kUnavailable);
}

TEST_F(SecureServerTest, ATokenGoesToNoCoordinatorButItsOwn) {
  const std::string token =
      *tls::MakeJoinToken(v1::WORKER, "", minutes(15), Now(), std::string(64, 'a'), pki_->token_secret());
  const absl::Status status = Join(token, "dev-1").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(status), HasSubstr("the token was not sent"));
}

TEST_F(SecureServerTest, ATokenIsGoodOnceAndInTime) {
  const std::string token = Token(v1::WORKER);
  ASSERT_TRUE(Join(token, "dev-1").ok());
  for (const char* name : {"dev-1", "dev-2"}) {
    const absl::Status again = Join(token, name).status();
    EXPECT_EQ(again.code(), absl::StatusCode::kUnauthenticated) << again;
    EXPECT_THAT(Message(again), HasSubstr("used already"));
  }
  const absl::Status late = Join(Token(v1::WORKER, "", minutes(15), Now() - minutes(16)), "dev-3").status();
  EXPECT_EQ(late.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(late), HasSubstr("expired on"));
  std::string altered = Token(v1::WORKER);
  altered.back() = altered.back() == 'A' ? 'B' : 'A';
  EXPECT_THAT(Message(Join(altered, "dev-3").status()), HasSubstr("altered"));
  // Also after a restart.
  StartSecure();
  EXPECT_THAT(Message(Join(token, "dev-2").status()), HasSubstr("used already"));
}

TEST_F(SecureServerTest, ANameIsTakenOverOnlyWithATokenForIt) {
  const tls::Identity first = *Join(Token(v1::CLIENT), "anna");
  const absl::Status taken = Join(Token(v1::CLIENT), "anna").status();
  EXPECT_EQ(taken.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Message(taken), HasSubstr("--role client --name anna"));
  const auto second = Join(Token(v1::CLIENT, "anna"), "whoever");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->facts.name, "anna") << "the token's name stands";
  EXPECT_TRUE(List(ChannelOf(*second)).ok());
  const absl::Status before = List(ChannelOf(first));
  EXPECT_EQ(before.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(before), HasSubstr("taken over"));
}

TEST_F(SecureServerTest, ANameThatSomebodyHadIsGivenAgainOnlyWithATokenForIt) {
  const tls::Identity root = *Join(Token(v1::ADMIN), "root");
  const absl::Status posing = Join(Token(v1::CLIENT), "root").status();
  EXPECT_EQ(posing.code(), absl::StatusCode::kAlreadyExists) << "a client would count as the administrator";
  EXPECT_THAT(Message(posing), HasSubstr("admin 'root' has a valid certificate already"));
  EXPECT_TRUE(Join(Token(v1::WORKER), "root").ok()) << "devices are no people";
  const tls::Identity also = *Join(Token(v1::CLIENT, "root"), "x");
  EXPECT_TRUE(List(ChannelOf(root)).ok()) << "the same person in another role";

  ASSERT_TRUE(Join(Token(v1::CLIENT), "anna").ok());
  ASSERT_TRUE(Revoke(root, "anna").ok());
  for (const v1::Role role : {v1::CLIENT, v1::ADMIN}) {
    const absl::Status again = Join(Token(role), "anna").status();
    EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_THAT(Message(again), HasSubstr("client 'anna' had a certificate, which was revoked or has expired"));
  }
  const auto named = Join(Token(v1::CLIENT, "anna"), "anna");
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_TRUE(List(ChannelOf(*named)).ok());
}

TEST_F(SecureServerTest, WhatTheDatabaseDoesNotKnowIsRevokedToo) {
  const tls::Identity root = *Join(Token(v1::ADMIN), "root");
  // As if the database had been restored from a copy that is older than these.
  const auto unknown = [this](v1::Role role, const std::string& name) {
    tls::Identity identity = *Join(Token(role, "x" + name), "x");
    identity.certificate_pem = *pki_->authority().IssueClient(
        *tls::MakeCertificateRequest(identity.private_key_pem, "x"), role, name, Now() - minutes(1), hours(1));
    return *tls::MakeIdentity(identity.private_key_pem, identity.certificate_pem, identity.authority_pem);
  };
  const tls::Identity anna = unknown(v1::CLIENT, "anna");
  const tls::Identity bob = unknown(v1::CLIENT, "bob");
  const tls::Identity carol = unknown(v1::CLIENT, "carol");
  EXPECT_TRUE(List(ChannelOf(anna)).ok());

  v1::RevokeCertificatesRequest request;
  request.set_name("anna");
  const absl::Status no_such = Revoke(root, request).status();
  EXPECT_EQ(no_such.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(no_such), HasSubstr("--even-unknown --role ROLE"));
  request.set_even_unknown(true);
  EXPECT_EQ(Revoke(root, request).status().code(), absl::StatusCode::kInvalidArgument) << "of which role?";
  request.set_role(v1::CLIENT);
  ASSERT_TRUE(Revoke(root, request).ok());
  EXPECT_EQ(List(ChannelOf(anna)).code(), absl::StatusCode::kUnauthenticated);

  const absl::Status unnamed = Join(Token(v1::CLIENT), "anna").status();
  EXPECT_EQ(unnamed.code(), absl::StatusCode::kAlreadyExists) << unnamed;

  // A person goes in every role, also in one that the database does not know.
  const tls::Identity kim = *Join(Token(v1::CLIENT), "kim");
  const tls::Identity as_admin = unknown(v1::ADMIN, "kim");
  ASSERT_TRUE(Revoke(root, "kim").ok());
  EXPECT_EQ(List(ChannelOf(kim)).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(List(ChannelOf(as_admin)).code(), absl::StatusCode::kUnauthenticated);

  request.Clear();
  request.set_serial(bob.facts.serial);
  EXPECT_EQ(Revoke(root, request).status().code(), absl::StatusCode::kNotFound);
  request.set_even_unknown(true);
  ASSERT_TRUE(Revoke(root, request).ok());
  EXPECT_EQ(List(ChannelOf(bob)).code(), absl::StatusCode::kUnauthenticated);
  request.set_serial("not a number");
  EXPECT_EQ(Revoke(root, request).status().code(), absl::StatusCode::kInvalidArgument);

  // Whoever takes a name over takes it from those, too.
  const auto next = Join(Token(v1::CLIENT, "carol"), "x");
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(List(ChannelOf(*next)).ok());
  StartSecure();
  EXPECT_EQ(List(ChannelOf(anna)).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(List(ChannelOf(bob)).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(List(ChannelOf(carol)).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(List(ChannelOf(*next)).ok());
  EXPECT_TRUE(List(ChannelOf(*Join(Token(v1::CLIENT, "anna"), "x"))).ok()) << "a new one is good";
}

TEST_F(SecureServerTest, ADeviceThatIsCalledLikeAPersonIsRevokedByItself) {
  const tls::Identity root = *Join(Token(v1::ADMIN), "root");
  const tls::Identity person = *Join(Token(v1::CLIENT), "kim");
  const tls::Identity device = *Join(Token(v1::WORKER), "kim");
  v1::RevokeCertificatesRequest request;
  request.set_name("kim");
  EXPECT_EQ(Revoke(root, request).status().code(), absl::StatusCode::kFailedPrecondition);
  request.set_role(v1::WORKER);
  ASSERT_TRUE(Revoke(root, request).ok());
  EXPECT_EQ(rpc::CheckAccepted(server_->address(), device, seconds(10)).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(rpc::CheckAccepted(server_->address(), person, seconds(10)).ok());
}

TEST_F(SecureServerTest, AClientCancelsItsOwnJobs) {
  const tls::Identity root = *Join(Token(v1::ADMIN), "root");
  const tls::Identity anna = *Join(Token(v1::CLIENT), "anna");
  const tls::Identity bob = *Join(Token(v1::CLIENT), "bob");
  TestWorker device(ChannelOf(*Join(Token(v1::WORKER), "dev-1")), "dev-1");
  device.Hello();
  const auto submit = [&](const tls::Identity& who, const std::string& request_id) {
    v1::SubmitJobRequest request = Request();
    request.set_request_id(request_id);
    v1::Job job;
    const absl::Status status = rpc::FromGrpc(
        v1::JobService::NewStub(ChannelOf(who))->SubmitJob(rpc::MakeContext(seconds(10)).get(), request, &job));
    return status.ok() ? absl::StatusOr<std::string>(job.job_id()) : status;
  };
  const auto cancel = [&](const tls::Identity& who, const std::string& job_id) {
    v1::CancelJobRequest request;
    request.set_job_id(job_id);
    v1::Job job;
    return rpc::FromGrpc(
        v1::JobService::NewStub(ChannelOf(who))->CancelJob(rpc::MakeContext(seconds(10)).get(), request, &job));
  };
  const std::string first = *submit(anna, "nightly");
  EXPECT_EQ(*submit(anna, "nightly"), first);
  const absl::Status taken = submit(bob, "nightly").status();
  EXPECT_EQ(taken.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Message(taken), HasSubstr("which anna submitted"));
  const absl::Status others = cancel(bob, first);
  EXPECT_EQ(others.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(Message(others), HasSubstr("is anna's; it is cancelled by anna or an administrator"));
  EXPECT_EQ(cancel(bob, "j-none").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(cancel(anna, first).ok());
  EXPECT_TRUE(cancel(root, *submit(bob, "")).ok());
}

TEST_F(SecureServerTest, TheAuditLogSaysWhatWasGivenOut) {
  const tls::Identity root = *Join(Token(v1::ADMIN), "root");
  const auto stub = v1::AdminService::NewStub(ChannelOf(root));
  v1::CreateJoinTokenRequest request;
  request.set_role(v1::WORKER);
  v1::CreateJoinTokenResponse made;
  ASSERT_TRUE(stub->CreateJoinToken(rpc::MakeContext(seconds(10)).get(), request, &made).ok());
  const std::string token_id = tls::ReadJoinToken(made.token())->token_id;
  const tls::Identity device = *Join(made.token(), "dev-1");
  const tls::Identity next = *rpc::Renew(server_->address(), device, seconds(10));
  ASSERT_TRUE(Revoke(root, "dev-1").ok());
  v1::ListAuditEntriesResponse log;
  ASSERT_TRUE(stub->ListAuditEntries(rpc::MakeContext(seconds(10)).get(), {}, &log).ok());
  ASSERT_EQ(log.entries_size(), 5);
  EXPECT_THAT(log.entries(3).detail(),
              HasSubstr("token " + token_id + " for worker of any name that nobody has had, until 20"));
  EXPECT_EQ(log.entries(3).name(), "root");
  EXPECT_EQ(log.entries(2).detail(),
            "certificate " + device.facts.serial + " of worker 'dev-1', for token " + token_id);
  EXPECT_EQ(log.entries(1).detail(), "certificate " + next.facts.serial + " renews " + device.facts.serial);
  EXPECT_THAT(log.entries(0).detail(), HasSubstr("certificate " + device.facts.serial));
  EXPECT_THAT(log.entries(0).detail(), HasSubstr("certificate " + next.facts.serial));
}

TEST_F(SecureServerTest, AWorkerIsTheDeviceOfItsCertificate) {
  const tls::Identity worker = *Join(Token(v1::WORKER), "dev-1");
  TestWorker other(ChannelOf(worker), "dev-2");
  v1::WorkerMessage message;
  message.mutable_hello()->set_device_id("dev-2");
  message.mutable_hello()->set_protocol_version(1);
  other.Send(message);
  const grpc::Status status = other.End();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("device 'dev-1', and the worker says that it is device 'dev-2'"));
  server_.reset();
  const auto log = database_->ListAuditEntries({});
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_EQ(log->entries_size(), 2) << "latest first, before it that it joined";
  EXPECT_EQ(log->entries(0).action(), "Connect");
  EXPECT_EQ(log->entries(0).name(), "dev-1");
  EXPECT_EQ(log->entries(0).subject(), "dev-2");
  EXPECT_EQ(log->entries(0).code(), "PERMISSION_DENIED");
}

TEST_F(SecureServerTest, AWorkerThatRenewedIsNotTakenForAnother) {
  const tls::Identity first = *Join(Token(v1::WORKER), "dev-1");
  std::this_thread::sleep_until(tls::IssueTime(first.facts) + seconds(1));  // certificates have whole seconds
  const tls::Identity second = *rpc::Renew(server_->address(), first, seconds(10));
  const auto log_of_next = [&](TestWorker* before, const tls::Identity& identity) {
    testing::internal::CaptureStderr();
    auto next = std::make_unique<TestWorker>(ChannelOf(identity), "dev-1");
    next->Hello();
    EXPECT_EQ(before->End().error_code(), grpc::StatusCode::ABORTED);
    return std::pair(std::move(next), testing::internal::GetCapturedStderr());
  };
  TestWorker old(ChannelOf(first), "dev-1");
  old.Hello();
  const auto [renewed, quiet] = log_of_next(&old, second);
  EXPECT_THAT(quiet, testing::Not(HasSubstr("another worker")));
  // As of a second machine that has a copy of the data directory.
  const auto [copy, loud] = log_of_next(renewed.get(), second);
  EXPECT_THAT(loud, HasSubstr("the session of device 'dev-1' ends: another worker connected as device dev-1"));
}

TEST_F(SecureServerTest, TokensGoWithTheCertificateOfWhoeverMadeThem) {
  const tls::Identity root = *Join(Token(v1::ADMIN), "root");
  const tls::Identity kim = *Join(Token(v1::ADMIN), "kim");
  const auto token_of = [&](const tls::Identity& who, v1::Role role, const std::string& name = "") {
    v1::CreateJoinTokenRequest request;
    request.set_role(role);
    request.set_name(name);
    v1::CreateJoinTokenResponse made;
    const grpc::Status status =
        v1::AdminService::NewStub(ChannelOf(who))->CreateJoinToken(rpc::MakeContext(seconds(10)).get(), request, &made);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return made.token();
  };
  const std::string of_root = token_of(root, v1::WORKER);
  const std::string before = token_of(kim, v1::WORKER);
  const std::string way_back = token_of(kim, v1::ADMIN);
  const tls::Identity renewed = *rpc::Renew(server_->address(), kim, seconds(10));
  EXPECT_TRUE(Join(before, "dev-1").ok()) << "a renewed certificate takes nothing back";

  const std::string by_serial = token_of(renewed, v1::CLIENT);
  v1::RevokeCertificatesRequest one;
  one.set_serial(renewed.facts.serial);
  ASSERT_TRUE(Revoke(root, one).ok());
  EXPECT_EQ(Join(by_serial, "x").status().code(), absl::StatusCode::kUnauthenticated);

  ASSERT_TRUE(Revoke(root, "kim").ok());
  const absl::Status refused = Join(way_back, "ghost").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(refused), HasSubstr("was made by admin 'kim', whose certificate was revoked since; ask"));
  EXPECT_TRUE(Join(of_root, "dev-2").ok());
  v1::ListAuditEntriesResponse log;
  ASSERT_TRUE(
      v1::AdminService::NewStub(ChannelOf(root))->ListAuditEntries(rpc::MakeContext(seconds(10)).get(), {}, &log).ok());
  EXPECT_TRUE(std::ranges::any_of(log.entries(), [](const v1::AuditEntry& entry) {
    return entry.action() == "Enroll" && entry.subject() == "ghost" && entry.code() == "UNAUTHENTICATED";
  }));
  // Also after a restart.
  StartSecure();
  EXPECT_EQ(Join(way_back, "ghost").status().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(SecureServerTest, AReasonIsOneLineOfPlainText) {
  const tls::Identity root = *Join(Token(v1::ADMIN), "root");
  ASSERT_TRUE(Join(Token(v1::WORKER), "dev-1").ok());
  for (const char* reason : {"x\x1b[31m", "x\nFORGED", "\u009b", "a\u202e"}) {
    v1::RevokeCertificatesRequest request;
    request.set_name("dev-1");
    request.set_reason(reason);
    v1::RevokeCertificatesResponse response;
    const grpc::Status status = v1::AdminService::NewStub(ChannelOf(root))
                                    ->RevokeCertificates(rpc::MakeContext(seconds(10)).get(), request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("a reason is one line"));
  }
  EXPECT_TRUE(store_->RevokedCertificates()->empty());
}

TEST_F(SecureServerTest, RevocationEndsWhatIsOpenAndStays) {
  const tls::Identity admin = *Join(Token(v1::ADMIN), "root");
  const tls::Identity worker = *Join(Token(v1::WORKER), "dev-1");
  const tls::Identity client = *Join(Token(v1::CLIENT), "anna");
  TestWorker device(ChannelOf(worker), "dev-1");
  device.Hello();
  v1::Job job;
  ASSERT_TRUE(
      v1::JobService::NewStub(ChannelOf(client))->SubmitJob(rpc::MakeContext(seconds(10)).get(), Request(), &job).ok());
  const auto watcher = ChannelOf(client);
  const auto stub = v1::JobService::NewStub(watcher);
  v1::WatchJobRequest watch;
  watch.set_job_id(job.job_id());
  const auto context = rpc::MakeContext(seconds(30));
  const auto updates = stub->WatchJob(context.get(), watch);
  v1::JobUpdate update;
  ASSERT_TRUE(updates->Read(&update));

  const auto gone = Revoke(admin, "dev-1");
  ASSERT_TRUE(gone.ok()) << gone.status();
  ASSERT_THAT(gone->certificates(), SizeIs(1));
  EXPECT_EQ(gone->certificates(0).revoke_reason(), "by root: lost");
  const grpc::Status ended = device.End();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAUTHENTICATED) << ended.error_message();
  EXPECT_THAT(ended.error_message(), HasSubstr("was revoked"));

  ASSERT_TRUE(Revoke(admin, "anna").ok());
  while (updates->Read(&update)) {
  }
  EXPECT_EQ(updates->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Revoke(admin, "nobody").status().code(), absl::StatusCode::kNotFound);
  const auto twice = Revoke(admin, "anna");
  ASSERT_TRUE(twice.ok()) << "revoking twice changes nothing";
  EXPECT_TRUE(twice->certificates().empty());
  // Also after a restart; and nobody renews what was revoked.
  StartSecure();
  EXPECT_EQ(List(ChannelOf(client)).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(rpc::Renew(server_->address(), client, seconds(10)).status().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(SecureServerTest, ACertificateIsRenewedUnderItsOwnNameAndRole) {
  const tls::Identity first = *Join(Token(v1::CLIENT), "anna");
  const auto second = rpc::Renew(server_->address(), first, seconds(10));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->facts.name, "anna");
  EXPECT_EQ(second->facts.role, v1::CLIENT);
  EXPECT_NE(second->facts.serial, first.facts.serial);
  EXPECT_NE(second->private_key_pem, first.private_key_pem);
  EXPECT_TRUE(List(ChannelOf(*second)).ok());
  EXPECT_EQ(store_->GetCertificate(second->facts.serial)->renews_serial(), first.facts.serial);
}

TEST_F(SecureServerTest, WhatCannotBeStoredIsNotIssued) {
  store_->FailWrites(absl::UnavailableError("disk full"));
  const std::string token = Token(v1::WORKER);
  EXPECT_EQ(Join(token, "dev-1").status().code(), absl::StatusCode::kUnavailable);
  store_->FailWrites(absl::OkStatus());
  EXPECT_TRUE(Join(token, "dev-1").ok()) << "the token was not used up";
}

TEST_F(SecureServerTest, TheAuthorityIsForItsOwnerAloneAndNeverReplaced) {
  struct stat info {};
  ASSERT_EQ(::stat((directory_ / "pki").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0700U);
  for (const char* file : {"authority.key", "token.key", "server.pem"}) {
    ASSERT_EQ(::stat((directory_ / "pki" / file).c_str(), &info), 0) << file;
    EXPECT_EQ(info.st_mode & 07777U, 0600U) << file;
  }
  const absl::Status again = Pki::Create(directory_, {}, Now(), hours(1));
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(NextStepOf(again).empty());
  EXPECT_EQ(Pki::Open(directory_)->authority().fingerprint(), pki_->authority().fingerprint());
  EXPECT_THAT(pki_->ServerCertificate()->server_names,
              testing::IsSupersetOf({"ballast-coordinator", "localhost", "127.0.0.1", "lab.example"}));
}

TEST_F(SecureServerTest, TheCoordinatorsCertificateIsReplacedWithoutARestart) {
  const tls::Identity admin = *Join(Token(v1::ADMIN), "root");
  const std::string before = pki_->ServerCertificate()->serial;
  ASSERT_TRUE(pki_->RenewServer({"other.example"}, Now(), hours(1)).ok());
  EXPECT_THAT(pki_->ServerCertificate()->server_names, testing::IsSupersetOf({"lab.example", "other.example"}));
  const auto deadline = std::chrono::steady_clock::now() + seconds(20);
  std::string served = before;
  while (served == before && std::chrono::steady_clock::now() < deadline) {
    const auto shown = std::make_shared<rpc::ShownCertificates>();
    const auto anyone = [](const std::vector<std::string>&) { return absl::OkStatus(); };
    const auto channel = rpc::CreateChannelWith(server_->address(), true, rpc::CheckingCredentials(anyone, shown));
    ASSERT_TRUE(rpc::AwaitConnection(*channel, seconds(5)));
    served = tls::ReadCertificate(shown->chain().front())->serial;
  }
  EXPECT_EQ(served, pki_->ServerCertificate()->serial);
  EXPECT_TRUE(List(ChannelOf(admin)).ok());
}

TEST_F(ServerTest, WithoutAnAuthorityNobodyEnrols) {
  StartServer();
  v1::CreateJoinTokenRequest request;
  request.set_role(v1::WORKER);
  v1::CreateJoinTokenResponse response;
  const grpc::Status status =
      v1::AdminService::NewStub(channel_)->CreateJoinToken(rpc::MakeContext().get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("ballast-coordinator init"));
  const std::string token =
      *tls::MakeJoinToken(v1::WORKER, "", minutes(15), Now(), std::string(64, 'a'), std::string(32, 's'));
  EXPECT_THAT(Message(rpc::Enroll({token, server_->address()}, "dev-1", seconds(5)).status()),
              HasSubstr("speaks plain text"));
}

}  // namespace
}  // namespace ballast::coordinator
