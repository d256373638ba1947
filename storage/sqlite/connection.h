// Owners of what SQLite hands out: connections, statements, transactions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace ballast::storage {

struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const;
};
using StatementHandle = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// A prepared statement with its parameters, numbered from 1, and its result columns, numbered from 0. Destroying it
// leaves one that its connection keeps ready for the next use, and finalises any other. Must not outlive its
// connection. Move-only. Not thread-safe.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Parameters: exactly these types, so that no conversion narrows unseen. What fails is told by the next Step or Run.
  void Bind(int index, std::int64_t value);
  void Bind(int index, double value);
  void Bind(int index, std::string_view text);  // copied
  void Bind(int index, const std::string& text) { Bind(index, std::string_view(text)); }
  void BindBlob(int index, std::string_view bytes);  // not copied: must live until the statement is destroyed
  template <typename T>
  void Bind(int index, T value) = delete;

  // Makes one step: true when there is a row. Codes of SqliteStatusCode.
  [[nodiscard]] absl::StatusOr<bool> Step();
  // Carries out a statement that has no rows.
  [[nodiscard]] absl::Status Run();
  // Makes it ready for another Run; parameters stay as they are.
  void Reset();

  // Columns of the row; views are good until the next step.
  [[nodiscard]] std::int64_t Int64(int column) const;
  [[nodiscard]] double Double(int column) const;
  [[nodiscard]] std::string_view Text(int column) const;
  [[nodiscard]] std::string_view Blob(int column) const;

 private:
  friend class Connection;
  explicit Statement(sqlite3_stmt* kept) : statement_(kept) {}
  explicit Statement(StatementHandle owned) : statement_(owned.get()), owned_(std::move(owned)) {}
  void Note(int code);

  sqlite3_stmt* statement_;
  StatementHandle owned_;  // empty where the connection keeps the statement
  int bind_code_ = 0;
};

// A connection to one database file. Movable. Used by one thread at a time; statements must be gone before it moves.
class Connection {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  // Opens the file; with kReadWrite creates it where missing. Does not read it yet. PERMISSION_DENIED and UNAVAILABLE.
  [[nodiscard]] static absl::StatusOr<Connection> Open(const std::filesystem::path& file, Mode mode);

  // Carries out any number of statements, dropping their rows.
  [[nodiscard]] absl::Status Execute(const std::string& sql);
  // The first column of the first row; DATA_LOSS where there is no row.
  [[nodiscard]] absl::StatusOr<std::int64_t> QueryInt64(std::string_view sql);

  // A statement that is kept and found again by its text: for texts that are always the same.
  [[nodiscard]] absl::StatusOr<Statement> Cached(std::string_view sql);
  // A statement for once.
  [[nodiscard]] absl::StatusOr<Statement> Prepare(std::string_view sql);

  // Rows that the latest INSERT, UPDATE or DELETE changed.
  [[nodiscard]] std::int64_t changes() const;
  // Whether a transaction is open. SQLite ends it by itself on some errors.
  [[nodiscard]] bool in_transaction() const;
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] sqlite3* handle() const { return database_.get(); }

 private:
  struct CloseDatabase {
    void operator()(sqlite3* database) const;
  };

  Connection() = default;
  [[nodiscard]] absl::StatusOr<StatementHandle> Compile(std::string_view sql, bool is_kept);

  std::string file_;
  std::unique_ptr<sqlite3, CloseDatabase> database_;
  std::map<std::string, StatementHandle, std::less<>> kept_;  // finalised before the connection closes
};

// A transaction; destroying it rolls back what was not committed. Move-only.
class Transaction {
 public:
  enum class Kind { kRead, kWrite };

  // UNAVAILABLE where another connection writes. kRead holds one state of the database from its first query on.
  [[nodiscard]] static absl::StatusOr<Transaction> Begin(Connection* connection, Kind kind);
  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  // On failure nothing is changed and the transaction is rolled back.
  [[nodiscard]] absl::Status Commit();

 private:
  explicit Transaction(Connection* connection) : connection_(connection) {}
  Connection* connection_;
};

// A part of a transaction that can be undone alone; destroying it undoes what was not kept. Where that fails the whole
// transaction is rolled back: half of a part is never committed. Not nested.
class Savepoint {
 public:
  [[nodiscard]] static absl::StatusOr<Savepoint> Begin(Connection* connection);
  Savepoint(Savepoint&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Savepoint& operator=(Savepoint&&) = delete;
  ~Savepoint();

  [[nodiscard]] absl::Status Keep();
  // Undoes it now. UNAVAILABLE where that failed: the transaction must not be committed.
  [[nodiscard]] absl::Status Undo();

 private:
  explicit Savepoint(Connection* connection) : connection_(connection) {}
  Connection* connection_;
};

}  // namespace ballast::storage
