#include "common/tls/identity.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/tls/authority.h"
#include "common/tls/private_key.h"

namespace ballast::tls {
namespace {

using testing::HasSubstr;

constexpr base::SystemTime kNow{std::chrono::seconds(1'764'460'800)};

class IdentityTest : public testing::Test {
 protected:
  IdentityTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-identity-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    file_ = directory_ / "private" / "identity.pem";
  }
  ~IdentityTest() override { std::filesystem::remove_all(directory_); }

  Identity New(const std::string& name) {
    const std::string key = *MakePrivateKey();
    const std::string certificate =
        *authority_.IssueClient(*MakeCertificateRequest(key, name), v1::WORKER, name, kNow, std::chrono::hours(1));
    return *MakeIdentity(key, certificate, authority_.certificate_pem());
  }
  static unsigned ModeOf(const std::filesystem::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_mode & 07777U;
  }

  const CertificateAuthority authority_ = *CertificateAuthority::Create(kNow);
  std::filesystem::path directory_;
  std::filesystem::path file_;
};

TEST_F(IdentityTest, IsKeptForItsOwnerAloneAndReadBack) {
  const ::mode_t before = ::umask(0);
  ASSERT_TRUE(SaveIdentity(file_, New("mini-3")).ok());
  ::umask(before);
  EXPECT_EQ(ModeOf(file_), 0600U);
  EXPECT_EQ(ModeOf(file_.parent_path()), 0700U);
  const auto read = LoadIdentity(file_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->facts.name, "mini-3");
  EXPECT_EQ(read->authority_pem, authority_.certificate_pem());

  ASSERT_TRUE(SaveIdentity(file_, New("mini-4")).ok());
  EXPECT_EQ(LoadIdentity(file_)->facts.name, "mini-4");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(file_.parent_path()), {}), 1) << "nothing left behind";
}

TEST_F(IdentityTest, AKeyThatOthersMayReadIsNotUsed) {
  ASSERT_TRUE(SaveIdentity(file_, New("mini-3")).ok());
  ASSERT_EQ(::chmod(file_.c_str(), 0640), 0);
  const absl::Status status = LoadIdentity(file_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("chmod 600 " + file_.string()));
}

TEST_F(IdentityTest, MissingAndDamagedFilesAreToldApart) {
  EXPECT_EQ(LoadIdentity(file_).status().code(), absl::StatusCode::kNotFound);
  Identity mixed = New("mini-3");
  mixed.private_key_pem = *MakePrivateKey();
  ASSERT_TRUE(SaveIdentity(file_, mixed).ok());
  const absl::Status status = LoadIdentity(file_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("do not belong together"));
  std::ofstream(file_) << "nothing\n";
  EXPECT_EQ(LoadIdentity(file_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(IdentityTest, AnotherAuthoritysCertificateMakesNoIdentity) {
  const Identity own = New("mini-3");
  const CertificateAuthority other = *CertificateAuthority::Create(kNow);
  EXPECT_EQ(MakeIdentity(own.private_key_pem, own.certificate_pem, other.certificate_pem()).status().code(),
            absl::StatusCode::kUnauthenticated);
}

}  // namespace
}  // namespace ballast::tls
