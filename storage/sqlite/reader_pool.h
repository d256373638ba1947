// The connections that read.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/sqlite/connection.h"

namespace ballast::storage {

// Some read-only connections, lent to one thread each at a time. Thread-safe. Outlives its leases.
class ReaderPool {
 public:
  // A connection on loan; destroying it gives it back. Move-only.
  class Lease {
   public:
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), connection_(std::exchange(other.connection_, nullptr)) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease();

    [[nodiscard]] Connection* get() const { return connection_; }

   private:
    friend class ReaderPool;
    Lease(ReaderPool* pool, Connection* connection) : pool_(pool), connection_(connection) {}
    ReaderPool* pool_;
    Connection* connection_;
  };

  // Opens `count` connections to a database that has one for writing already. Codes of Connection::Open.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ReaderPool>> Open(const std::filesystem::path& file, int count);

  // Waits for a free connection. A thread that has one must not ask for another.
  [[nodiscard]] Lease Checkout();

 private:
  ReaderPool() = default;
  void GiveBack(Connection* connection);

  std::vector<std::unique_ptr<Connection>> connections_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Connection*> free_;  // guarded by mutex_
};

}  // namespace ballast::storage
