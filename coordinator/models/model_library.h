// All models that jobs can name: the catalogue and what was pushed, with what is known of their files.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/model.pb.h"
#include "common/base/fd.h"
#include "common/models/model_resolver.h"
#include "coordinator/models/model_store.h"

namespace ballast::models {

// A file that a worker may have.
struct ServedFile {
  base::Fd fd;
  std::filesystem::path path;  // absolute
  std::uint64_t size_bytes = 0;
};

// Thread-safe.
class ModelLibrary {
 public:
  // `directory` holds what was pushed, and the digests of files that the catalogue names; `catalogue` is the user's
  // (empty for none). Codes of LoadCatalogue and ModelStore::Open.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ModelLibrary>> Open(const std::filesystem::path& directory,
                                                                          const std::filesystem::path& catalogue);

  // One entry a level, ordered by model, then by size; of one model where `model_id` is not empty. Reads the headers of
  // files. NOT_FOUND with the nearest names.
  [[nodiscard]] absl::StatusOr<std::vector<v1::ModelEntry>> List(const std::string& model_id);

  // One level of one model. NOT_FOUND with the nearest names.
  [[nodiscard]] absl::StatusOr<v1::ModelEntry> Get(const std::string& model_id, const std::string& quant);

  // The model of a catalogue, as it stands now. NOT_FOUND with the nearest names.
  [[nodiscard]] absl::StatusOr<v1::CatalogueModel> FindModel(const std::string& model_id) const;

  // What a worker is told of one level. FAILED_PRECONDITION where it cannot be used, with the reason; ABORTED where its
  // digest is not known by `deadline` (see DigestCache::Get).
  [[nodiscard]] absl::StatusOr<v1::ResolvedModel> Resolve(const v1::CatalogueModel& model,
                                                          const v1::CatalogueLevel& level,
                                                          std::chrono::system_clock::time_point deadline);

  // Opens a file that Resolve gave the digest of. INVALID_ARGUMENT for what is no digest, NOT_FOUND, DATA_LOSS where it
  // is not what it was.
  [[nodiscard]] absl::StatusOr<ServedFile> OpenFile(const std::string& sha256);

  // Nothing is removed while such a lock is held: from the resolution of a job until it is stored.
  [[nodiscard]] std::shared_lock<std::shared_mutex> KeepAll() { return std::shared_lock(removal_mutex_); }
  // And while this one is held, no job is accepted that names models.
  [[nodiscard]] std::unique_lock<std::shared_mutex> HoldJobs() { return std::unique_lock(removal_mutex_); }

  [[nodiscard]] ModelStore& store() { return *store_; }

 private:
  ModelLibrary(v1::ModelCatalogue catalogue, std::unique_ptr<ModelStore> store, std::filesystem::path digests)
      : catalogue_(std::move(catalogue)), store_(std::move(store)), resolver_(std::move(digests)) {}

  // The catalogue with what was pushed in it.
  [[nodiscard]] v1::ModelCatalogue Current() const;
  [[nodiscard]] v1::ModelEntry Entry(const v1::CatalogueModel& model, const v1::CatalogueLevel& level);
  [[nodiscard]] std::filesystem::path PathOf(const v1::ModelFile& file) const;

  const v1::ModelCatalogue catalogue_;
  const std::unique_ptr<ModelStore> store_;
  ModelResolver resolver_;
  std::shared_mutex removal_mutex_;
};

}  // namespace ballast::models
