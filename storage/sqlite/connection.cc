#include "storage/sqlite/connection.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "storage/sqlite/sqlite_status.h"

namespace ballast::storage {
namespace {

// Only a backup or a person with the sqlite3 program can be in the way, and only briefly.
constexpr int kBusyTimeoutMs = 5000;

absl::Status RunKept(Connection* connection, std::string_view sql) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  return statement.Run();
}

}  // namespace

void FinalizeStatement::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)),
      owned_(std::move(other.owned_)),
      bind_code_(other.bind_code_) {}

Statement::~Statement() {
  if (statement_ == nullptr || owned_ != nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Statement::Note(int code) {
  if (bind_code_ == SQLITE_OK) bind_code_ = code;
}

void Statement::Bind(int index, std::int64_t value) {
  Note(sqlite3_bind_int64(statement_, index, value));
}

void Statement::Bind(int index, double value) {
  Note(sqlite3_bind_double(statement_, index, value));
}

void Statement::Bind(int index, std::string_view text) {
  // SQLite takes a null pointer for NULL, and an empty view may have one.
  const char* const data = text.data() == nullptr ? "" : text.data();
  Note(sqlite3_bind_text64(statement_, index, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Statement::BindBlob(int index, std::string_view bytes) {
  const char* const data = bytes.data() == nullptr ? "" : bytes.data();
  Note(sqlite3_bind_blob64(statement_, index, data, bytes.size(), SQLITE_STATIC));
}

absl::StatusOr<bool> Statement::Step() {
  sqlite3* const database = sqlite3_db_handle(statement_);
  if (bind_code_ != SQLITE_OK) return SqliteStatus(database, bind_code_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteStatus(database, code);
}

absl::Status Statement::Run() {
  return Step().status();
}

void Statement::Reset() {
  sqlite3_reset(statement_);
}

std::int64_t Statement::Int64(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double Statement::Double(int column) const {
  return sqlite3_column_double(statement_, column);
}

std::string_view Statement::Text(int column) const {
  const auto* const text = static_cast<const char*>(static_cast<const void*>(sqlite3_column_text(statement_, column)));
  return text == nullptr ? std::string_view()
                         : std::string_view(text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}

std::string_view Statement::Blob(int column) const {
  const auto* const bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return bytes == nullptr ? std::string_view()
                          : std::string_view(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}

void Connection::CloseDatabase::operator()(sqlite3* database) const {
  sqlite3_close_v2(database);
}

absl::StatusOr<Connection> Connection::Open(const std::filesystem::path& file, Mode mode) {
  Connection connection;
  connection.file_ = file.string();
  const int flags = (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  sqlite3* database = nullptr;
  // A new one: SQLite would make it as the umask says, and its other files get the mode of this one. One that is there
  // must not be opened here: closing it would end the locks of other connections. What fails SQLite says better.
  if (mode == Mode::kReadWrite) static_cast<void>(base::OpenFile(file, O_RDWR | O_CREAT | O_EXCL, 0600));
  const int code = sqlite3_open_v2(file.c_str(), &database, flags, nullptr);
  connection.database_.reset(database);  // also a connection that failed must be closed
  if (code != SQLITE_OK) {
    return SqliteStatus(connection.file_, code, database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database));
  }
  // SQLite is content with reading where it may not write, until something is written.
  if (mode == Mode::kReadWrite && sqlite3_db_readonly(database, "main") != 0) {
    return SqliteStatus(connection.file_, SQLITE_READONLY, "it may not be written");
  }
  sqlite3_busy_timeout(database, kBusyTimeoutMs);
  // The schema of a damaged or foreign file must not be able to run anything, nor to write where it should not.
  sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return connection;
}

absl::Status Connection::Execute(const std::string& sql) {
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteStatus(database_.get(), code);
}

absl::StatusOr<std::int64_t> Connection::QueryInt64(std::string_view sql) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
  if (!has_row) return absl::DataLossError(fmt::format("database {}: no answer to `{}`", file_, sql));
  return statement.Int64(0);
}

absl::StatusOr<StatementHandle> Connection::Compile(std::string_view sql, bool is_kept) {
  sqlite3_stmt* statement = nullptr;
  const unsigned flags = is_kept ? SQLITE_PREPARE_PERSISTENT : 0;
  const int code =
      sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()), flags, &statement, nullptr);
  if (code != SQLITE_OK) return SqliteStatus(database_.get(), code);
  return StatementHandle(statement);
}

absl::StatusOr<Statement> Connection::Prepare(std::string_view sql) {
  BALLAST_ASSIGN_OR_RETURN(StatementHandle handle, Compile(sql, false));
  return Statement(std::move(handle));
}

absl::StatusOr<Statement> Connection::Cached(std::string_view sql) {
  auto found = kept_.find(sql);
  if (found == kept_.end()) {
    BALLAST_ASSIGN_OR_RETURN(StatementHandle handle, Compile(sql, true));
    found = kept_.emplace(sql, std::move(handle)).first;
  } else if (sqlite3_stmt_busy(found->second.get()) != 0) {
    return Prepare(sql);  // someone is in the middle of its rows
  }
  return Statement(found->second.get());
}

std::int64_t Connection::changes() const {
  return sqlite3_changes64(database_.get());
}

bool Connection::in_transaction() const {
  return sqlite3_get_autocommit(database_.get()) == 0;
}

absl::StatusOr<Transaction> Transaction::Begin(Connection* connection, Kind kind) {
  BALLAST_RETURN_IF_ERROR(RunKept(connection, kind == Kind::kWrite ? "BEGIN IMMEDIATE" : "BEGIN DEFERRED"));
  return Transaction(connection);
}

Transaction::~Transaction() {
  if (connection_ == nullptr || !connection_->in_transaction()) return;
  // Nothing can be done about a rollback that fails; the next BEGIN will say so.
  static_cast<void>(RunKept(connection_, "ROLLBACK"));
}

absl::Status Transaction::Commit() {
  // Where it fails the transaction stays open, for the destructor.
  BALLAST_RETURN_IF_ERROR(RunKept(connection_, "COMMIT"));
  connection_ = nullptr;
  return absl::OkStatus();
}

absl::StatusOr<Savepoint> Savepoint::Begin(Connection* connection) {
  BALLAST_RETURN_IF_ERROR(RunKept(connection, "SAVEPOINT part"));
  return Savepoint(connection);
}

Savepoint::~Savepoint() {
  static_cast<void>(Undo());  // what fails has ended the transaction
}

absl::Status Savepoint::Undo() {
  Connection* const connection = std::exchange(connection_, nullptr);
  if (connection == nullptr || !connection->in_transaction()) return absl::OkStatus();
  absl::Status status = RunKept(connection, "ROLLBACK TO part");
  // Releasing alone would make the part, or what was done of it, one with the transaction.
  if (status.ok()) status = RunKept(connection, "RELEASE part");
  if (status.ok()) return status;
  static_cast<void>(RunKept(connection, "ROLLBACK"));
  return absl::UnavailableError(fmt::format("{}; the whole transaction is undone", std::string(status.message())));
}

absl::Status Savepoint::Keep() {
  BALLAST_RETURN_IF_ERROR(RunKept(connection_, "RELEASE part"));
  connection_ = nullptr;
  return absl::OkStatus();
}

}  // namespace ballast::storage
