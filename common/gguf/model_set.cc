// A model of one file or of several: NAME-00001-of-0000N.gguf, as llama.cpp's gguf-split names them.
#include <algorithm>
#include <unordered_set>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/gguf/model_file.h"

namespace ballast::gguf {
namespace {

absl::StatusOr<ModelFile> ReadOne(const std::filesystem::path& path) {
  BALLAST_ASSIGN_OR_RETURN(FileByteSource source, FileByteSource::Open(path));
  absl::StatusOr<ModelFile> model = ParseModelFile(source);
  if (!model.ok()) return base::WithContext(model.status(), path.string());
  model->parts.front().path = path;
  return model;
}

std::string SuffixOf(std::uint64_t index, std::uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", index + 1, count);
}

absl::Status CheckPart(const ModelFile& part, const std::filesystem::path& path, std::uint64_t index,
                       std::uint64_t count) {
  if (part.Unsigned("split.count") == count && part.Unsigned("split.no") == index) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: it is not file {} of {}: it says split.no {}, split.count {}",
                                                path.string(), index + 1, count, part.Unsigned("split.no").value_or(0),
                                                part.Unsigned("split.count").value_or(0)));
}

// Adds the tensors of a further file.
absl::Status Append(ModelFile part, ModelFile* model, std::unordered_set<std::string>* names) {
  const std::string path = part.parts.front().path.string();
  const auto part_index = static_cast<std::uint32_t>(model->parts.size());
  if (model->tensors.size() + part.tensors.size() > kMaxTensors) {
    return absl::InvalidArgumentError(
        fmt::format("{}: the files have more than {} tensors together", path, kMaxTensors));
  }
  for (Tensor& tensor : part.tensors) {
    if (!names->insert(tensor.name).second) {
      return absl::InvalidArgumentError(
          fmt::format("{}: tensor {} stands in an earlier file of the set, too", path, base::Quoted(tensor.name)));
    }
    tensor.part_index = part_index;
    model->tensors.push_back(std::move(tensor));
  }
  model->parts.push_back(std::move(part.parts.front()));
  model->file_size_bytes += part.file_size_bytes;
  model->tensor_bytes += part.tensor_bytes;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelFile> ReadModelFile(const std::filesystem::path& path) {
  BALLAST_ASSIGN_OR_RETURN(ModelFile named, ReadOne(path));
  const std::uint64_t count = named.Unsigned("split.count").value_or(0);
  if (count <= 1) return named;
  const std::uint64_t named_index = named.Unsigned("split.no").value_or(0);
  if (count > kMaxParts || named_index >= count) {
    return absl::InvalidArgumentError(
        fmt::format("{}: it says that it is file {} of a set of {}; sets have at most {} files", path.string(),
                    named_index + 1, count, kMaxParts));
  }
  const std::string name = path.filename().string();
  const std::string suffix = SuffixOf(named_index, count);
  if (!name.ends_with(suffix)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: it is file {} of a set of {}; its name must end in {} for the others to be found",
                    path.string(), named_index + 1, count, suffix));
  }
  const std::string prefix = name.substr(0, name.size() - suffix.size());

  ModelFile model;
  std::unordered_set<std::string> names;
  for (std::uint64_t index = 0; index < count; ++index) {
    const std::filesystem::path part_path = path.parent_path() / (prefix + SuffixOf(index, count));
    absl::StatusOr<ModelFile> part = index == named_index ? named : ReadOne(part_path);
    if (absl::IsNotFound(part.status())) {
      return absl::NotFoundError(
          fmt::format("{}: file {} of {} of the model is missing", part_path.string(), index + 1, count));
    }
    BALLAST_RETURN_IF_ERROR(part.status());
    BALLAST_RETURN_IF_ERROR(CheckPart(*part, part_path, index, count));
    if (index == 0) {
      model.version = part->version;
      model.alignment_bytes = part->alignment_bytes;
      model.key_values = std::move(part->key_values);
    }
    BALLAST_RETURN_IF_ERROR(Append(*std::move(part), &model, &names));
  }
  if (const auto expected = model.Unsigned("split.tensors.count"); expected && *expected != model.tensors.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: the set should have {} tensors and has {}", path.string(), *expected, model.tensors.size()));
  }
  return model;
}

}  // namespace ballast::gguf
