#include "common/tls/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "common/tls/certificate.h"
#include "common/tls/private_key.h"
#include "openssl/bio.h"
#include "openssl/evp.h"
#include "openssl/pem.h"
#include "openssl/rsa.h"
#include "openssl/x509.h"

namespace ballast::tls {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::Contains;
using testing::HasSubstr;

constexpr base::SystemTime kNow{seconds(1'764'460'800)};

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

std::string Request(const std::string& key) {
  return *MakeCertificateRequest(key, "whatever");
}

std::string NewRequest() {
  return Request(*MakePrivateKey());
}

class AuthorityTest : public testing::Test {
 protected:
  const CertificateAuthority authority_ = *CertificateAuthority::Create(kNow);
};

TEST_F(AuthorityTest, ACertificateSaysWhoItsHolderIsAndHolds) {
  const auto pem = authority_.IssueClient(NewRequest(), v1::WORKER, "mini-3", kNow, hours(24));
  ASSERT_TRUE(pem.ok()) << pem.status();
  const auto facts = ReadCertificate(*pem);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->role, v1::WORKER);
  EXPECT_EQ(facts->name, "mini-3");
  EXPECT_EQ(facts->not_before, kNow - minutes(5));
  EXPECT_EQ(facts->not_after, kNow + hours(24));
  EXPECT_EQ(facts->serial.size(), 32U);
  EXPECT_THAT(facts->serial, testing::MatchesRegex("[0-9a-f]*"));
  EXPECT_TRUE(facts->server_names.empty());
  EXPECT_TRUE(CheckClientCertificate(*pem, authority_.certificate_pem()).ok());
}

TEST_F(AuthorityTest, ItIsLoadedFromWhatItIsKeptAs) {
  const auto loaded = CertificateAuthority::Load(authority_.certificate_pem(), authority_.key_pem());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->fingerprint(), authority_.fingerprint());
  const auto pem = loaded->IssueClient(NewRequest(), v1::ADMIN, "anna@desk", kNow, hours(1));
  ASSERT_TRUE(pem.ok()) << pem.status();
  EXPECT_TRUE(CheckClientCertificate(*pem, authority_.certificate_pem()).ok());
  EXPECT_EQ(CertificateAuthority::Load(authority_.certificate_pem(), *MakePrivateKey()).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CertificateAuthority::Load(*pem, authority_.key_pem()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(AuthorityTest, AnotherAuthoritysCertificateDoesNotHold) {
  const CertificateAuthority other = *CertificateAuthority::Create(kNow);
  const std::string pem = *other.IssueClient(NewRequest(), v1::ADMIN, "mallory", kNow, hours(24));
  const absl::Status status = CheckClientCertificate(pem, authority_.certificate_pem());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(status), HasSubstr("another certificate authority"));
}

TEST_F(AuthorityTest, AHoldersCertificateIsNoCoordinatorsAndTheReverse) {
  const std::string client = *authority_.IssueClient(NewRequest(), v1::WORKER, "mini-3", kNow, hours(24));
  const std::string server = *authority_.IssueServer(NewRequest(), {"lab.example", "10.0.0.7", "::1"}, kNow, hours(24));
  EXPECT_TRUE(CheckServerCertificate(server, authority_.certificate_pem()).ok());
  const absl::Status no_server = CheckServerCertificate(client, authority_.certificate_pem());
  EXPECT_EQ(no_server.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(no_server.message(), "it is that of worker 'mini-3', not a coordinator's");
  const absl::Status no_client = CheckClientCertificate(server, authority_.certificate_pem());
  EXPECT_EQ(no_client.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(no_client.message(), "it is a coordinator's, not that of a worker, client or administrator");
  // Nor may the authority itself come in.
  EXPECT_EQ(CheckClientCertificate(authority_.certificate_pem(), authority_.certificate_pem()).code(),
            absl::StatusCode::kUnauthenticated);
  const auto facts = ReadCertificate(server);
  ASSERT_TRUE(facts.ok());
  EXPECT_THAT(facts->server_names, testing::ElementsAre(kServerName, "lab.example", "10.0.0.7", "::1"));
}

TEST(CheckServerNameTest, TakesHostNamesAndAddresses) {
  const std::string label(63, 'a');
  for (const std::string& name :
       {std::string("lab"), std::string("lab.example.org"), std::string("LAB-2.example"), std::string("3com.example"),
        std::string("xn--mnchen-3ya.example"), std::string("10.0.0.7"), std::string("::1"), std::string("fe80::1"),
        label + "." + label + "." + label + "." + std::string(61, 'b')}) {
    EXPECT_TRUE(CheckServerName(name).ok()) << name;
  }
  for (const std::string& name : {std::string(),
                                  std::string("a b"),
                                  std::string("../x"),
                                  std::string("x,DNS:evil"),
                                  std::string("a\nb"),
                                  std::string("a\0b", 3),
                                  std::string("10.0.0.7\0x", 10),
                                  std::string("lab."),
                                  std::string(".lab"),
                                  std::string("a..b"),
                                  std::string("-a"),
                                  std::string("a-"),
                                  std::string("my_host"),
                                  std::string("münchen"),
                                  std::string("*.example"),
                                  std::string("10.0.0.300"),
                                  std::string("[::1]"),
                                  std::string(64, 'a'),
                                  std::string(300, 'a'),
                                  label + "." + label + "." + label + "." + std::string(62, 'b')}) {
    const absl::Status status = CheckServerName(name);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(Message(status), HasSubstr("is neither an address nor the name of a host: ")) << name;
  }
}

TEST(CheckServerNameTest, APortIsLeftOut) {
  EXPECT_EQ(Message(CheckServerName("lab:7850")), "'lab:7850' is a name with a port: write 'lab', without the port");
  EXPECT_THAT(Message(CheckServerName("10.0.0.7:7850")), HasSubstr("write '10.0.0.7', without the port"));
  EXPECT_THAT(Message(CheckServerName("[::1]:7850")), HasSubstr("write '::1', without the port"));
}

TEST_F(AuthorityTest, AHolderCannotIssueCertificates) {
  const std::string key = *MakePrivateKey();
  const std::string worker = *authority_.IssueClient(Request(key), v1::WORKER, "mini-3", kNow, hours(24));
  EXPECT_EQ(CertificateAuthority::Load(worker, key).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(AuthorityTest, AnAlteredCertificateDoesNotHold) {
  const std::string pem = *authority_.IssueClient(NewRequest(), v1::WORKER, "mini-3", kNow, hours(24));
  const std::size_t begin = pem.find('\n') + 1;
  const std::size_t end = pem.rfind("\n-----END");
  std::string der;
  ASSERT_TRUE(absl::Base64Unescape(pem.substr(begin, end - begin), &der));
  for (std::size_t at = der.find("mini-3"); at != std::string::npos; at = der.find("mini-3")) der[at + 5] = '4';
  const std::string altered = pem.substr(0, begin) + absl::Base64Escape(der) + "\n" + pem.substr(end + 1);
  ASSERT_EQ(ReadCertificate(altered)->name, "mini-4");
  EXPECT_EQ(CheckClientCertificate(altered, authority_.certificate_pem()).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(Message(CheckServerCertificate(altered, authority_.certificate_pem())).find("mini"), std::string::npos)
      << "nobody is blamed for what somebody else made up";
}

TEST_F(AuthorityTest, TimeIsCheckedOnBothSidesAndSaysBothTimes) {
  const auto facts = *ReadCertificate(*authority_.IssueClient(NewRequest(), v1::WORKER, "mini-3", kNow, seconds(90)));
  EXPECT_TRUE(CheckTime(facts, kNow).ok());
  EXPECT_TRUE(CheckTime(facts, kNow + seconds(90)).ok());
  const absl::Status late = CheckTime(facts, kNow + seconds(91));
  EXPECT_EQ(late.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(late), HasSubstr("expired on 2025-11-30 00:01:30 UTC (now is 2025-11-30 00:01:31 UTC)"));
  EXPECT_THAT(Message(CheckTime(facts, base::SystemTime(hours(1)))), HasSubstr("is the clock right?"));
  // It begins half of the lifetime earlier; two thirds of the whole are over here.
  EXPECT_EQ(facts.not_before, kNow - seconds(45));
  EXPECT_EQ(RenewalTime(facts), kNow + seconds(45));
}

TEST_F(AuthorityTest, ACertificateTellsWhenItWasIssued) {
  for (const std::chrono::nanoseconds lifetime : {seconds(90), seconds(600), seconds(3600), seconds(86400 * 90)}) {
    const auto facts = *ReadCertificate(*authority_.IssueClient(NewRequest(), v1::WORKER, "mini-3", kNow, lifetime));
    EXPECT_EQ(IssueTime(facts), kNow) << lifetime.count();
  }
}

TEST_F(AuthorityTest, BadRequestsAreRefused) {
  const auto issue = [&](const std::string& request) {
    return authority_.IssueClient(request, v1::WORKER, "mini-3", kNow, hours(1)).status();
  };
  EXPECT_EQ(issue("").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(issue(authority_.certificate_pem()).code(), absl::StatusCode::kInvalidArgument);
  // The signature of another key: nobody gets a certificate for a key that is not their own.
  std::string request = NewRequest();
  X509_REQ* parsed = nullptr;
  BIO* in = BIO_new_mem_buf(request.data(), static_cast<int>(request.size()));
  parsed = PEM_read_bio_X509_REQ(in, nullptr, nullptr, nullptr);
  EVP_PKEY* other = EVP_EC_gen("P-256");
  X509_REQ_set_pubkey(parsed, other);
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_X509_REQ(out, parsed);
  char* data = nullptr;
  request.assign(data, 0);
  const auto size = BIO_get_mem_data(out, &data);
  request.assign(data, static_cast<std::size_t>(size));
  EXPECT_THAT(Message(issue(request)), HasSubstr("not signed with the key that it names"));
  EVP_PKEY_free(other);
  X509_REQ_free(parsed);
  BIO_free(in);
  BIO_free(out);
}

TEST_F(AuthorityTest, WeakKeysAreRefused) {
  EVP_PKEY* weak = EVP_RSA_gen(1024);
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(out, weak, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const auto size = BIO_get_mem_data(out, &data);
  const std::string key(data, static_cast<std::size_t>(size));
  BIO_free(out);
  EVP_PKEY_free(weak);
  const absl::Status status = authority_.IssueClient(Request(key), v1::WORKER, "mini-3", kNow, hours(1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status), HasSubstr("too weak"));
}

TEST_F(AuthorityTest, NamesThatCouldMeanSomethingElseAreRefused) {
  for (const char* name : {"", "a/b", "a b", "a\nb", "../x", "名", "a@b"}) {
    EXPECT_EQ(authority_.IssueClient(NewRequest(), v1::WORKER, name, kNow, hours(1)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_FALSE(CheckHolderName(v1::CLIENT, std::string(65, 'a')).ok());
  EXPECT_TRUE(CheckHolderName(v1::CLIENT, "anna.b+ci@desk-1").ok());
  EXPECT_FALSE(CheckHolderName(v1::WORKER, "0123456789abcdef0123456789ABCDEF").ok()) << "a serial number";
  EXPECT_TRUE(CheckHolderName(v1::WORKER, "0123456789abcdef0123456789abcdeg").ok());
}

TEST(CertificateTest, NothingIsReadFromWhatIsNone) {
  EXPECT_EQ(ReadCertificate("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadCertificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(SplitCertificates("-----BEGIN CERTIFICATE-----\nAAAA").empty());
}

TEST(RoleTest, TextsAndBack) {
  for (const v1::Role role : {v1::WORKER, v1::CLIENT, v1::ADMIN}) EXPECT_EQ(*ParseRole(RoleText(role)), role);
  EXPECT_EQ(RoleText(v1::ROLE_UNSPECIFIED), "");
  EXPECT_EQ(ParseRole("root").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseRole("").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ballast::tls
