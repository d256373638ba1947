#include "coordinator/rpc/worker_service.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "coordinator/rpc/worker_session.h"

namespace ballast::coordinator {
namespace {

constexpr std::uint64_t kPieceBytes = 1U << 20U;
// Of the server's threads, so that clients find some (server.cc).
constexpr int kMaxFetches = 64;

// Reads exactly `size` bytes.
absl::Status ReadPiece(const models::ServedFile& file, std::uint64_t position, std::size_t size, std::string* content) {
  content->resize(size);
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::pread(file.fd.get(), content->data() + done, size - done, static_cast<off_t>(position + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::ErrnoStatus(errno, fmt::format("read {}", file.path.string()));
    if (n == 0) return absl::DataLossError(fmt::format("{} became shorter while it was sent", file.path.string()));
    done += static_cast<std::size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* WorkerService::Connect(
    grpc::CallbackServerContext* context) {
  return WorkerSession::Start(actor_, access_, audit_, context, hello_timeout_);
}

grpc::Status WorkerService::FetchModel(grpc::ServerContext* context, const v1::FetchModelRequest* request,
                                       grpc::ServerWriter<v1::FilePiece>* writer) {
  if (grpc::Status refused = admission_->Admit(context, "FetchModel"); !refused.ok()) return refused;
  absl::Status status = absl::UnavailableError(
      fmt::format("{} model files are being sent, as many as may be at once; it comes later", kMaxFetches));
  if (fetch_count_.fetch_add(1) < kMaxFetches) status = Fetch(*request, context, writer);
  fetch_count_.fetch_sub(1);
  audit_->RecordRefusal(CallerOf(*context), {.action = "FetchModel", .subject = request->sha256()}, status);
  return rpc::ToGrpc(status);
}

absl::Status WorkerService::Fetch(const v1::FetchModelRequest& request, grpc::ServerContext* context,
                                  grpc::ServerWriter<v1::FilePiece>* writer) {
  BALLAST_ASSIGN_OR_RETURN(const models::ServedFile file, library_->OpenFile(request.sha256()));
  if (request.offset_bytes() > file.size_bytes) {
    return absl::OutOfRangeError(fmt::format("{} has {} bytes, and the ones from {} on are wanted", file.path.string(),
                                             file.size_bytes, request.offset_bytes()));
  }
  const Caller caller = CallerOf(*context);
  StallWatch::Call call = stalls_->Watch([context] { context->TryCancel(); });
  v1::FilePiece piece;
  if (request.accept_local_path() && std::string_view(context->peer()).starts_with("unix:")) {
    piece.set_local_path(file.path.string());
    writer->Write(piece);
    return absl::OkStatus();
  }
  std::uint64_t position = request.offset_bytes();
  absl::Status status;
  while (status.ok() && position < file.size_bytes) {
    const auto size = static_cast<std::size_t>(std::min(kPieceBytes, file.size_bytes - position));
    piece.set_offset_bytes(position);
    status = ReadPiece(file, position, size, piece.mutable_content());
    if (stopping_) status = absl::UnavailableError("the coordinator is stopping");
    if (status.ok() && access_ != nullptr) status = access_->CheckRevoked(caller);
    if (!status.ok()) break;
    if (!writer->Write(piece)) {
      status = absl::CancelledError(call.ended() ? "the worker took nothing, and was ended" : "the worker has gone");
    }
    call.Moved();
    if (status.ok()) position += size;
  }
  base::Log().info("{}: sent {} bytes from {} on to {}{}", file.path.filename().string(),
                   position - request.offset_bytes(), request.offset_bytes(), context->peer(),
                   status.ok() ? "" : fmt::format("; {}", std::string(status.message())));
  return status;
}

}  // namespace ballast::coordinator
