#include "cli/render/model_fields.h"

#include <map>

#include <fmt/format.h>

#include "cli/render/text_value.h"
#include "cli/render/text_width.h"
#include "common/base/units.h"
#include "common/gguf/tensor_type.h"

namespace ballast::cli {
namespace {

constexpr int kNameColumns = 18;

// A column that is a size for people and a number of bytes for programs.
template <typename Item, typename Get>
Field<Item> BytesField(const char* name, const char* heading, Get get) {
  return {name, heading, Align::kRight, [get](const Item& item) { return base::FormatBytes(get(item)); },
          [get](const Item& item) { return std::to_string(get(item)); }};
}

std::string BitsPerWeight(const v1::ModelDescription& model) {
  if (model.parameter_count() == 0) return {};
  return fmt::format("{:.2f}",
                     8 * static_cast<double>(model.weight_bytes()) / static_cast<double>(model.parameter_count()));
}

std::string Dimensions(const v1::TensorDescription& tensor) {
  return fmt::format("{}", fmt::join(tensor.dimensions(), " x "));
}

// A file's `general.file_type` may be one that is no level here.
std::string LevelText(const v1::ModelDescription& model) {
  return model.quant().empty() ? "-" : model.quant();
}

void AddLine(const std::string& name, const std::string& value, std::string* text) {
  if (!value.empty()) *text += fmt::format("{:<{}} {}\n", name + ":", kNameColumns, Printable(value));
}

std::string SizeText(std::uint64_t bytes) {
  return fmt::format("{} ({} bytes)", base::FormatBytes(bytes), bytes);
}

void AddShape(const v1::ModelDescription& model, std::string* text) {
  if (model.layer_count() == 0) return;
  AddLine("layers", std::to_string(model.layer_count()), text);
  AddLine("embedding", std::to_string(model.embedding_length()), text);
  AddLine("feed-forward", std::to_string(model.feed_forward_length()), text);
  AddLine("heads",
          fmt::format("{} of length {}, {} with keys and values of their own", model.head_count(), model.head_length(),
                      model.kv_head_count()),
          text);
  AddLine("vocabulary", std::to_string(model.vocabulary_size()), text);
  AddLine("context", fmt::format("{} tokens", model.context_length()), text);
}

std::string TypeTable(const gguf::ModelFile& file, std::optional<std::size_t> max_columns) {
  struct Share {
    std::uint64_t tensors = 0;
    std::uint64_t bytes = 0;
  };
  std::map<gguf::TensorType, Share> shares;
  for (const gguf::Tensor& tensor : file.tensors) {
    ++shares[tensor.type].tensors;
    shares[tensor.type].bytes += tensor.size_bytes;
  }
  Table table({{"TYPE"}, {"TENSORS", Align::kRight}, {"SIZE", Align::kRight}, {"SHARE", Align::kRight}});
  for (const auto& [type, share] : shares) {
    table.AddRow({std::string(gguf::InfoOf(type).name), std::to_string(share.tensors), base::FormatBytes(share.bytes),
                  Percent(100 * static_cast<double>(share.bytes) / static_cast<double>(file.tensor_bytes))});
  }
  return table.empty() ? "" : "\n" + table.Format(max_columns);
}

std::string KeyTable(const v1::ModelInspection& inspection, std::optional<std::size_t> max_columns) {
  Table table({{"KEY"}, {"TYPE"}, {"VALUE"}});
  for (const v1::ModelKey& key : inspection.keys()) table.AddRow({key.key(), key.type(), key.value()});
  return table.empty() ? "" : "\n" + table.Format(max_columns);
}

}  // namespace

std::vector<Field<v1::ModelDescription>> ModelFields() {
  using Model = v1::ModelDescription;
  return {
      {"name", "NAME", Align::kLeft, [](const Model& m) { return m.name(); }},
      {"quant", "LEVEL", Align::kLeft, LevelText, [](const Model& m) { return m.quant(); }},
      BytesField<Model>("file_bytes", "FILE", [](const Model& m) { return m.file_bytes(); }),
      {"weight_bytes", "WEIGHT BYTES", Align::kRight, [](const Model& m) { return std::to_string(m.weight_bytes()); }},
      {"bits_per_weight", "BITS/WEIGHT", Align::kRight, BitsPerWeight},
      {"parameter_count", "PARAMETERS", Align::kRight,
       [](const Model& m) { return std::to_string(m.parameter_count()); }},
      {"tensor_count", "TENSORS", Align::kRight, [](const Model& m) { return std::to_string(m.tensor_count()); }},
      {"architecture", "", Align::kLeft, [](const Model& m) { return m.architecture(); }},
      {"layer_count", "", Align::kRight, [](const Model& m) { return std::to_string(m.layer_count()); }},
      {"embedding_length", "", Align::kRight, [](const Model& m) { return std::to_string(m.embedding_length()); }},
      {"feed_forward_length", "", Align::kRight,
       [](const Model& m) { return std::to_string(m.feed_forward_length()); }},
      {"head_count", "", Align::kRight, [](const Model& m) { return std::to_string(m.head_count()); }},
      {"kv_head_count", "", Align::kRight, [](const Model& m) { return std::to_string(m.kv_head_count()); }},
      {"head_length", "", Align::kRight, [](const Model& m) { return std::to_string(m.head_length()); }},
      {"vocabulary_size", "", Align::kRight, [](const Model& m) { return std::to_string(m.vocabulary_size()); }},
      {"context_length", "", Align::kRight, [](const Model& m) { return std::to_string(m.context_length()); }},
      {"repackable_bytes", "", Align::kRight, [](const Model& m) { return std::to_string(m.repackable_bytes()); }},
      {"shard_count", "", Align::kRight, [](const Model& m) { return std::to_string(m.shard_count()); }},
  };
}

std::vector<Field<v1::TensorDescription>> TensorFields() {
  using Tensor = v1::TensorDescription;
  return {
      {"name", "TENSOR", Align::kLeft, [](const Tensor& t) { return t.name(); }},
      {"type", "TYPE", Align::kLeft, [](const Tensor& t) { return t.type(); }},
      {"dimensions", "DIMENSIONS", Align::kRight, Dimensions,
       [](const Tensor& t) { return fmt::format("{}", fmt::join(t.dimensions(), "x")); }},
      BytesField<Tensor>("size_bytes", "SIZE", [](const Tensor& t) { return t.size_bytes(); }),
      {"offset_bytes", "OFFSET", Align::kRight, [](const Tensor& t) { return std::to_string(t.offset_bytes()); }},
      {"shard", "", Align::kRight, [](const Tensor& t) { return std::to_string(t.shard()); }},
  };
}

std::vector<Field<v1::LoadEstimate>> EstimateFields() {
  using Entry = v1::LoadEstimate;
  return {
      {"name", "", Align::kLeft, [](const Entry& e) { return e.model().name(); }},
      {"quant", "LEVEL", Align::kLeft, [](const Entry& e) { return LevelText(e.model()); },
       [](const Entry& e) { return e.model().quant(); }},
      {"runtime", "", Align::kLeft, [](const Entry& e) { return v1::ModelLoad::Runtime_Name(e.load().runtime()); }},
      {"loader", "", Align::kLeft, [](const Entry& e) { return v1::ModelLoad::Loader_Name(e.load().loader()); }},
      {"lock", "", Align::kLeft, [](const Entry& e) { return std::string(e.load().lock() ? "true" : "false"); }},
      {"no_repack", "", Align::kLeft,
       [](const Entry& e) { return std::string(e.load().no_repack() ? "true" : "false"); }},
      {"context_tokens", "", Align::kRight, [](const Entry& e) { return std::to_string(e.load().context_tokens()); }},
      BytesField<Entry>("file_bytes", "FILE", [](const Entry& e) { return e.model().file_bytes(); }),
      BytesField<Entry>("weight_anon_bytes", "ANONYMOUS",
                        [](const Entry& e) { return e.estimate().weight_anon_bytes(); }),
      BytesField<Entry>("weight_file_bytes", "MAPPED", [](const Entry& e) { return e.estimate().weight_file_bytes(); }),
      BytesField<Entry>("kv_cache_bytes", "KV CACHE", [](const Entry& e) { return e.estimate().kv_cache_bytes(); }),
      BytesField<Entry>("compute_bytes", "COMPUTE", [](const Entry& e) { return e.estimate().compute_bytes(); }),
      BytesField<Entry>("overhead_bytes", "PROCESS", [](const Entry& e) { return e.estimate().overhead_bytes(); }),
      BytesField<Entry>("required_bytes", "MUST FIT", [](const Entry& e) { return e.estimate().required_bytes(); }),
      BytesField<Entry>("resident_bytes", "WITH ROOM", [](const Entry& e) { return e.estimate().resident_bytes(); }),
  };
}

std::string ModelDetails(const v1::ModelInspection& inspection, const gguf::ModelFile& file,
                         std::optional<std::size_t> max_columns) {
  const v1::ModelDescription& model = inspection.model();
  std::string text;
  AddLine("file", inspection.path(), &text);
  if (file.parts.size() > 1) AddLine("files", std::to_string(file.parts.size()), &text);
  AddLine("format", fmt::format("GGUF {}", inspection.format_version()), &text);
  AddLine("architecture", model.architecture(), &text);
  AddLine("name", model.name(), &text);
  AddLine("level", model.quant(), &text);
  AddLine("parameters", std::to_string(model.parameter_count()), &text);
  AddLine("bits per weight", BitsPerWeight(model), &text);
  AddShape(model, &text);
  AddLine("file size", SizeText(model.file_bytes()), &text);
  AddLine("weights", SizeText(model.weight_bytes()), &text);
  AddLine("repackable", SizeText(model.repackable_bytes()), &text);
  AddLine("tensors", std::to_string(model.tensor_count()), &text);
  return text + TypeTable(file, max_columns) + KeyTable(inspection, max_columns);
}

}  // namespace ballast::cli
