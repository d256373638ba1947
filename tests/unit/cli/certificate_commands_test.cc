#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "ballast/v1/admin_service.grpc.pb.h"
#include "cli/credentials.h"
#include "common/base/clock.h"
#include "common/rpc/channel.h"
#include "common/tls/authority.h"
#include "common/tls/join_token.h"
#include "common/tls/private_key.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"
#include "tests/unit/cli/fake_coordinator.h"

#include "grpcpp/grpcpp.h"

namespace ballast::cli {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

class FakeAdmin final : public v1::AdminService::Service {
 public:
  explicit FakeAdmin(const std::filesystem::path& directory) : address_("unix:" + (directory / "a.sock").string()) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  [[nodiscard]] const std::string& address() const { return address_; }

  grpc::Status CreateJoinToken(grpc::ServerContext*, const v1::CreateJoinTokenRequest* request,
                               v1::CreateJoinTokenResponse* response) override {
    token_request = *request;
    // The rule itself, as the coordinator has it.
    const absl::StatusOr<std::string> made = tls::MakeJoinToken(
        request->role(), request->name(), request->has_ttl() ? base::FromProto(request->ttl()) : tls::kDefaultTokenTtl,
        base::RealClock().Now(), std::string(64, 'a'), "secret");
    if (!made.ok()) return rpc::ToGrpc(made.status());
    response->set_token("bjt1.a.b");
    return grpc::Status::OK;
  }
  grpc::Status ListCertificates(grpc::ServerContext*, const v1::ListCertificatesRequest* request,
                                v1::ListCertificatesResponse* response) override {
    list_request = *request;
    *response->add_certificates() = Certificate();
    return grpc::Status::OK;
  }
  grpc::Status RevokeCertificates(grpc::ServerContext*, const v1::RevokeCertificatesRequest* request,
                                  v1::RevokeCertificatesResponse* response) override {
    revoke_request = *request;
    if (!status.ok()) return rpc::ToGrpc(status);
    if (request->name() == "nobody") return {grpc::StatusCode::NOT_FOUND, "there is no certificate of 'nobody'"};
    *response->add_certificates() = Certificate();
    return grpc::Status::OK;
  }

  absl::Status status;  // of revoking
  v1::CreateJoinTokenRequest token_request;
  v1::ListCertificatesRequest list_request;
  v1::RevokeCertificatesRequest revoke_request;

 private:
  static v1::Certificate Certificate() {
    v1::Certificate certificate;
    certificate.set_serial("5a0c41d2b93e7f6812ab34cd56ef7890");
    certificate.set_role(v1::WORKER);
    certificate.set_name("mini-3");
    return certificate;
  }

  const std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

class CertificateCommandsTest : public CommandTest {
 protected:
  CertificateCommandsTest() { variables_["BALLAST_COORDINATOR"] = admin_.address(); }
  FakeAdmin admin_{directory_.path()};
};

TEST_F(CertificateCommandsTest, ListsByNameAndRole) {
  ASSERT_EQ(Run({"certificates", "list", "--name", "mini-3", "--role", "worker"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("5a0c41d2b93e7f6812ab34cd56ef7890  WORKER  mini-3"));
  EXPECT_EQ(admin_.list_request.name(), "mini-3");
  EXPECT_EQ(admin_.list_request.role(), v1::WORKER);
  ASSERT_EQ(Run({"certificates", "list", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"certificates\": ["));
  EXPECT_EQ(Run({"certificates", "list", "--role", "root"}), 2);
  EXPECT_THAT(err(), HasSubstr("worker, client and admin"));
}

TEST_F(CertificateCommandsTest, RevokesANameOrASerialNumber) {
  ASSERT_EQ(Run({"certificates", "revoke", "mini-3", "--reason", "sold"}), 0) << err();
  EXPECT_EQ(admin_.revoke_request.name(), "mini-3");
  EXPECT_EQ(admin_.revoke_request.reason(), "sold");
  ASSERT_EQ(Run({"certificates", "revoke", "5a0c41d2b93e7f6812ab34cd56ef7890"}), 0);
  EXPECT_EQ(admin_.revoke_request.serial(), "5a0c41d2b93e7f6812ab34cd56ef7890");
  EXPECT_EQ(admin_.revoke_request.name(), "");
  EXPECT_EQ(Run({"certificates", "revoke"}), 2);
  EXPECT_EQ(Run({"certificates", "revoke", "nobody"}), 4);
  EXPECT_THAT(err(), HasSubstr("try: ballast certificates list"));
}

TEST_F(CertificateCommandsTest, TheNextStepIsAboutWhatWasRefused) {
  const auto step = [this](const std::vector<std::string>& arguments) {
    EXPECT_EQ(Run(arguments), 2) << err();
    const std::string text = err();
    return text.substr(text.find("  try: "));
  };
  const std::vector<std::string> revoke = {"certificates", "revoke", "mini-3"};
  admin_.status = absl::InvalidArgumentError("a reason has at most 256 bytes");
  EXPECT_EQ(step(revoke), "  try: a shorter --reason\n");
  admin_.status = absl::InvalidArgumentError("a serial number is that of one certificate, whatever its role");
  EXPECT_THAT(step(revoke), HasSubstr("SERIAL, without --role"));
  admin_.status = absl::InvalidArgumentError("say which role the certificates of 'mini-3' have");
  EXPECT_THAT(step(revoke), HasSubstr("--role worker, --role client or --role admin"));
  EXPECT_EQ(step({"token", "create", "--role", "worker", "--ttl", "8d"}), "  try: --ttl 15m\n");
  EXPECT_THAT(step({"token", "create", "--role", "worker", "--name", "mini 3"}), HasSubstr("another --name"));
}

TEST_F(CertificateCommandsTest, MakesTokens) {
  ASSERT_EQ(Run({"token", "create", "--role", "client", "--name", "anna", "--ttl", "1d"}), 0) << err();
  EXPECT_EQ(out(), "bjt1.a.b\n");
  EXPECT_THAT(err(), HasSubstr("ballast login TOKEN@"));
  EXPECT_EQ(admin_.token_request.role(), v1::CLIENT);
  EXPECT_EQ(admin_.token_request.name(), "anna");
  EXPECT_EQ(admin_.token_request.ttl().seconds(), 86400);
  EXPECT_EQ(Run({"token", "create"}), 2);
  EXPECT_EQ(Run({"token", "create", "--role", "client", "--ttl", "soon"}), 2);
}

TEST_F(CertificateCommandsTest, LoginSaysWhatIsWrongWithATokenWithoutRepeatingIt) {
  EXPECT_EQ(Run({"login"}), 2);
  EXPECT_EQ(Run({"login", "hunter2@lab:7850"}), 2);
  EXPECT_THAT(err(), HasSubstr("this is no join token"));
  EXPECT_THAT(err(), testing::Not(HasSubstr("hunter2")));
  const std::string token = *tls::MakeJoinToken(v1::WORKER, "", hours(1), clock_.Now(), std::string(64, 'a'), "secret");
  EXPECT_EQ(Run({"login", token + "@lab:7850"}), 2);
  EXPECT_THAT(err(), HasSubstr("ballast-worker --join"));
}

TEST_F(CertificateCommandsTest, EachCoordinatorHasADirectoryOfItsOwn) {
  const std::filesystem::path home = directory_.path() / "home" / ".config" / "ballast";
  EXPECT_EQ(*IdentityFile("lab.example:7850", context_), home / "credentials" / "lab.example_7850" / "identity.pem");
  EXPECT_EQ(*IdentityFile("[::1]:7850", context_), home / "credentials" / "___1__7850" / "identity.pem");
  std::filesystem::create_directories(home);
  std::ofstream(home / "config.yaml") << "coordinator: lab:7850\ncredentials: /etc/ballast/me\n";
  EXPECT_EQ(*IdentityFile("lab:7850", context_), "/etc/ballast/me/identity.pem");
  EXPECT_EQ(*IdentityFile("other:7850", context_), home / "credentials" / "other_7850" / "identity.pem");
}

TEST_F(CertificateCommandsTest, AnExpiredCertificateIsNotShownToAnybody) {
  const tls::CertificateAuthority authority = *tls::CertificateAuthority::Create(clock_.Now());
  const std::string key = *tls::MakePrivateKey();
  const std::string certificate =
      *authority.IssueClient(*tls::MakeCertificateRequest(key, "x"), v1::CLIENT, "anna", clock_.Now(), hours(1));
  const std::filesystem::path file = *IdentityFile("lab:7850", context_);
  ASSERT_TRUE(tls::SaveIdentity(file, *tls::MakeIdentity(key, certificate, authority.certificate_pem())).ok());
  const auto no_warning = [](const std::string& text) { ADD_FAILURE() << text; };
  const auto found = FindIdentity("lab:7850", context_, no_warning);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ((*found)->facts.name, "anna");
  EXPECT_FALSE(FindIdentity("other:7850", context_, no_warning)->has_value());
  EXPECT_FALSE(FindIdentity("unix:/run/x.sock", context_, no_warning)->has_value());

  clock_.elapsed = hours(2);
  EXPECT_EQ(Run({"jobs", "list", "--coordinator", "lab:7850"}), 3);
  EXPECT_THAT(err(), HasSubstr("it expired on"));
  EXPECT_THAT(err(), HasSubstr("try: ballast login TOKEN@lab:7850"));
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  EXPECT_EQ(Run({"jobs", "list", "--coordinator", "lab:7850"}), 3);
  EXPECT_THAT(err(), HasSubstr("chmod 600 " + file.string()));
}

// A certificate that is due to be renewed, at a coordinator that would renew it.
class RenewalTest : public CommandTest {
 protected:
  RenewalTest() {
    coordinator_.ListenSecurely();
    const base::SystemTime now = base::RealClock().Now();
    clock_.elapsed = now - clock_.Now();
    held_ = coordinator_.Issue(now - std::chrono::minutes(50), hours(1));
    file_ = *IdentityFile(coordinator_.secure_address(), context_);
    EXPECT_TRUE(tls::SaveIdentity(file_, held_).ok());
  }
  // The serial number of the identity that a command goes on with.
  std::string Find() {
    warnings_.clear();
    const auto found = FindIdentity(coordinator_.secure_address(), context_,
                                    [this](const std::string& text) { warnings_.push_back(text); });
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && *found ? (*found)->facts.serial : "";
  }
  int renew_count() {
    const std::scoped_lock lock(coordinator_.mutex);
    return coordinator_.renew_count;
  }

  FakeCoordinator coordinator_{directory_.path()};
  tls::Identity held_;
  std::filesystem::path file_;
  std::vector<std::string> warnings_;
};

TEST_F(RenewalTest, WhatIsDueIsRenewedAndKept) {
  const std::string serial = Find();
  EXPECT_NE(serial, held_.facts.serial);
  EXPECT_THAT(warnings_, testing::IsEmpty());
  EXPECT_EQ(tls::LoadIdentity(file_)->facts.serial, serial);
  EXPECT_EQ(Find(), serial);
  EXPECT_EQ(renew_count(), 1);
}

TEST_F(RenewalTest, WhereNothingCanBeKeptTheOldOneServesAndNoneIsAskedFor) {
  const std::filesystem::path directory = file_.parent_path();
  // Permissions hold nobody back who is root.
  constexpr uid_t kNobody = 65534;
  const uid_t self = ::geteuid();
  if (self == 0) {
    for (std::filesystem::path on_the_way = directory; on_the_way != directory_.path().parent_path();
         on_the_way = on_the_way.parent_path()) {
      ASSERT_EQ(::chmod(on_the_way.c_str(), 0755), 0);
    }
    ASSERT_EQ(::chown(file_.c_str(), kNobody, static_cast<gid_t>(-1)), 0);
    ASSERT_EQ(::seteuid(kNobody), 0);
  } else {
    ASSERT_EQ(::chmod(directory.c_str(), 0500), 0);
  }
  EXPECT_EQ(Find(), held_.facts.serial);
  if (self == 0) {
    ASSERT_EQ(::seteuid(self), 0);
  } else {
    ASSERT_EQ(::chmod(directory.c_str(), 0700), 0);
  }
  EXPECT_EQ(renew_count(), 0);
  EXPECT_THAT(warnings_, testing::ElementsAre(testing::AllOf(
                             HasSubstr("warning: the certificate for " + coordinator_.secure_address()),
                             HasSubstr("write in directory " + directory.string() + ": Permission denied"),
                             HasSubstr("\n  try: let this user write in " + directory.string()))));
}

TEST_F(RenewalTest, WhereTheNextOneIsNotKeptTheOldOneServes) {
  // As on a full disk: files can be made, but nothing can be written.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  const std::string serial = Find();
  const int code = Run({"jobs", "list", "--coordinator", coordinator_.secure_address()});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  (void)std::signal(SIGXFSZ, handler);
  EXPECT_EQ(serial, held_.facts.serial);
  EXPECT_EQ(renew_count(), 2);
  EXPECT_EQ(code, 0) << err();
  EXPECT_THAT(err(), testing::StartsWith("warning: the certificate for "));
  EXPECT_THAT(warnings_, testing::ElementsAre(HasSubstr("the next one cannot be kept: ")));
  EXPECT_EQ(tls::LoadIdentity(file_)->facts.serial, held_.facts.serial);
}

}  // namespace
}  // namespace ballast::cli
