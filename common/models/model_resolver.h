// From a level of the catalogue to what a device needs to know of its file.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/model.pb.h"
#include "common/models/digest_cache.h"

namespace ballast::models {

// Describes files and models that are made, and keeps digests of files, which are costly to find out. Thread-safe.
class ModelResolver {
 public:
  // `digests` is where the digests of files are kept (see DigestCache).
  explicit ModelResolver(std::filesystem::path digests) : digests_(std::move(digests)) {}

  // What the level's model holds; `path` is where its file lies, if it is one. FAILED_PRECONDITION where the file
  // cannot be used, with the reason; INVALID_ARGUMENT and NOT_FOUND where there is no such shape or level.
  [[nodiscard]] absl::StatusOr<v1::ModelDescription> Describe(const v1::CatalogueLevel& level,
                                                              const std::filesystem::path& path);

  // What a worker is told of the level. FAILED_PRECONDITION where it cannot be used, with the reason; ABORTED where the
  // digest of a file is not known by `deadline` (see DigestCache::Get).
  [[nodiscard]] absl::StatusOr<v1::ResolvedModel> Resolve(const v1::CatalogueModel& model,
                                                          const v1::CatalogueLevel& level,
                                                          const std::filesystem::path& path,
                                                          std::chrono::system_clock::time_point deadline);

  [[nodiscard]] DigestCache& digests() { return digests_; }

 private:
  DigestCache digests_;
};

}  // namespace ballast::models
