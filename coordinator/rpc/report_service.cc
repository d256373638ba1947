#include "coordinator/rpc/report_service.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/base/status.h"
#include "common/render/json.h"
#include "common/rpc/channel.h"
#include "coordinator/report/report.h"
#include "coordinator/rpc/answer.h"

namespace ballast::coordinator {
namespace {

// Far below the largest message, so that a long report never needs one.
constexpr std::size_t kPieceBytes = 256U << 10U;

absl::StatusOr<std::string> Print(storage::Store& store, const v1::ExportReportRequest& request,
                                  const base::Clock& clock) {
  report::ReportOptions options;
  if (request.max_samples_per_run() != 0) options.max_samples_per_run = request.max_samples_per_run();
  switch (request.format()) {
    case v1::ExportReportRequest::JSON: {
      options.include_samples = !request.omit_samples();
      BALLAST_ASSIGN_OR_RETURN(const v1::Report report, report::BuildReport(store, request.scope(), options, clock));
      return render::ToJson(report) + "\n";
    }
    case v1::ExportReportRequest::CSV:
    case v1::ExportReportRequest::CSV_LOADS:
    case v1::ExportReportRequest::CSV_COMMANDS: {
      BALLAST_ASSIGN_OR_RETURN(const v1::Report report, report::BuildReport(store, request.scope(), options, clock));
      if (request.format() == v1::ExportReportRequest::CSV_LOADS) return report::LoadsToCsv(report);
      if (request.format() == v1::ExportReportRequest::CSV_COMMANDS) return report::CommandsToCsv(report);
      return report::ReportToCsv(report);
    }
    default:
      return absl::InvalidArgumentError(
          "unknown report format; this coordinator has JSON, CSV, CSV_LOADS and CSV_COMMANDS");
  }
}

}  // namespace

grpc::Status ReportService::GetReport(grpc::ServerContext* context, const v1::GetReportRequest* request,
                                      v1::Report* response) {
  if (grpc::Status refused = admission_->Admit(context, "GetReport"); !refused.ok()) return refused;
  return Answer(report::BuildReport(store_, *request, report::ReportOptions(), clock_), response);
}

grpc::Status ReportService::ExportReport(grpc::ServerContext* context, const v1::ExportReportRequest* request,
                                         grpc::ServerWriter<v1::ExportPiece>* writer) {
  if (grpc::Status refused = admission_->Admit(context, "ExportReport"); !refused.ok()) return refused;
  const absl::StatusOr<std::string> text = Print(store_, *request, clock_);
  if (!text.ok()) return rpc::ToGrpc(text.status());
  v1::ExportPiece piece;
  for (std::size_t begin = 0; begin < text->size(); begin += kPieceBytes) {
    piece.set_content(text->substr(begin, std::min(kPieceBytes, text->size() - begin)));
    if (!writer->Write(piece)) return {grpc::StatusCode::CANCELLED, "the reader has gone"};
  }
  return grpc::Status::OK;
}

grpc::Status ReportService::CompareRuns(grpc::ServerContext* context, const v1::CompareRunsRequest* request,
                                        v1::Comparison* response) {
  if (grpc::Status refused = admission_->Admit(context, "CompareRuns"); !refused.ok()) return refused;
  return Answer(report::BuildComparison(store_, *request, clock_), response);
}

}  // namespace ballast::coordinator
