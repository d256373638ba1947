#include "coordinator/rpc/model_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_rules.h"
#include "common/rpc/channel.h"
#include "coordinator/report/model_history.h"
#include "coordinator/rpc/answer.h"

namespace ballast::coordinator {

grpc::Status ModelService::ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                                      v1::ListModelsResponse* reply) {
  if (grpc::Status refused = admission_->Admit(context, "ListModels"); !refused.ok()) return refused;
  absl::StatusOr<std::vector<v1::ModelEntry>> entries = library_->List(request->model_id());
  if (!entries.ok()) return rpc::ToGrpc(entries.status());
  for (v1::ModelEntry& entry : *entries) reply->add_entries()->Swap(&entry);
  return grpc::Status::OK;
}

grpc::Status ModelService::PushModel(grpc::ServerContext* context, PushStream* stream) {
  if (grpc::Status refused = admission_->Admit(context, "PushModel"); !refused.ok()) return refused;
  std::string model;
  grpc::Status answer = rpc::ToGrpc(Push(context, stream, &model));
  return audit_->Done(*context, {.action = "PushModel", .subject = model}, std::move(answer));
}

absl::Status ModelService::Push(grpc::ServerContext* context, PushStream* stream, std::string* model) {
  v1::PushModelRequest request;
  {
    const StallWatch::Call call = WatchCall(context);
    if (!stream->Read(&request) || !request.has_start()) {
      return absl::InvalidArgumentError("the first message of a push must be start");
    }
  }
  const v1::PushModelStart start = request.start();
  *model = fmt::format("{} {}", start.model_id(), start.quant());
  BALLAST_RETURN_IF_ERROR(config::Validate(start));
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<models::ModelStore::Push> push,
                           library_->store().Begin(start, stop_.get_token()));
  v1::PushModelResponse response;
  response.set_stored_bytes(push->stored_bytes());
  stream->Write(response);
  BALLAST_RETURN_IF_ERROR(TakePieces(context, stream, push.get()));
  BALLAST_RETURN_IF_ERROR(push->Finish());
  base::Log().info("model {} {} was pushed: {} bytes, SHA-256 {}", start.model_id(), start.quant(),
                   start.file().size_bytes(), start.file().sha256());
  BALLAST_ASSIGN_OR_RETURN(*response.mutable_entry(), library_->Get(start.model_id(), start.quant()));
  stream->Write(response);
  return absl::OkStatus();
}

absl::Status ModelService::TakePieces(grpc::ServerContext* context, PushStream* stream,
                                      models::ModelStore::Push* push) {
  StallWatch::Call call = WatchCall(context);
  v1::PushModelRequest request;
  while (!push->complete()) {
    if (stop_.stop_requested()) {
      return absl::UnavailableError("the coordinator is stopping; what came is kept, and the next push goes on there");
    }
    if (!stream->Read(&request)) {
      return absl::CancelledError(call.ended() ? "the push stood still and was ended" : "the push was broken off");
    }
    if (!request.has_piece()) return absl::InvalidArgumentError("after start, only pieces may follow");
    BALLAST_RETURN_IF_ERROR(push->Append(request.piece()));
    call.Moved();
  }
  return absl::OkStatus();
}

grpc::Status ModelService::RemoveModel(grpc::ServerContext* context, const v1::RemoveModelRequest* request,
                                       v1::ModelEntry* reply) {
  if (grpc::Status refused = admission_->Admit(context, "RemoveModel"); !refused.ok()) return refused;
  const std::string model = fmt::format("{} {}", request->model_id(), request->quant());
  return audit_->Done(*context, {.action = "RemoveModel", .subject = model}, Answer(Remove(*request), reply));
}

absl::StatusOr<v1::ModelEntry> ModelService::Remove(const v1::RemoveModelRequest& request) {
  // From the look at the jobs to the removal, no job that needs the file comes in between.
  const auto hold = library_->HoldJobs();
  BALLAST_ASSIGN_OR_RETURN(v1::ModelEntry entry, library_->Get(request.model_id(), request.quant()));
  if (entry.source() != "pushed") {
    return absl::FailedPreconditionError(fmt::format(
        "{} {} stands in the catalogue and was not pushed; take it out there", entry.model_id(), entry.quant()));
  }
  BALLAST_RETURN_IF_ERROR(CheckUnneeded(entry.sha256()));
  BALLAST_RETURN_IF_ERROR(library_->store().Remove(entry.model_id(), entry.quant()));
  base::Log().info("model {} {} was removed", entry.model_id(), entry.quant());
  return entry;
}

absl::Status ModelService::CheckUnneeded(const std::string& sha256) {
  v1::ListJobsRequest list;
  list.set_page_size(1000);
  list.add_states(v1::Job::QUEUED);
  list.add_states(v1::Job::RUNNING);
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const v1::ListJobsResponse page, store_->ListJobs(list));
    for (const v1::Job& job : page.jobs()) {
      for (const v1::ResolvedModel& model : job.models()) {
        if (model.file().sha256() != sha256) continue;
        return absl::FailedPreconditionError(
            fmt::format("job {} needs {} {} and has not ended; wait for it, or cancel it", job.job_id(),
                        model.model_id(), model.quant()));
      }
    }
    if (page.next_page_token().empty()) return absl::OkStatus();
    list.set_page_token(page.next_page_token());
  }
}

grpc::Status ModelService::AdviseModel(grpc::ServerContext* context, const v1::AdviseModelRequest* request,
                                       v1::ModelAdvice* reply) {
  if (grpc::Status refused = admission_->Admit(context, "AdviseModel"); !refused.ok()) return refused;
  // Without a name the library would describe every model there is, and the answer is a refusal in any case.
  absl::StatusOr<std::vector<v1::ModelEntry>> entries;
  if (!request->model_id().empty()) entries = library_->List(request->model_id());
  return Answer(report::BuildAdvice(*store_, *request, entries), reply);
}

}  // namespace ballast::coordinator
