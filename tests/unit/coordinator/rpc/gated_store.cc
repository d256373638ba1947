#include "tests/unit/coordinator/rpc/gated_store.h"

namespace ballast::coordinator {

void GatedStore::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

void GatedStore::AwaitWrite() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !waiting_.empty(); });
}

void GatedStore::Open() {
  std::deque<Waiting> waiting;
  {
    const std::lock_guard lock(mutex_);
    closed_ = false;
    waiting.swap(waiting_);
  }
  for (auto& [batch, done] : waiting) base_->Write(std::move(batch), std::move(done));
}

void GatedStore::FailWrites(absl::Status status) {
  std::deque<Waiting> waiting;
  {
    const std::lock_guard lock(mutex_);
    failure_ = status;
    closed_ = false;
    waiting.swap(waiting_);
    failures_ += static_cast<int>(waiting.size());
    changed_.notify_all();
  }
  for (auto& [batch, done] : waiting) done(status);
}

void GatedStore::AwaitFailures(int count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failures_ >= count; });
}

void GatedStore::Write(storage::WriteBatch batch, std::function<void(absl::Status)> done) {
  absl::Status failure;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      waiting_.emplace_back(std::move(batch), std::move(done));
      changed_.notify_all();
      return;
    }
    failure = failure_;
    if (!failure.ok()) {
      ++failures_;
      changed_.notify_all();
    }
  }
  if (failure.ok()) {
    base_->Write(std::move(batch), std::move(done));
  } else {
    done(failure);
  }
}

}  // namespace ballast::coordinator
