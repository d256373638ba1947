#include "message_schema.h"

#include <cstdint>
#include <limits>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "common/render/json.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace ballast::report {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::OneofDescriptor;
using google::protobuf::SourceLocation;
using render::JsonString;

// The comment of a declaration as one line.
template <typename Declaration>
std::string Comment(const Declaration& declaration) {
  SourceLocation location;
  if (!declaration.GetSourceLocation(&location)) return {};
  std::istringstream words(location.leading_comments);
  std::string text;
  for (std::string word; words >> word;) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string Join(const std::vector<std::string>& items, std::string_view separator = ", ") {
  return fmt::format("{}", fmt::join(items, separator));
}

// `"a": 1, "b": 2` out of members, with the description before them where there is one.
std::string Object(const std::string& description, std::vector<std::string> members) {
  if (!description.empty()) members.insert(members.begin(), "\"description\": " + JsonString(description));
  return "{" + Join(members) + "}";
}

// Collects the definitions of every message and enum that can be reached.
class SchemaWriter {
 public:
  std::string Write(const Descriptor& root, std::string_view id, std::string_view title) {
    Define(root);
    std::vector<std::string> definitions;
    for (const auto& [name, text] : definitions_) definitions.push_back(fmt::format("    \"{}\": {}", name, text));
    return fmt::format(
        "{{\n"
        "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
        "  \"$id\": {},\n"
        "  \"title\": {},\n"
        "  \"$ref\": \"#/$defs/{}\",\n"
        "  \"$defs\": {{\n{}\n  }}\n"
        "}}\n",
        JsonString(id), JsonString(title), Name(root), Join(definitions, ",\n"));
  }

 private:
  // The name without the package: `Run.State`.
  template <typename Type>
  static std::string Name(const Type& type) {
    return type.full_name().substr(type.file()->package().size() + 1);
  }

  void Define(const Descriptor& type) {
    if (!definitions_.try_emplace(Name(type)).second) return;
    std::vector<std::string> required;
    std::vector<std::string> properties;
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      const std::string key = JsonString(render::JsonKey(field));
      if (field.real_containing_oneof() == nullptr) required.push_back(key);
      properties.push_back(fmt::format("        {}: {}", key, FieldSchema(field)));
    }
    std::string text = "{\n";
    if (const std::string comment = Comment(type); !comment.empty()) {
      text += fmt::format("      \"description\": {},\n", JsonString(comment));
    }
    text += "      \"type\": \"object\",\n      \"additionalProperties\": false,\n";
    text += fmt::format("      \"required\": [{}],\n", Join(required));
    for (int i = 0; i < type.real_oneof_decl_count(); ++i) text += OneofRule(*type.oneof_decl(i));
    text += fmt::format("      \"properties\": {{\n{}\n      }}\n    }}", Join(properties, ",\n"));
    definitions_[Name(type)] = std::move(text);
  }

  void Define(const EnumDescriptor& type) {
    if (!definitions_.try_emplace(Name(type)).second) return;
    std::vector<std::string> names;
    std::string description = Comment(type);
    for (int i = 0; i < type.value_count(); ++i) {
      names.push_back(JsonString(type.value(i)->name()));
      if (const std::string comment = Comment(*type.value(i)); !comment.empty()) {
        description += fmt::format("{}{}: {}", description.empty() ? "" : "\n", type.value(i)->name(), comment);
      }
    }
    definitions_[Name(type)] = Object(description, {fmt::format("\"enum\": [{}]", Join(names))});
  }

  // At most one member of a oneof is there.
  static std::string OneofRule(const OneofDescriptor& oneof) {
    std::vector<std::string> members;
    for (int i = 0; i < oneof.field_count(); ++i) {
      members.push_back(fmt::format("{{\"required\": [{}]}}", JsonString(render::JsonKey(*oneof.field(i)))));
    }
    return fmt::format("      \"oneOf\": [{0}, {{\"not\": {{\"anyOf\": [{0}]}}}}],\n", Join(members));
  }

  std::string FieldSchema(const FieldDescriptor& field) {
    const std::string comment = Comment(field);
    if (field.is_map()) {
      const std::string value = ValueSchema(*field.message_type()->map_value(), {}, false);
      return Object(comment, {"\"type\": \"object\"", "\"additionalProperties\": " + value});
    }
    if (field.is_repeated()) {
      return Object(comment, {"\"type\": \"array\"", "\"items\": " + ValueSchema(field, {}, false)});
    }
    return ValueSchema(field, comment, field.has_presence() && field.real_containing_oneof() == nullptr);
  }

  // One value of a field; `nullable` where it may be absent.
  std::string ValueSchema(const FieldDescriptor& field, const std::string& comment, bool nullable) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_DOUBLE:
      case FieldDescriptor::CPPTYPE_FLOAT:
        return Object(comment, {R"("type": ["number", "null"])"});  // null: not a number
      case FieldDescriptor::CPPTYPE_BOOL:
        return Object(comment, {Type("boolean", nullable)});
      case FieldDescriptor::CPPTYPE_INT32:
        return Integer<std::int32_t>(comment, nullable);
      case FieldDescriptor::CPPTYPE_INT64:
        return Integer<std::int64_t>(comment, nullable);
      case FieldDescriptor::CPPTYPE_UINT32:
        return Integer<std::uint32_t>(comment, nullable);
      case FieldDescriptor::CPPTYPE_UINT64:
        return Integer<std::uint64_t>(comment, nullable);
      case FieldDescriptor::CPPTYPE_STRING: {
        std::vector<std::string> members = {Type("string", nullable)};
        if (field.type() == FieldDescriptor::TYPE_BYTES) members.push_back(R"("contentEncoding": "base64")");
        return Object(comment, std::move(members));
      }
      case FieldDescriptor::CPPTYPE_ENUM:
        Define(*field.enum_type());
        return Reference(Name(*field.enum_type()), comment, nullable);
      case FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
    const std::string& message = field.message_type()->full_name();
    if (message == "google.protobuf.Duration") return Object(comment, {R"("type": ["number", "null"])"});
    if (message == "google.protobuf.Timestamp") {
      return Object(comment,
                    {R"("type": ["string", "null"])", R"("format": "date-time")",
                     R"("pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{3,9})?Z$")"});
    }
    Define(*field.message_type());
    return Reference(Name(*field.message_type()), comment, nullable);
  }

  static std::string Type(std::string_view name, bool nullable) {
    return nullable ? fmt::format(R"("type": ["{}", "null"])", name) : fmt::format(R"("type": "{}")", name);
  }

  template <typename T>
  static std::string Integer(const std::string& comment, bool nullable) {
    return Object(comment, {Type("integer", nullable), fmt::format("\"minimum\": {}", std::numeric_limits<T>::min()),
                            fmt::format("\"maximum\": {}", std::numeric_limits<T>::max())});
  }

  static std::string Reference(const std::string& name, const std::string& comment, bool nullable) {
    const std::string reference = fmt::format("\"$ref\": \"#/$defs/{}\"", name);
    if (!nullable) return Object(comment, {reference});
    return Object(comment, {fmt::format(R"("anyOf": [{{{}}}, {{"type": "null"}}])", reference)});
  }

  std::map<std::string, std::string> definitions_;
};

}  // namespace

std::string MessageSchema(const Descriptor& type, std::string_view id, std::string_view title) {
  return SchemaWriter().Write(type, id, title);
}

}  // namespace ballast::report
