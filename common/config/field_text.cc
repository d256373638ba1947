#include "common/config/field_text.h"

#include <memory>
#include <optional>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_value.h"
#include "google/protobuf/descriptor.h"

namespace ballast::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

absl::Status SetMapEntry(Message* message, const FieldDescriptor& field, std::string_view key, std::string_view text) {
  const FieldDescriptor& value_field = *field.message_type()->map_value();
  if (key.empty()) {
    return absl::InvalidArgumentError(fmt::format("name the entry to set, as in {0}.NAME=VALUE", field.name()));
  }
  if (!IsWrittenAsText(value_field)) {
    return absl::InvalidArgumentError(fmt::format("'{}' holds groups of fields; write them in a file", field.name()));
  }
  BALLAST_ASSIGN_OR_RETURN(Message* const entry, MapEntry(message, field, key));
  return ParseAndCheckValue(entry, value_field, text);
}

absl::Status AppendEntry(Message* message, const FieldDescriptor& field, std::string_view text) {
  BALLAST_RETURN_IF_ERROR(ParseAndCheckValue(message, field, text));
  const v1::FieldRules& rules = RulesOf(field);
  // Only too many: that there are still too few is no fault of this entry.
  if (rules.has_max() && message->GetReflection()->FieldSize(*message, &field) > rules.max()) {
    if (const std::optional<std::string> problem = ProblemWithCount(*message, field)) {
      return absl::InvalidArgumentError(*problem);
    }
  }
  return absl::OkStatus();
}

// Sets the field at the last part of a path.
absl::Status SetLeaf(Message* message, const FieldDescriptor& field, std::string_view text) {
  if (field.is_repeated()) {
    if (IsWrittenAsText(field)) return AppendEntry(message, field, text);
    return absl::InvalidArgumentError(
        fmt::format("'{}' is a list of groups of fields; write it in a file", field.name()));
  }
  if (IsWrittenAsText(field)) return ParseAndCheckValue(message, field, text);
  if (text == "{}") {
    message->GetReflection()->MutableMessage(message, &field);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("'{}' is a group; set one of its fields ({}), or all of them to their defaults with {{}}",
                  field.name(), fmt::join(FieldNames(*field.message_type()), ", ")));
}

absl::Status SetIn(Message* message, std::string_view path, std::string_view text) {
  std::string_view rest = path;
  while (true) {
    const std::size_t dot = rest.find('.');
    const bool last = dot == std::string_view::npos;
    const std::string_view name = rest.substr(0, dot);
    const std::string_view parent = path.substr(0, path.size() - rest.size());
    rest = last ? std::string_view() : rest.substr(dot + 1);
    const Descriptor& descriptor = *message->GetDescriptor();
    const FieldDescriptor* const field = descriptor.FindFieldByName(std::string(name));
    if (field == nullptr) {
      const std::string place = parent.empty() ? "" : " in " + base::Quoted(parent.substr(0, parent.size() - 1));
      return absl::NotFoundError(
          fmt::format("no field {}{}; {}", base::Quoted(name), place, FieldHint(name, descriptor)));
    }
    if (field->is_map()) return SetMapEntry(message, *field, rest, text);
    if (last) return SetLeaf(message, *field, text);
    if (field->is_repeated() || IsWrittenAsText(*field)) {
      return absl::NotFoundError(fmt::format("'{}' has no fields of its own", field->name()));
    }
    message = message->GetReflection()->MutableMessage(message, field);
  }
}

}  // namespace

absl::Status SetField(Message* message, std::string_view path, std::string_view text) {
  // On a copy: a path that fails half-way has already made the messages on its way.
  const std::unique_ptr<Message> changed(message->New());
  changed->CopyFrom(*message);
  BALLAST_RETURN_IF_ERROR(SetIn(changed.get(), path, text));
  message->GetReflection()->Swap(message, changed.get());
  return absl::OkStatus();
}

}  // namespace ballast::config
