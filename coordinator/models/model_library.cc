#include "coordinator/models/model_library.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/models/catalogue.h"

namespace ballast::models {
namespace {

constexpr char kDigestsFile[] = "digests";

}  // namespace

absl::StatusOr<std::unique_ptr<ModelLibrary>> ModelLibrary::Open(const std::filesystem::path& directory,
                                                                 const std::filesystem::path& catalogue) {
  BALLAST_ASSIGN_OR_RETURN(v1::ModelCatalogue loaded, LoadCatalogue(catalogue));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<ModelStore> store,
                           ModelStore::Open({.directory = std::filesystem::absolute(directory)}));
  return std::unique_ptr<ModelLibrary>(new ModelLibrary(std::move(loaded), std::move(store), directory / kDigestsFile));
}

v1::ModelCatalogue ModelLibrary::Current() const {
  v1::ModelCatalogue current = catalogue_;
  Overlay(store_->pushed(), &current);
  return current;
}

std::filesystem::path ModelLibrary::PathOf(const v1::ModelFile& file) const {
  return file.path().empty() ? store_->PathOf(file.sha256()) : std::filesystem::path(file.path());
}

v1::ModelEntry ModelLibrary::Entry(const v1::CatalogueModel& model, const v1::CatalogueLevel& level) {
  v1::ModelEntry entry;
  entry.set_model_id(model.model_id());
  entry.set_quant(level.quant());
  entry.set_description(model.description());
  if (level.has_synthetic()) {
    entry.set_source("synthetic");
  } else {
    entry.set_source(level.file().path().empty() ? "pushed" : "file");
    entry.set_path(PathOf(level.file()).string());
    entry.set_sha256(level.file().sha256());
  }
  absl::StatusOr<v1::ModelDescription> description = resolver_.Describe(level, entry.path());
  if (description.ok()) {
    *entry.mutable_model() = *std::move(description);
  } else {
    entry.set_problem(std::string(description.status().message()));
  }
  return entry;
}

absl::StatusOr<std::vector<v1::ModelEntry>> ModelLibrary::List(const std::string& model_id) {
  const v1::ModelCatalogue current = Current();
  if (!model_id.empty()) BALLAST_RETURN_IF_ERROR(GetModel(current, model_id).status());
  std::vector<v1::ModelEntry> entries;
  for (const v1::CatalogueModel& model : current.models()) {
    if (!model_id.empty() && model.model_id() != model_id) continue;
    for (const v1::CatalogueLevel& level : model.levels()) entries.push_back(Entry(model, level));
  }
  std::ranges::stable_sort(entries, [](const v1::ModelEntry& a, const v1::ModelEntry& b) {
    return std::tuple(std::string_view(a.model_id()), a.model().weight_bytes()) <
           std::tuple(std::string_view(b.model_id()), b.model().weight_bytes());
  });
  return entries;
}

absl::StatusOr<v1::ModelEntry> ModelLibrary::Get(const std::string& model_id, const std::string& quant) {
  const v1::ModelCatalogue current = Current();
  BALLAST_ASSIGN_OR_RETURN(const v1::CatalogueModel* const model, GetModel(current, model_id));
  BALLAST_ASSIGN_OR_RETURN(const v1::CatalogueLevel* const level, GetLevel(*model, quant));
  return Entry(*model, *level);
}

absl::StatusOr<v1::CatalogueModel> ModelLibrary::FindModel(const std::string& model_id) const {
  const v1::ModelCatalogue current = Current();
  BALLAST_ASSIGN_OR_RETURN(const v1::CatalogueModel* const model, GetModel(current, model_id));
  return *model;
}

absl::StatusOr<v1::ResolvedModel> ModelLibrary::Resolve(const v1::CatalogueModel& model,
                                                        const v1::CatalogueLevel& level,
                                                        std::chrono::system_clock::time_point deadline) {
  return resolver_.Resolve(model, level, PathOf(level.file()), deadline);
}

absl::StatusOr<ServedFile> ModelLibrary::OpenFile(const std::string& sha256) {
  if (!base::IsSha256(sha256)) {  // it becomes part of a path
    return absl::InvalidArgumentError(
        fmt::format("{} is not a SHA-256 in lower-case hexadecimal digits", base::Quoted(sha256)));
  }
  ServedFile served;
  served.path = store_->PathOf(sha256);
  absl::StatusOr<base::Fd> fd = base::OpenFile(served.path, O_RDONLY);
  if (absl::IsNotFound(fd.status())) {
    const absl::StatusOr<v1::FileDigest> digest = resolver_.digests().Find(sha256);
    if (absl::IsNotFound(digest.status())) {
      return absl::NotFoundError(
          fmt::format("the coordinator has no model file with the SHA-256 {} any more; submit the "
                      "job again once it has",
                      sha256));
    }
    BALLAST_RETURN_IF_ERROR(digest.status());
    served.path = digest->path();
    fd = base::OpenFile(served.path, O_RDONLY);
  }
  BALLAST_RETURN_IF_ERROR(fd.status());
  served.fd = *std::move(fd);
  struct stat info {};
  if (::fstat(served.fd.get(), &info) != 0) {
    return base::ErrnoStatus(errno, fmt::format("look at {}", served.path.string()));
  }
  served.size_bytes = static_cast<std::uint64_t>(info.st_size);
  return served;
}

}  // namespace ballast::models
