#include "storage/sqlite/reader_pool.h"

#include "common/base/status.h"

namespace ballast::storage {

ReaderPool::Lease::~Lease() {
  if (pool_ != nullptr) pool_->GiveBack(connection_);
}

absl::StatusOr<std::unique_ptr<ReaderPool>> ReaderPool::Open(const std::filesystem::path& file, int count) {
  std::unique_ptr<ReaderPool> pool(new ReaderPool);
  for (int i = 0; i < count; ++i) {
    BALLAST_ASSIGN_OR_RETURN(Connection connection, Connection::Open(file, Connection::Mode::kReadOnly));
    BALLAST_RETURN_IF_ERROR(connection.Execute("PRAGMA cell_size_check = ON"));
    pool->connections_.push_back(std::make_unique<Connection>(std::move(connection)));
    pool->free_.push_back(pool->connections_.back().get());
  }
  return pool;
}

ReaderPool::Lease ReaderPool::Checkout() {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [this] { return !free_.empty(); });
  Connection* const connection = free_.back();
  free_.pop_back();
  return {this, connection};
}

void ReaderPool::GiveBack(Connection* connection) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(connection);
  }
  freed_.notify_one();
}

}  // namespace ballast::storage
