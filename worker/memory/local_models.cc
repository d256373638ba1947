#include "worker/memory/local_models.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/models/catalogue.h"

namespace ballast::memory {
namespace {

// Of a file of any size.
constexpr std::chrono::hours kDigestTime(1);

}  // namespace

absl::StatusOr<std::unique_ptr<LocalModels>> LocalModels::Open(const std::filesystem::path& catalogue,
                                                               const std::filesystem::path& digests) {
  BALLAST_ASSIGN_OR_RETURN(v1::ModelCatalogue loaded, models::LoadCatalogue(catalogue));
  return std::unique_ptr<LocalModels>(new LocalModels(std::move(loaded), digests));
}

absl::StatusOr<v1::ResolvedModel> LocalModels::Resolve(const std::string& model_id, const std::string& quant) {
  BALLAST_ASSIGN_OR_RETURN(const v1::CatalogueModel* const model, models::GetModel(catalogue_, model_id));
  BALLAST_ASSIGN_OR_RETURN(const v1::CatalogueLevel* const level,
                           models::GetLevel(*model, quant.empty() ? model->levels(0).quant() : quant));
  return resolver_.Resolve(*model, *level, level->file().path(), std::chrono::system_clock::now() + kDigestTime);
}

absl::StatusOr<std::vector<LocalModels::DescribedLevel>> LocalModels::DescribeLevels(const std::string& model_id) {
  BALLAST_ASSIGN_OR_RETURN(const v1::CatalogueModel* const model, models::GetModel(catalogue_, model_id));
  std::vector<DescribedLevel> levels;
  for (const v1::CatalogueLevel& level : model->levels()) {
    levels.push_back({level.quant(), resolver_.Describe(level, level.file().path())});
  }
  return levels;
}

absl::Status LocalModels::Fetch(const v1::FetchModelRequest& request,
                                const std::function<absl::Status(const v1::FilePiece&)>& visit,
                                std::chrono::steady_clock::time_point /*deadline*/, const std::stop_token& /*stop*/) {
  BALLAST_ASSIGN_OR_RETURN(const v1::FileDigest digest, resolver_.digests().Find(request.sha256()));
  if (!request.accept_local_path()) {
    return absl::FailedPreconditionError(fmt::format("{} is another file by now", digest.path()));
  }
  v1::FilePiece piece;
  piece.set_local_path(digest.path());
  return visit(piece);
}

}  // namespace ballast::memory
