#include "coordinator/rpc/audit_log.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/text.h"
#include "common/rpc/channel.h"
#include "coordinator/rpc/client_key.h"

namespace ballast::coordinator {
namespace {

// What clients say is kept in full up to here.
constexpr std::size_t kMaxTextBytes = 512;
// Kinds of failures that are told apart at once; beyond, those that were written longest ago begin anew.
constexpr std::size_t kMaxRepeated = 4096;

std::string Text(std::string_view text) {
  return base::RepairUtf8(text.substr(0, kMaxTextBytes));
}

// In the program's log, what may be an attack.
void Tell(const v1::AuditEntry& entry) {
  static constexpr std::array<std::string_view, 3> kCodes = {"UNAUTHENTICATED", "PERMISSION_DENIED",
                                                             "RESOURCE_EXHAUSTED"};
  if (std::ranges::find(kCodes, entry.code()) == kCodes.end()) return;
  base::Log().warn("{} refused{}{}: {}", entry.action(), entry.peer().empty() ? "" : " to ", entry.peer(),
                   entry.message());
}

}  // namespace

AuditLog::AuditLog(storage::Store* store, const base::Clock* clock, AuditLogOptions options)
    : store_(store), clock_(clock), options_(options), thread_([this](const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        while (!stopped_.wait_for(lock, stop, options_.repeat_interval, [&stop] { return stop.stop_requested(); })) {
          lock.unlock();
          WriteWaiting(false);
          lock.lock();
        }
      }) {}

AuditLog::~AuditLog() {
  thread_.request_stop();
  thread_.join();
  WriteWaiting(true);
  AwaitWritten();
}

absl::StatusOr<v1::ListAuditEntriesResponse> AuditLog::List(const v1::ListAuditEntriesRequest& request) {
  // What comes meanwhile would shift the pages that follow no more than any other entry does: they begin at a number.
  WriteWaiting(true);
  AwaitWritten();
  return store_->ListAuditEntries(request);
}

void AuditLog::WriteWaiting(bool all) {
  std::vector<v1::AuditEntry> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting = TakeWaiting(clock_->Now(), all);
  }
  for (v1::AuditEntry& entry : waiting) Write(std::move(entry), nullptr);
}

void AuditLog::AwaitWritten() {
  std::unique_lock lock(pending_->mutex);
  pending_->changed.wait_for(lock, options_.patience, [this] { return pending_->count == 0; });
}

grpc::Status AuditLog::Done(const grpc::ServerContextBase& context, const AuditedAction& action, grpc::Status answer) {
  Record(CallerOf(context), action, rpc::FromGrpc(answer));
  return answer;
}

void AuditLog::Record(const Caller& caller, const AuditedAction& action, const absl::Status& answer) {
  v1::AuditEntry entry;
  *entry.mutable_time() = base::ToProto(clock_->Now());
  entry.set_name(caller.authenticated ? caller.name : Text(action.claimed_name));
  entry.set_role(caller.role);
  entry.set_serial(caller.serial);
  entry.set_peer(caller.peer);
  entry.set_action(Text(action.action));
  entry.set_subject(Text(action.subject));
  entry.set_code(absl::StatusCodeToString(answer.code()));
  entry.set_message(Text(std::string(answer.message())));
  if (!answer.ok()) {
    RecordFailure(std::move(entry));
    return;
  }
  if (answer.ok()) entry.set_detail(Text(action.detail));
  const std::string what = fmt::format("{} {}", entry.action(), base::Quoted(entry.subject()));
  const auto done = std::make_shared<bool>(false);
  Write(std::move(entry), done);
  std::unique_lock lock(pending_->mutex);
  if (!pending_->changed.wait_for(lock, options_.patience, [&done] { return *done; })) {
    base::Log().error("audit: {} was done, and its entry is not on disk yet", what);
  }
}

void AuditLog::RecordRefusal(const Caller& caller, const AuditedAction& action, const absl::Status& end) {
  if (end.ok() || absl::IsCancelled(end) || absl::IsUnavailable(end) || absl::IsAborted(end)) return;
  Record(caller, action, end);
}

void AuditLog::RecordFailure(v1::AuditEntry entry) {
  const base::SystemTime now = base::FromProto(entry.time());
  std::string key = fmt::format("{}\n{}\n{}\n{}", HostOf(entry.peer()), entry.name(), entry.action(), entry.code());
  std::vector<v1::AuditEntry> entries;
  {
    const std::lock_guard lock(mutex_);
    entries = TakeWaiting(now, false);
    if (repeated_.size() >= kMaxRepeated && !repeated_.contains(key)) {
      const auto oldest = std::ranges::min_element(repeated_, {}, [](const auto& item) { return item.second.written; });
      if (oldest->second.waiting > 0) entries.push_back(std::move(oldest->second.last));
      repeated_.erase(oldest);
    }
    const auto [position, is_first] = repeated_.try_emplace(std::move(key));
    Repeated& repeated = position->second;
    if (is_first) {
      Tell(entry);
      repeated.written = now;
      entries.push_back(std::move(entry));
    } else {
      entry.set_count(++repeated.waiting);
      repeated.last = std::move(entry);
    }
  }
  for (v1::AuditEntry& each : entries) Write(std::move(each), nullptr);
}

std::vector<v1::AuditEntry> AuditLog::TakeWaiting(base::SystemTime now, bool all) {
  std::vector<v1::AuditEntry> entries;
  for (auto item = repeated_.begin(); item != repeated_.end();) {
    Repeated& repeated = item->second;
    // A clock that was set back must not keep them for ever.
    const auto age = now - repeated.written;
    const bool is_due = age < std::chrono::nanoseconds(0) || age >= options_.repeat_interval;
    if (is_due && repeated.waiting == 0) {
      item = repeated_.erase(item);
      continue;
    }
    if (repeated.waiting > 0 && (is_due || all)) {
      entries.push_back(std::move(repeated.last));
      repeated.waiting = 0;
      repeated.written = now;
    }
    ++item;
  }
  return entries;
}

void AuditLog::Write(v1::AuditEntry entry, std::shared_ptr<bool> done) {
  {
    const std::lock_guard lock(pending_->mutex);
    ++pending_->count;
  }
  std::string what = fmt::format("{} {}", entry.action(), base::Quoted(entry.subject()));
  store_->Write({storage::AppendAudit{.entry = std::move(entry)}},
                [pending = pending_, done = std::move(done), what = std::move(what)](const absl::Status& status) {
                  if (!status.ok()) {
                    base::Log().error("audit: the entry of {} could not be written: {}", what,
                                      std::string(status.message()));
                  }
                  const std::lock_guard lock(pending->mutex);
                  --pending->count;
                  if (done != nullptr) *done = true;
                  pending->changed.notify_all();
                });
}

}  // namespace ballast::coordinator
