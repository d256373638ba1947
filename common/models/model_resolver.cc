#include "common/models/model_resolver.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/gguf/model_description.h"
#include "common/gguf/model_file.h"
#include "common/gguf/synthetic_model.h"

namespace ballast::models {
namespace {

absl::StatusOr<v1::ModelDescription> DescribeFile(const v1::ModelFile& file, const std::filesystem::path& path) {
  const absl::StatusOr<gguf::ModelFile> read = gguf::ReadModelFile(path);
  if (absl::IsNotFound(read.status()) && file.path().empty()) {
    return absl::FailedPreconditionError(
        fmt::format("no file with the SHA-256 {} was pushed; ballast models push does that", file.sha256()));
  }
  if (!read.ok()) return absl::FailedPreconditionError(std::string(read.status().message()));
  if (read->parts.size() > 1) {
    return absl::FailedPreconditionError(
        fmt::format("{} is a model in {} files; join them (llama-gguf-split --merge) and name the result",
                    path.string(), read->parts.size()));
  }
  if (file.size_bytes() != 0 && file.size_bytes() != read->file_size_bytes) {
    return absl::FailedPreconditionError(fmt::format("{} has {} bytes, and the catalogue says {}", path.string(),
                                                     read->file_size_bytes, file.size_bytes()));
  }
  return gguf::DescribeModel(*read);
}

absl::StatusOr<v1::ModelDescription> DescribeSynthetic(const v1::SyntheticModel& synthetic, const std::string& quant) {
  BALLAST_ASSIGN_OR_RETURN(const gguf::ModelShape shape, gguf::FindShape(synthetic.shape()));
  BALLAST_ASSIGN_OR_RETURN(const gguf::QuantLevel level, gguf::FindQuantLevel(quant));
  return gguf::DescribeSyntheticModel(shape, level);
}

}  // namespace

absl::StatusOr<v1::ModelDescription> ModelResolver::Describe(const v1::CatalogueLevel& level,
                                                             const std::filesystem::path& path) {
  if (level.has_synthetic()) return DescribeSynthetic(level.synthetic(), level.quant());
  return DescribeFile(level.file(), path);
}

absl::StatusOr<v1::ResolvedModel> ModelResolver::Resolve(const v1::CatalogueModel& model,
                                                         const v1::CatalogueLevel& level,
                                                         const std::filesystem::path& path,
                                                         std::chrono::system_clock::time_point deadline) {
  const auto unusable = [&](const absl::Status& status) {
    return absl::FailedPreconditionError(
        fmt::format("model {} {}: {}", model.model_id(), level.quant(), std::string(status.message())));
  };
  v1::ResolvedModel resolved;
  resolved.set_model_id(model.model_id());
  resolved.set_quant(level.quant());
  absl::StatusOr<v1::ModelDescription> description = Describe(level, path);
  if (!description.ok()) return unusable(description.status());
  *resolved.mutable_description() = *std::move(description);
  if (level.has_synthetic()) {
    *resolved.mutable_synthetic() = level.synthetic();
    return resolved;
  }
  std::string sha256 = level.file().sha256();
  if (!level.file().path().empty()) {
    const absl::StatusOr<v1::FileDigest> digest = digests_.Get(path, deadline);
    if (absl::IsAborted(digest.status())) return digest.status();
    if (!digest.ok()) return unusable(digest.status());
    if (!sha256.empty() && sha256 != digest->sha256()) {
      return unusable(absl::DataLossError(
          fmt::format("{} has the SHA-256 {}, and the catalogue says {}", path.string(), digest->sha256(), sha256)));
    }
    sha256 = digest->sha256();
  }
  resolved.mutable_file()->set_sha256(sha256);
  resolved.mutable_file()->set_size_bytes(resolved.description().file_bytes());
  return resolved;
}

}  // namespace ballast::models
