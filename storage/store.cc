#include "storage/store.h"

#include <future>
#include <memory>
#include <utility>

namespace ballast::storage {

absl::Status Store::WriteAndWait(WriteBatch batch) {
  // Shared with the callback: the writer may still be inside set_value when this thread has its answer and goes on.
  const auto outcome = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> future = outcome->get_future();
  Write(std::move(batch), [outcome](absl::Status status) { outcome->set_value(std::move(status)); });
  return future.get();
}

}  // namespace ballast::storage
