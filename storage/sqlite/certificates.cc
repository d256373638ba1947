#include "storage/sqlite/certificates.h"

#include <cstdint>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "common/base/status.h"
#include "storage/sqlite/columns.h"
#include "storage/sqlite/page_token.h"

namespace ballast::storage {

absl::Status StoreCertificate(Connection* connection, const v1::Certificate& certificate) {
  if (certificate.serial().empty()) {
    return absl::InvalidArgumentError("a certificate without a serial number cannot be stored");
  }
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO certificates (serial, create_time_ns, role, name, revoked, token_id, message)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      ON CONFLICT (serial) DO UPDATE SET create_time_ns = excluded.create_time_ns, role = excluded.role,
        name = excluded.name, revoked = excluded.revoked, token_id = excluded.token_id,
        message = excluded.message)sql"));
  const std::string message = certificate.SerializeAsString();
  statement.Bind(1, certificate.serial());
  statement.Bind(2, ToColumn(certificate.create_time()));
  statement.Bind(3, std::int64_t{certificate.role()});
  statement.Bind(4, certificate.name());
  statement.Bind(5, std::int64_t{certificate.has_revoke_time() ? 1 : 0});
  statement.Bind(6, certificate.token_id());
  statement.BindBlob(7, message);
  return base::WithContext(statement.Run(), fmt::format("store certificate {}", certificate.serial()));
}

absl::Status StoreNameRevocation(Connection* connection, const v1::NameRevocation& revocation) {
  if (revocation.name().empty() || revocation.role() == v1::ROLE_UNSPECIFIED) {
    return absl::InvalidArgumentError("a revocation without a name and a role cannot be stored");
  }
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      INSERT INTO name_revocations (name, role, revoke_time_ns, message) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (name, role) DO UPDATE SET revoke_time_ns = excluded.revoke_time_ns,
        message = excluded.message)sql"));
  const std::string message = revocation.SerializeAsString();
  statement.Bind(1, revocation.name());
  statement.Bind(2, std::int64_t{revocation.role()});
  statement.Bind(3, ToColumn(revocation.revoke_time()));
  statement.BindBlob(4, message);
  return base::WithContext(statement.Run(), fmt::format("store that {} is revoked", revocation.name()));
}

absl::StatusOr<v1::Certificate> GetCertificate(Connection* connection, std::string_view serial) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement,
                           connection->Cached("SELECT message FROM certificates WHERE serial = ?1"));
  statement.Bind(1, serial);
  BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row) return absl::NotFoundError(fmt::format("certificate {} does not exist", serial));
  return ParseColumn<v1::Certificate>(statement.Blob(0), fmt::format("certificate {}", serial));
}

absl::StatusOr<v1::ListCertificatesResponse> ListCertificates(Connection* connection,
                                                              const v1::ListCertificatesRequest& request) {
  BALLAST_ASSIGN_OR_RETURN(const std::size_t page_size, PageSize(request.page_size()));
  const std::uint32_t conditions = ConditionsOf(request);
  BALLAST_ASSIGN_OR_RETURN(const std::optional<PageKey> after, DecodePageToken(conditions, request.page_token()));
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(request.name().empty() ? R"sql(
      SELECT message, create_time_ns, serial FROM certificates INDEXED BY certificates_by_time
      WHERE (create_time_ns, serial) < (?1, ?2) AND ?3 = '' AND (?4 = 0 OR role = ?4)
      ORDER BY create_time_ns DESC, serial DESC LIMIT ?5)sql"
                                                                                          : R"sql(
      SELECT message, create_time_ns, serial FROM certificates INDEXED BY certificates_by_name
      WHERE (create_time_ns, serial) < (?1, ?2) AND name = ?3 AND (?4 = 0 OR role = ?4)
      ORDER BY create_time_ns DESC, serial DESC LIMIT ?5)sql"));
  statement.Bind(1, after.has_value() ? after->time_ns : INT64_MAX);
  statement.Bind(2, after.has_value() ? after->id : std::string());
  statement.Bind(3, request.name());
  statement.Bind(4, std::int64_t{request.role()});
  statement.Bind(5, static_cast<std::int64_t>(page_size + 1));
  v1::ListCertificatesResponse response;
  PageKey last;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return response;
    if (static_cast<std::size_t>(response.certificates_size()) == page_size) {
      response.set_next_page_token(EncodePageToken(conditions, last));
      return response;
    }
    last = {.time_ns = statement.Int64(1), .id = std::string(statement.Text(2))};
    BALLAST_ASSIGN_OR_RETURN(*response.add_certificates(),
                             ParseColumn<v1::Certificate>(statement.Blob(0), fmt::format("certificate {}", last.id)));
  }
}

absl::StatusOr<std::vector<v1::Certificate>> RevokedCertificates(Connection* connection) {
  BALLAST_ASSIGN_OR_RETURN(
      Statement statement,
      connection->Cached("SELECT message, serial FROM certificates WHERE revoked = 1 ORDER BY serial"));
  std::vector<v1::Certificate> revoked;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return revoked;
    BALLAST_ASSIGN_OR_RETURN(
        v1::Certificate certificate,
        ParseColumn<v1::Certificate>(statement.Blob(0), fmt::format("certificate {}", statement.Text(1))));
    revoked.push_back(std::move(certificate));
  }
}

absl::StatusOr<std::vector<v1::NameRevocation>> NameRevocations(Connection* connection) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement,
                           connection->Cached("SELECT message, name FROM name_revocations ORDER BY name, role"));
  std::vector<v1::NameRevocation> revocations;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return revocations;
    BALLAST_ASSIGN_OR_RETURN(
        v1::NameRevocation revocation,
        ParseColumn<v1::NameRevocation>(statement.Blob(0), fmt::format("revocation of {}", statement.Text(1))));
    revocations.push_back(std::move(revocation));
  }
}

}  // namespace ballast::storage
