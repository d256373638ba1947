// What every store promises of certificates.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/contract/stores.h"

namespace ballast::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StoreCertificateContractTest : public StoreContractTest {
 protected:
  static v1::Certificate Make(const std::string& serial, std::int64_t time, const std::string& name,
                              v1::Role role = v1::WORKER) {
    v1::Certificate certificate;
    certificate.set_serial(serial);
    certificate.set_name(name);
    certificate.set_role(role);
    certificate.mutable_create_time()->set_seconds(time);
    certificate.mutable_expire_time()->set_seconds(time + 3600);
    return certificate;
  }
  std::vector<std::string> Serials(const v1::ListCertificatesRequest& request) {
    const auto response = store().ListCertificates(request);
    EXPECT_TRUE(response.ok()) << response.status();
    std::vector<std::string> serials;
    for (const v1::Certificate& certificate : response->certificates()) serials.push_back(certificate.serial());
    return serials;
  }
};

INSTANTIATE_TEST_SUITE_P(Stores, StoreCertificateContractTest, testing::ValuesIn(AllStoreKinds()),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(StoreCertificateContractTest, OneIsKeptAndReplacedBySerial) {
  v1::Certificate certificate = Make("0a", 100, "d-1");
  Put({PutCertificate{certificate}});
  EXPECT_EQ(store().GetCertificate("0a")->SerializeAsString(), certificate.SerializeAsString());
  EXPECT_THAT(*store().RevokedCertificates(), IsEmpty());
  certificate.mutable_revoke_time()->set_seconds(200);
  certificate.set_revoke_reason("lost");
  Put({PutCertificate{certificate}});
  Reopen();
  EXPECT_EQ(store().GetCertificate("0a")->revoke_reason(), "lost");
  ASSERT_EQ(store().RevokedCertificates()->size(), 1U);
  EXPECT_EQ(store().RevokedCertificates()->front().serial(), "0a");
  EXPECT_TRUE(absl::IsNotFound(store().GetCertificate("0b").status()));
  EXPECT_EQ(store().WriteAndWait({PutCertificate{}}).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StoreCertificateContractTest, ATokenIsGoodForOneCertificate) {
  v1::Certificate first = Make("0a", 100, "d-1");
  first.set_token_id("token");
  v1::Certificate second = Make("0b", 101, "d-2");
  second.set_token_id("token");
  Put({PutCertificate{first}});
  EXPECT_TRUE(absl::IsAlreadyExists(store().WriteAndWait({PutCertificate{second}})));
  EXPECT_TRUE(absl::IsNotFound(store().GetCertificate("0b").status()));
  Put({PutCertificate{first}});  // the same one may be written again
  // Renewals have no token, and there may be many.
  Put({PutCertificate{Make("0c", 102, "d-1")}, PutCertificate{Make("0d", 103, "d-1")}});
}

TEST_P(StoreCertificateContractTest, OfANameTheLastRevocationStays) {
  const auto revocation = [](v1::Role role, std::int64_t time, const std::string& reason) {
    v1::NameRevocation made;
    made.set_role(role);
    made.set_name("anna");
    made.mutable_revoke_time()->set_seconds(time);
    made.set_revoke_reason(reason);
    return PutNameRevocation{made};
  };
  EXPECT_THAT(*store().NameRevocations(), IsEmpty());
  Put({revocation(v1::CLIENT, 100, "lost"), revocation(v1::WORKER, 50, "sold")});
  Put({revocation(v1::CLIENT, 200, "lost again")});
  Put({revocation(v1::CLIENT, 150, "after the clock was set right")});
  Reopen();
  const auto kept = store().NameRevocations();
  ASSERT_TRUE(kept.ok()) << kept.status();
  ASSERT_EQ(kept->size(), 2U);
  EXPECT_EQ(kept->at(0).revoke_reason(), "sold");
  EXPECT_EQ(kept->at(1).revoke_reason(), "after the clock was set right");
  EXPECT_EQ(kept->at(1).revoke_time().seconds(), 150);
  EXPECT_EQ(store().WriteAndWait({PutNameRevocation{}}).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StoreCertificateContractTest, ListsAreLatestFirstInPagesByNameAndRole) {
  for (int i = 0; i < 5; ++i) {
    Put({PutCertificate{
        Make(fmt::format("a{}", i), 100 + i, i % 2 == 0 ? "d-1" : "anna", i % 2 == 0 ? v1::WORKER : v1::CLIENT)}});
  }
  EXPECT_THAT(Serials({}), ElementsAre("a4", "a3", "a2", "a1", "a0"));
  v1::ListCertificatesRequest request;
  request.set_name("d-1");
  EXPECT_THAT(Serials(request), ElementsAre("a4", "a2", "a0"));
  request.set_role(v1::CLIENT);
  EXPECT_THAT(Serials(request), IsEmpty());
  request.clear_name();
  EXPECT_THAT(Serials(request), ElementsAre("a3", "a1"));

  v1::ListCertificatesRequest paged;
  paged.set_page_size(2);
  std::vector<std::string> all;
  do {
    const auto page = store().ListCertificates(paged);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const v1::Certificate& certificate : page->certificates()) all.push_back(certificate.serial());
    paged.set_page_token(page->next_page_token());
  } while (!paged.page_token().empty());
  EXPECT_THAT(all, ElementsAre("a4", "a3", "a2", "a1", "a0"));
  request.set_page_token("nonsense");
  EXPECT_EQ(store().ListCertificates(request).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ballast::storage
