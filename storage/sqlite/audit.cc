#include "storage/sqlite/audit.h"

#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "common/base/status.h"
#include "storage/sqlite/columns.h"
#include "storage/sqlite/page_token.h"

namespace ballast::storage {
namespace {

absl::StatusOr<std::int64_t> EntryIdOf(const std::optional<PageKey>& after) {
  if (!after) return std::numeric_limits<std::int64_t>::max();
  std::int64_t entry_id = 0;
  const char* const end = after->id.data() + after->id.size();
  if (std::from_chars(after->id.data(), end, entry_id).ptr != end) {
    return absl::InvalidArgumentError("page_token is not one of this list; start from the first page");
  }
  return entry_id;
}

}  // namespace

absl::Status Append(Connection* connection, const AppendAudit& append) {
  v1::AuditEntry entry = append.entry;
  entry.clear_entry_id();
  const std::string message = entry.SerializeAsString();
  BALLAST_ASSIGN_OR_RETURN(
      Statement statement,
      connection->Cached("INSERT INTO audit_entries (time_ns, name, message) VALUES (?1, ?2, ?3)"));
  statement.Bind(1, ToColumn(entry.time()));
  statement.Bind(2, entry.name());
  statement.BindBlob(3, message);
  return base::WithContext(statement.Run(), "write the audit log");
}

absl::Status Delete(Connection* connection, const DeleteAuditBefore& deletion) {
  // Ends at the first entry that stays: entries are in the order in which they were written, and there is no index of
  // times to keep.
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(R"sql(
      DELETE FROM audit_entries WHERE entry_id < coalesce(
        (SELECT entry_id FROM audit_entries WHERE time_ns >= ?1 ORDER BY entry_id LIMIT 1), 9223372036854775807))sql"));
  statement.Bind(1, ToColumn(deletion.time));
  return base::WithContext(statement.Run(), "remove old entries of the audit log");
}

absl::StatusOr<v1::ListAuditEntriesResponse> ListAuditEntries(Connection* connection,
                                                              const v1::ListAuditEntriesRequest& request) {
  BALLAST_ASSIGN_OR_RETURN(const std::size_t page_size, PageSize(request.page_size()));
  const std::uint32_t fingerprint = ConditionsOf(request);
  BALLAST_ASSIGN_OR_RETURN(const std::optional<PageKey> after, DecodePageToken(fingerprint, request.page_token()));
  BALLAST_ASSIGN_OR_RETURN(const std::int64_t before, EntryIdOf(after));
  BALLAST_ASSIGN_OR_RETURN(
      Statement statement,
      connection->Cached(
          request.name().empty()
              ? "SELECT entry_id, message FROM audit_entries WHERE entry_id < ?1 ORDER BY entry_id DESC LIMIT ?2"
              : "SELECT entry_id, message FROM audit_entries WHERE name = ?3 AND entry_id < ?1 ORDER BY entry_id DESC "
                "LIMIT ?2"));
  statement.Bind(1, before);
  statement.Bind(2, static_cast<std::int64_t>(page_size + 1));
  if (!request.name().empty()) statement.Bind(3, request.name());
  v1::ListAuditEntriesResponse response;
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return response;
    if (static_cast<std::size_t>(response.entries_size()) == page_size) {
      const std::uint64_t last = response.entries(response.entries_size() - 1).entry_id();
      response.set_next_page_token(EncodePageToken(fingerprint, {.time_ns = 0, .id = fmt::format("{}", last)}));
      return response;
    }
    const std::int64_t entry_id = statement.Int64(0);
    BALLAST_ASSIGN_OR_RETURN(
        v1::AuditEntry entry,
        ParseColumn<v1::AuditEntry>(statement.Blob(1), fmt::format("entry {} of the audit log", entry_id)));
    entry.set_entry_id(static_cast<std::uint64_t>(entry_id));
    response.add_entries()->Swap(&entry);
  }
}

}  // namespace ballast::storage
