#include "storage/sqlite/connection.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/storage/sqlite/denial.h"
#include "tests/unit/storage/sqlite/scratch_directory.h"

namespace ballast::storage {
namespace {

class ConnectionTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = Connection::Open(scratch_.database(), Connection::Mode::kReadWrite);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    connection_ = std::make_unique<Connection>(std::move(opened).value());
    Execute("CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, d REAL, t TEXT NOT NULL, b BLOB) STRICT");
  }

  void Execute(const std::string& sql) {
    const absl::Status status = connection_->Execute(sql);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }

  std::int64_t Count() { return connection_->QueryInt64("SELECT count(*) FROM t").value(); }

  ScratchDirectory scratch_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ConnectionTest, ValuesComeBackAsTheyWereBound) {
  const std::string blob("\x00\xff\x00", 3);
  const std::string text("a\0b", 3);
  {
    Statement insert = connection_->Prepare("INSERT INTO t (i, d, t, b) VALUES (?1, ?2, ?3, ?4)").value();
    insert.Bind(1, std::numeric_limits<std::int64_t>::min());
    insert.Bind(2, -0.5);
    insert.Bind(3, text);
    insert.BindBlob(4, blob);
    ASSERT_TRUE(insert.Run().ok());
  }
  Statement select = connection_->Prepare("SELECT i, d, t, b FROM t ORDER BY id").value();
  ASSERT_TRUE(select.Step().value());
  EXPECT_EQ(select.Int64(0), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(select.Double(1), -0.5);
  EXPECT_EQ(select.Text(2), text);
  EXPECT_EQ(select.Blob(3), blob);
  EXPECT_FALSE(select.Step().value());
}

TEST_F(ConnectionTest, EmptyTextsAreNotNull) {
  Statement insert = connection_->Prepare("INSERT INTO t (t, b) VALUES (?1, ?2)").value();
  insert.Bind(1, std::string_view());
  insert.BindBlob(2, std::string_view());
  EXPECT_TRUE(insert.Run().ok());
  EXPECT_EQ(connection_->QueryInt64("SELECT count(*) FROM t WHERE t = '' AND b IS NOT NULL").value(), 1);
}

TEST_F(ConnectionTest, AKeptStatementComesBackClean) {
  constexpr std::string_view kSql = "INSERT INTO t (i, t) VALUES (?1, ?2)";
  {
    Statement insert = connection_->Cached(kSql).value();
    insert.Bind(1, std::int64_t{7});
    insert.Bind(2, std::string_view("x"));
    ASSERT_TRUE(insert.Run().ok());
  }
  Statement again = connection_->Cached(kSql).value();
  EXPECT_EQ(again.Run().code(), absl::StatusCode::kInvalidArgument);  // the text is NULL again
}

TEST_F(ConnectionTest, AKeptStatementInUseIsNotDisturbed) {
  Execute("INSERT INTO t (t) VALUES ('a'), ('b')");
  constexpr std::string_view kSql = "SELECT t FROM t ORDER BY id";
  Statement first = connection_->Cached(kSql).value();
  ASSERT_TRUE(first.Step().value());
  {
    Statement second = connection_->Cached(kSql).value();
    ASSERT_TRUE(second.Step().value());
    EXPECT_EQ(second.Text(0), "a");
  }
  ASSERT_TRUE(first.Step().value());
  EXPECT_EQ(first.Text(0), "b");
}

TEST_F(ConnectionTest, ABindThatFailsIsToldByTheStep) {
  Statement insert = connection_->Prepare("INSERT INTO t (t) VALUES (?1)").value();
  insert.Bind(1, std::string_view("x"));
  insert.Bind(2, std::int64_t{1});
  EXPECT_EQ(insert.Run().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Count(), 0);
}

TEST_F(ConnectionTest, ATransactionThatIsNotCommittedIsUndone) {
  {
    Transaction transaction = Transaction::Begin(connection_.get(), Transaction::Kind::kWrite).value();
    Execute("INSERT INTO t (t) VALUES ('a')");
    EXPECT_TRUE(connection_->in_transaction());
  }
  EXPECT_FALSE(connection_->in_transaction());
  EXPECT_EQ(Count(), 0);
}

TEST_F(ConnectionTest, ASavepointIsUndoneAlone) {
  Transaction transaction = Transaction::Begin(connection_.get(), Transaction::Kind::kWrite).value();
  {
    Savepoint kept = Savepoint::Begin(connection_.get()).value();
    Execute("INSERT INTO t (t) VALUES ('kept')");
    ASSERT_TRUE(kept.Keep().ok());
  }
  {
    Savepoint undone = Savepoint::Begin(connection_.get()).value();
    Execute("INSERT INTO t (t) VALUES ('undone')");
  }
  ASSERT_TRUE(transaction.Commit().ok());
  EXPECT_EQ(connection_->QueryInt64("SELECT count(*) FROM t WHERE t = 'kept'").value(), 1);
  EXPECT_EQ(Count(), 1);
}

TEST_F(ConnectionTest, ASavepointThatCannotBeUndoneTakesTheTransactionWithIt) {
  Transaction transaction = Transaction::Begin(connection_.get(), Transaction::Kind::kWrite).value();
  Execute("INSERT INTO t (t) VALUES ('before')");
  {
    Savepoint part = Savepoint::Begin(connection_.get()).value();
    Execute("INSERT INTO t (t) VALUES ('half')");
    DenyUndoing(connection_.get());
    EXPECT_EQ(part.Undo().code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_FALSE(connection_->in_transaction());
  EXPECT_FALSE(transaction.Commit().ok());
  EXPECT_EQ(Count(), 0);
}

TEST_F(ConnectionTest, AReaderCannotWriteNorCreate) {
  auto reader = Connection::Open(scratch_.database(), Connection::Mode::kReadOnly);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(reader->Execute("INSERT INTO t (t) VALUES ('a')").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Connection::Open(scratch_.path() / "none.db", Connection::Mode::kReadOnly).status().code(),
            absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace ballast::storage
