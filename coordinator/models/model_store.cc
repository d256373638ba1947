#include "coordinator/models/model_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/config/yaml.h"
#include "common/gguf/model_file.h"
#include "common/models/catalogue.h"

namespace ballast::models {
namespace {

constexpr std::string_view kIndexFile = "pushed.yaml";
constexpr std::string_view kSuffix = ".gguf";
constexpr std::size_t kDigestLength = 64;

// Whether an entry names the file.
bool IsNamed(const v1::ModelCatalogue& catalogue, std::string_view sha256) {
  for (const v1::CatalogueModel& model : catalogue.models()) {
    for (const v1::CatalogueLevel& level : model.levels()) {
      if (level.file().sha256() == sha256) return true;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelStore>> ModelStore::Open(ModelStoreOptions options) {
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(options.directory, base::kPrivateDirectoryMode));
  std::unique_ptr<ModelStore> store(new ModelStore(std::move(options)));
  const std::filesystem::path index = store->options_.directory / kIndexFile;
  const absl::Status read = config::ReadYamlFile(index, &store->pushed_);
  if (absl::IsInvalidArgument(read)) {
    return absl::DataLossError(fmt::format("{}\nmend {}, or remove it: what was pushed has to be pushed again then",
                                           std::string(read.message()), index.string()));
  }
  if (!read.ok() && !absl::IsNotFound(read)) return read;
  store->RemoveUnused();
  return store;
}

void ModelStore::RemoveUnused() {
  std::error_code error;
  const auto oldest = std::filesystem::file_time_type::clock::now() - options_.keep_unused;
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory, error)) {
    const std::string name = entry.path().filename().string();
    if (name.size() < kDigestLength || !base::IsSha256(name.substr(0, kDigestLength))) continue;
    if (IsNamed(pushed_, name.substr(0, kDigestLength)) && name.ends_with(kSuffix)) continue;
    if (entry.last_write_time(error) > oldest || error) continue;
    base::Log().info("{} belongs to no model and was not touched for long: removed", entry.path().string());
    std::filesystem::remove(entry.path(), error);
  }
}

std::filesystem::path ModelStore::PathOf(const std::string& sha256) const {
  return options_.directory / fmt::format("{}{}", sha256, kSuffix);
}

v1::ModelCatalogue ModelStore::pushed() const {
  const std::lock_guard lock(mutex_);
  return pushed_;
}

absl::StatusOr<std::unique_ptr<ModelStore::Push>> ModelStore::Begin(v1::PushModelStart start,
                                                                    const std::stop_token& stop) {
  const v1::ModelFile& file = start.file();
  if (file.size_bytes() == 0 || !base::IsSha256(file.sha256())) {
    return absl::InvalidArgumentError("a push announces the file's size and its SHA-256");
  }
  const std::string sha256 = file.sha256();
  {
    const std::lock_guard lock(mutex_);
    if (!being_pushed_.insert(sha256).second) {
      return absl::AbortedError("the same file is being pushed by somebody else; wait until that has ended");
    }
  }
  const base::PartialFileOptions options{.path = PathOf(sha256),
                                         .size_bytes = file.size_bytes(),
                                         .sha256 = sha256,
                                         .reserve_bytes = options_.reserve_bytes};
  std::unique_ptr<Push> push(new Push(this, std::move(start)));  // from here on it says that the push is over
  struct stat info {};
  if (::stat(options.path.c_str(), &info) == 0 && static_cast<std::uint64_t>(info.st_size) == options.size_bytes) {
    return push;
  }
  BALLAST_ASSIGN_OR_RETURN(push->file_, base::PartialFile::Open(options, stop));
  return push;
}

ModelStore::Push::~Push() {
  const std::lock_guard lock(store_->mutex_);
  store_->being_pushed_.erase(start_.file().sha256());
}

std::uint64_t ModelStore::Push::stored_bytes() const {
  return file_ ? file_->size_bytes() : start_.file().size_bytes();
}

bool ModelStore::Push::complete() const {
  return !file_ || file_->complete();
}

absl::Status ModelStore::Push::Append(const v1::FilePiece& piece) {
  if (piece.offset_bytes() != stored_bytes()) {
    return absl::InvalidArgumentError(
        fmt::format("a piece for byte {} came where byte {} follows", piece.offset_bytes(), stored_bytes()));
  }
  return file_ ? file_->Append(piece.content()) : absl::OkStatus();
}

absl::Status ModelStore::Push::Finish() {
  if (file_) {
    absl::Status status = file_->Verify();
    if (status.ok()) {
      status = gguf::ReadModelFile(file_->partial_path()).status();
    }
    if (absl::IsDataLoss(status) || absl::IsInvalidArgument(status)) {
      file_->Discard();
      return absl::InvalidArgumentError(fmt::format("the file is refused: {}", std::string(status.message())));
    }
    BALLAST_RETURN_IF_ERROR(status);
    BALLAST_RETURN_IF_ERROR(file_->Commit());
  }
  return store_->Enter(start_);
}

absl::Status ModelStore::Enter(const v1::PushModelStart& start) {
  v1::ModelCatalogue entry;
  v1::CatalogueModel* const model = entry.add_models();
  model->set_model_id(start.model_id());
  model->set_description(start.description());
  v1::CatalogueLevel* const level = model->add_levels();
  level->set_quant(start.quant());
  level->mutable_file()->set_size_bytes(start.file().size_bytes());
  level->mutable_file()->set_sha256(start.file().sha256());

  const std::lock_guard lock(mutex_);
  std::string replaced;
  if (const v1::CatalogueModel* known = FindModel(pushed_, start.model_id())) {
    if (const v1::CatalogueLevel* old = FindLevel(*known, start.quant())) replaced = old->file().sha256();
  }
  v1::ModelCatalogue next = pushed_;
  Overlay(entry, &next);
  BALLAST_RETURN_IF_ERROR(Keep(std::move(next)));
  // What was there before may be needed by a job that is going on; from now on it counts as unused.
  std::error_code ignored;
  if (!replaced.empty() && !IsNamed(pushed_, replaced)) {
    std::filesystem::last_write_time(PathOf(replaced), std::filesystem::file_time_type::clock::now(), ignored);
  }
  return absl::OkStatus();
}

absl::Status ModelStore::Remove(const std::string& model_id, const std::string& quant) {
  const std::lock_guard lock(mutex_);
  v1::ModelCatalogue next;
  std::string sha256;
  for (const v1::CatalogueModel& model : pushed_.models()) {
    v1::CatalogueModel kept = model;
    if (model.model_id() == model_id) {
      kept.clear_levels();
      for (const v1::CatalogueLevel& level : model.levels()) {
        if (FindLevel(model, quant) == &level) {
          sha256 = level.file().sha256();
        } else {
          *kept.add_levels() = level;
        }
      }
    }
    if (kept.levels_size() > 0) next.add_models()->Swap(&kept);
  }
  if (sha256.empty()) return absl::NotFoundError(fmt::format("{} {} was not pushed", model_id, quant));
  BALLAST_RETURN_IF_ERROR(Keep(std::move(next)));
  std::error_code ignored;
  if (!IsNamed(pushed_, sha256)) std::filesystem::remove(PathOf(sha256), ignored);
  return absl::OkStatus();
}

absl::Status ModelStore::Keep(v1::ModelCatalogue next) {
  BALLAST_RETURN_IF_ERROR(base::WriteFileAtomically(options_.directory / kIndexFile, config::WriteYaml(next)));
  pushed_ = std::move(next);
  return absl::OkStatus();
}

}  // namespace ballast::models
