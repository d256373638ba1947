// Certificates in the database.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/admin_service.pb.h"
#include "ballast/v1/security.pb.h"
#include "storage/sqlite/connection.h"

namespace ballast::storage {

// As PutCertificate and PutNameRevocation in Store::Write.
[[nodiscard]] absl::Status StoreCertificate(Connection* connection, const v1::Certificate& certificate);
[[nodiscard]] absl::Status StoreNameRevocation(Connection* connection, const v1::NameRevocation& revocation);

// As the methods of Store with these names.
[[nodiscard]] absl::StatusOr<v1::Certificate> GetCertificate(Connection* connection, std::string_view serial);
[[nodiscard]] absl::StatusOr<v1::ListCertificatesResponse> ListCertificates(Connection* connection,
                                                                            const v1::ListCertificatesRequest& request);
[[nodiscard]] absl::StatusOr<std::vector<v1::Certificate>> RevokedCertificates(Connection* connection);
[[nodiscard]] absl::StatusOr<std::vector<v1::NameRevocation>> NameRevocations(Connection* connection);

}  // namespace ballast::storage
