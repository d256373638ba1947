// The models that an embedding program can name.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/model.pb.h"
#include "common/models/model_resolver.h"
#include "worker/agent/model_fetcher.h"

namespace ballast::memory {

// The catalogue of this machine: its files are used where they lie. Thread-safe.
class LocalModels final : public agent::ModelFetcher {
 public:
  // `catalogue` is the user's (empty for none); `digests` is where digests of its files are kept (empty for nowhere).
  // Codes of LoadCatalogue.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<LocalModels>> Open(const std::filesystem::path& catalogue,
                                                                         const std::filesystem::path& digests);

  // The identifier of the catalogue's first model.
  [[nodiscard]] const std::string& first_model_id() const { return catalogue_.models(0).model_id(); }

  // What a run is told of a level; the model's first where `quant` is empty. Reads a file whose digest is not known,
  // which takes seconds a gigabyte. NOT_FOUND with the nearest names; codes of ModelResolver::Resolve.
  [[nodiscard]] absl::StatusOr<v1::ResolvedModel> Resolve(const std::string& model_id, const std::string& quant);

  // All levels of a model: what each holds, or why that is not known. NOT_FOUND with the nearest identifiers.
  struct DescribedLevel {
    std::string quant;
    absl::StatusOr<v1::ModelDescription> description;
  };
  [[nodiscard]] absl::StatusOr<std::vector<DescribedLevel>> DescribeLevels(const std::string& model_id);

  // Of ModelFetcher: there is nothing to fetch, only files on this machine.
  [[nodiscard]] bool same_machine() const override { return true; }
  [[nodiscard]] absl::Status Fetch(const v1::FetchModelRequest& request,
                                   const std::function<absl::Status(const v1::FilePiece&)>& visit,
                                   std::chrono::steady_clock::time_point deadline,
                                   const std::stop_token& stop) override;

 private:
  LocalModels(v1::ModelCatalogue catalogue, const std::filesystem::path& digests)
      : catalogue_(std::move(catalogue)), resolver_(digests) {}

  const v1::ModelCatalogue catalogue_;
  models::ModelResolver resolver_;
};

}  // namespace ballast::memory
