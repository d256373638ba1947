// ballast models push
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "cli/models.h"
#include "cli/render/list_fields.h"
#include "cli/render/transfer_progress.h"
#include "cli/session.h"
#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/gguf/model_description.h"
#include "common/gguf/model_file.h"

namespace ballast::cli {
namespace {

constexpr std::size_t kPieceBytes = 1U << 20U;
constexpr std::chrono::hours kPushTimeout(24);
// How long a push waits for a coordinator that went away.
constexpr std::chrono::minutes kReconnectPatience(5);
constexpr std::chrono::milliseconds kReconnectInterval(500);

struct PushFlags {
  ConnectionFlags connection;
  std::string output;
  std::string file;
  std::string model_id;
  std::string quant;
  std::string description;
};

// The file, checked to be a model, with what is announced of it.
struct Source {
  base::Fd fd;
  v1::PushModelStart start;
};

absl::StatusOr<Source> OpenSource(const PushFlags& flags, Context& context) {
  const absl::StatusOr<gguf::ModelFile> model = gguf::ReadModelFile(flags.file);
  if (absl::IsNotFound(model.status())) {
    return WithNextStep(absl::InvalidArgumentError(std::string(model.status().message())),
                        "ballast models push FILE --model-id ID");
  }
  if (absl::IsDataLoss(model.status()) || absl::IsInvalidArgument(model.status())) {
    return WithNextStep(absl::InvalidArgumentError(std::string(model.status().message())), "give a whole GGUF file");
  }
  BALLAST_RETURN_IF_ERROR(model.status());
  if (model->parts.size() > 1) {
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("{} is one of {} files of a model", flags.file, model->parts.size())),
        "join them with llama-gguf-split --merge, and push the result");
  }
  Source source;
  const std::string own_level = gguf::DescribeModel(*model).quant();
  if (flags.quant.empty() && own_level.empty()) {
    return WithNextStep(absl::InvalidArgumentError("the file does not say which quantisation level it has"),
                        "say it with --quant, for instance --quant Q4_K_M");
  }
  if (!flags.quant.empty() && !own_level.empty() && flags.quant != own_level) {
    context.err << fmt::format("note: the file says that its level is {}; it is pushed as {}\n", own_level,
                               flags.quant);
  }
  source.start.set_model_id(flags.model_id);
  source.start.set_quant(flags.quant.empty() ? own_level : flags.quant);
  source.start.set_description(flags.description);
  source.start.mutable_file()->set_size_bytes(model->file_size_bytes);
  BALLAST_ASSIGN_OR_RETURN(source.fd, base::OpenFile(flags.file, O_RDONLY));
  return source;
}

absl::Status ComputeDigest(const PushFlags& flags, Context& context, Source* source) {
  const std::uint64_t size_bytes = source->start.file().size_bytes();
  TransferProgress progress(context, fmt::format("reading {}", flags.file), size_bytes);
  std::stop_source stop;
  const Interrupts::Scope scope(context.interrupts, [&stop] { stop.request_stop(); });
  base::Sha256 sha256;
  std::uint64_t done_bytes = 0;
  BALLAST_RETURN_IF_ERROR(base::ReadInPieces(source->fd.get(), size_bytes, flags.file, stop.get_token(),
                                             [&](std::string_view piece) -> absl::Status {
                                               sha256.Update(piece);
                                               done_bytes += piece.size();
                                               progress.Update(done_bytes);
                                               return absl::OkStatus();
                                             }));
  source->start.mutable_file()->set_sha256(sha256.Finish());
  return absl::OkStatus();
}

// Sends what the coordinator does not have. A failure to write shows in the stream's end.
absl::Status SendPieces(grpc::ClientReaderWriter<v1::PushModelRequest, v1::PushModelResponse>* stream,
                        const Source& source, std::uint64_t position, TransferProgress* progress) {
  const std::uint64_t size_bytes = source.start.file().size_bytes();
  v1::PushModelRequest request;
  while (position < size_bytes) {
    std::string* const content = request.mutable_piece()->mutable_content();
    content->resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, size_bytes - position)));
    const ssize_t n = ::pread(source.fd.get(), content->data(), content->size(), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::ErrnoStatus(errno, "read the file");
    if (n == 0) return absl::DataLossError("the file became shorter while it was pushed");
    content->resize(static_cast<std::size_t>(n));
    request.mutable_piece()->set_offset_bytes(position);
    if (!stream->Write(request)) return absl::OkStatus();
    position += static_cast<std::uint64_t>(n);
    progress->Update(position);
  }
  return absl::OkStatus();
}

// `stored_bytes` becomes what the coordinator had of it before.
absl::StatusOr<v1::ModelEntry> PushOnce(Session* session, const Source& source, std::uint64_t* stored_bytes,
                                        Context& context) {
  const auto call = rpc::MakeContext(kPushTimeout);
  const Interrupts::Scope scope(context.interrupts, [&call] { call->TryCancel(); });
  const auto stream = session->PushModel(call.get());
  TransferProgress progress(context, fmt::format("pushing {} {}", source.start.model_id(), source.start.quant()),
                            source.start.file().size_bytes());
  v1::PushModelRequest request;
  *request.mutable_start() = source.start;
  v1::PushModelResponse response;
  absl::Status sent;
  if (stream->Write(request) && stream->Read(&response) && response.has_stored_bytes()) {
    *stored_bytes = response.stored_bytes();
    sent = SendPieces(stream.get(), source, *stored_bytes, &progress);
    if (sent.ok()) {
      stream->WritesDone();
      while (stream->Read(&response)) {
      }
    } else {
      call->TryCancel();
    }
  }
  const absl::Status status = rpc::FromGrpc(stream->Finish());
  BALLAST_RETURN_IF_ERROR(sent);
  BALLAST_RETURN_IF_ERROR(status);
  if (!response.has_entry()) return absl::InternalError("the coordinator ended the push without a word");
  return response.entry();
}

absl::StatusOr<v1::ModelEntry> Push(Session* session, const Source& source, Context& context) {
  std::chrono::nanoseconds lost_since{0};
  std::uint64_t before_bytes = 0;
  while (true) {
    std::uint64_t position = 0;
    absl::StatusOr<v1::ModelEntry> entry = PushOnce(session, source, &position, context);
    // The coordinator may be restarted, or end a push that stood still: what it has stays there.
    const bool ended =
        absl::IsUnavailable(entry.status()) || (absl::IsCancelled(entry.status()) && !context.interrupts.pending());
    if (!ended || session->owner()) {
      if (!entry.ok()) return session->Explain(entry.status());
      return entry;
    }
    const std::chrono::nanoseconds now = context.clock.Monotonic();
    if (lost_since == std::chrono::nanoseconds(0) || position > before_bytes) {
      lost_since = now;
      context.err << fmt::format("{}; trying again\n", absl::IsCancelled(entry.status())
                                                           ? "the coordinator ended the push, which had stood still"
                                                           : std::string(entry.status().message()));
    }
    before_bytes = std::max(before_bytes, position);
    if (now - lost_since > kReconnectPatience) return session->Explain(entry.status());
    do {
      if (context.interrupts.WaitFor(kReconnectInterval)) return absl::CancelledError("interrupted");
    } while (!session->Reconnect().ok() && context.clock.Monotonic() - lost_since <= kReconnectPatience);
  }
}

absl::StatusOr<ExitCode> PushModel(const PushFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.file.empty() && !flags.model_id.empty(), "the file and --model-id",
                                          "ballast models push model.gguf --model-id my-model"));
  BALLAST_ASSIGN_OR_RETURN(Source source, OpenSource(flags, context));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  BALLAST_RETURN_IF_ERROR(ComputeDigest(flags, context, &source));
  BALLAST_ASSIGN_OR_RETURN(const v1::ModelEntry entry, Push(session.get(), source, context));
  if (output == OutputFormat::kJson) {
    PrintJson(entry, context);
  } else {
    PrintRecords(std::vector<v1::ModelEntry>{entry}, ModelEntryFields(), output, context);
  }
  return ExitCode::kDone;
}

}  // namespace

void AddModelsPushCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<PushFlags>();
  CLI::App* command = tree.Add(group, "push",
                               "Bring a GGUF file to the coordinator, for devices to fetch when a job needs it. A push "
                               "that was broken off goes on where it was.",
                               {"ballast models push qwen2.5-7b-instruct-q4_k_m.gguf --model-id qwen2.5-7b",
                                "ballast models push model.gguf --model-id my-model --quant Q4_K_M"},
                               [flags](Context& context) { return PushModel(*flags, context); });
  command->add_option("file", flags->file, "The file")->type_name("FILE");
  command->add_option("--model-id", flags->model_id, "What jobs call it")->type_name("MODEL");
  command->add_option("--quant", flags->quant, "Its level; by default what the file says")->type_name("LEVEL");
  command->add_option("--description", flags->description, "A line for people")->type_name("TEXT");
  AddOutputFlag(command, &flags->output);
  AddConnectionFlags(command, &flags->connection);
}

}  // namespace ballast::cli
