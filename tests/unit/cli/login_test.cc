// What a join token is exchanged for, and that it is not used up for nothing.
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ballast/v1/enrollment_service.grpc.pb.h"
#include "cli/credentials.h"
#include "common/base/clock.h"
#include "common/rpc/channel.h"
#include "common/tls/authority.h"
#include "common/tls/join_token.h"
#include "common/tls/private_key.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"

#include "grpcpp/grpcpp.h"

namespace ballast::cli {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

// Enrols everybody over TLS, unless `status` says otherwise.
class FakeEnrollment final : public v1::EnrollmentService::Service {
 public:
  FakeEnrollment() {
    const std::string key = *tls::MakePrivateKey();
    const std::string certificate =
        *authority_.IssueServer(*tls::MakeCertificateRequest(key, "server"), {"127.0.0.1"}, now_, hours(1));
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({key, certificate + authority_.certificate_pem()});
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }

  grpc::Status Enroll(grpc::ServerContext*, const v1::EnrollRequest* request, v1::EnrollResponse* response) override {
    ++tries;
    if (!status.ok()) return rpc::ToGrpc(status);
    if (before_answer) before_answer();
    response->set_certificate_pem(
        *authority_.IssueClient(request->certificate_request_pem(), v1::CLIENT, request->name(), now_, hours(1)));
    response->set_authority_pem(authority_.certificate_pem());
    return grpc::Status::OK;
  }

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] std::string Token() const { return TokenFor(authority_.fingerprint()); }
  [[nodiscard]] std::string TokenFor(const std::string& fingerprint) const {
    return *tls::MakeJoinToken(v1::CLIENT, "", hours(1), now_, fingerprint, "secret");
  }

  absl::Status status;
  std::function<void()> before_answer;
  int tries = 0;

 private:
  const base::SystemTime now_ = base::RealClock().Now();
  const tls::CertificateAuthority authority_ = *tls::CertificateAuthority::Create(now_);
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

// Files of this process are so large at most; writing more fails, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

class LoginTest : public CommandTest {
 protected:
  int Login(const std::vector<std::string>& flags = {"--name", "anna"}) {
    std::vector<std::string> arguments = {"login", fake_.Token() + "@" + fake_.address()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return Run(arguments);
  }
  // The exit code and the next step after the coordinator has refused.
  std::pair<int, std::string> After(const absl::Status& status) {
    fake_.status = status;
    const int code = Login();
    const std::string text = err();
    return {code, text.substr(text.find("  try: "))};
  }
  [[nodiscard]] std::filesystem::path File() const { return *IdentityFile(fake_.address(), context_); }

  FakeEnrollment fake_;
};

TEST_F(LoginTest, KeepsTheCertificateAndNothingElse) {
  ASSERT_EQ(Login(), 0) << err();
  EXPECT_THAT(out(), HasSubstr("as client anna"));
  EXPECT_EQ(tls::LoadIdentity(File())->facts.name, "anna");
  const std::filesystem::directory_iterator files(File().parent_path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(LoginTest, ABadNameIsWrongUseAndNothingIsSent) {
  for (const std::string& name : {std::string(65, 'a'), std::string("anna smith"), std::string("änna")}) {
    EXPECT_EQ(Login({"--name", name}), 2) << err();
    EXPECT_THAT(err(), HasSubstr("error: --name: '"));
    EXPECT_THAT(err(), HasSubstr("it has 1 to 64 letters, digits and . _ - + @\n  try: --name anna"));
  }
  EXPECT_EQ(fake_.tries, 0);
}

TEST_F(LoginTest, TheNextStepIsAboutWhatWasRefused) {
  using testing::Pair;
  EXPECT_THAT(After(absl::ResourceExhaustedError("more than 30 tries to enrol in a minute came from this address; try "
                                                 "again in 2s")),
              Pair(1, HasSubstr("the same command after that time")));
  EXPECT_THAT(After(absl::UnauthenticatedError("the join token was used already")),
              Pair(3, HasSubstr("ballast token create --role client")));
  EXPECT_THAT(After(absl::AlreadyExistsError("client 'anna' has a valid certificate already")),
              Pair(6, HasSubstr("give another --name")));
  EXPECT_THAT(After(absl::FailedPreconditionError("this coordinator has no certificate authority")),
              Pair(3, HasSubstr("check the address")));
  EXPECT_FALSE(std::filesystem::exists(File().parent_path()));
}

TEST_F(LoginTest, AWrongAddressIsCalledOne) {
  EXPECT_EQ(Run({"login", fake_.TokenFor(std::string(64, 'a')) + "@" + fake_.address()}), 3);
  EXPECT_THAT(err(), HasSubstr("the token was not sent\n  try: check the address"));
  EXPECT_EQ(Run({"login", fake_.Token() + "@lab"}), 2);
  EXPECT_THAT(err(), HasSubstr("there is no port"));
  EXPECT_THAT(err(), HasSubstr("\n  try: give the token with its address: TOKEN@HOST:PORT\n"));

  v1::EnrollmentService::Service without_tls;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&without_tls);
  const std::unique_ptr<grpc::Server> plain = builder.BuildAndStart();
  EXPECT_EQ(Run({"login", fake_.Token() + "@127.0.0.1:" + std::to_string(port)}), 3);
  EXPECT_THAT(err(), HasSubstr("it speaks plain text"));
  EXPECT_THAT(err(), HasSubstr("\n  try: check the address"));
  EXPECT_EQ(fake_.tries, 0);
}

TEST_F(LoginTest, ATokenIsNotUsedUpWhereTheCertificateCannotBeKept) {
  {
    // Room for an empty file is not enough.
    const FileSizeLimit limit(512);
    EXPECT_NE(Login(), 0);
  }
  EXPECT_THAT(err(), HasSubstr("a certificate could not be kept, and the token was not sent: "));
  EXPECT_THAT(err(), HasSubstr("\n  try: "));
  EXPECT_EQ(fake_.tries, 0);
  EXPECT_FALSE(std::filesystem::exists(File().parent_path()));

  // What goes wrong afterwards costs the token, and is told with the way to another.
  fake_.before_answer = [this] { std::filesystem::create_directories(File() / "in the way"); };
  EXPECT_NE(Login(), 0);
  EXPECT_THAT(err(), HasSubstr("the certificate was made but could not be kept, and the token is used up: "));
  EXPECT_THAT(err(), HasSubstr("ballast token create --role client --name anna\n"));
}

TEST_F(LoginTest, AnothersCertificateIsReplacedOnRequestOnly) {
  ASSERT_EQ(Login(), 0) << err();
  EXPECT_EQ(Login({"--name", "bob"}), 2);
  EXPECT_THAT(err(), HasSubstr("you are logged in there as client 'anna'"));
  EXPECT_EQ(fake_.tries, 1);
  EXPECT_EQ(Login({"--name", "bob", "--replace"}), 0) << err();
}

}  // namespace
}  // namespace ballast::cli
