#include "common/render/json.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/base/characters.h"
#include "common/render/scalar_text.h"
#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace ballast::render {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::Duration;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::Timestamp;

void AppendString(std::string_view text, std::string* out) {
  *out += '"';
  while (!text.empty()) {
    const base::Character character = base::FirstCharacter(text);
    if (!character.valid) {
      *out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    switch (text.front()) {
      case '"':
        *out += "\\\"";
        break;
      case '\\':
        *out += "\\\\";
        break;
      case '\b':
        *out += "\\b";
        break;
      case '\f':
        *out += "\\f";
        break;
      case '\n':
        *out += "\\n";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '\t':
        *out += "\\t";
        break;
      default:
        if (base::IsUnsafe(character)) {
          *out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(character.code));
        } else {
          out->append(text.substr(0, character.size));
        }
    }
    text.remove_prefix(character.size);
  }
  *out += '"';
}

bool IsDuration(const Descriptor& type) {
  return &type == Duration::descriptor();
}
bool IsTimestamp(const Descriptor& type) {
  return &type == Timestamp::descriptor();
}

// The type whose values a field holds: a map's values, or the field itself.
const FieldDescriptor& ValueField(const FieldDescriptor& field) {
  return field.is_map() ? *field.message_type()->map_value() : field;
}

bool IsNumber(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
    case FieldDescriptor::CPPTYPE_ENUM:
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return false;
    default:
      return true;
  }
}

// Appends one message to a text, keeping track of the indentation.
class Printer {
 public:
  Printer(int indent_spaces, std::string* out)
      : indent_(static_cast<std::size_t>(std::max(indent_spaces, 0))), out_(*out) {}

  void PrintMessage(const Message& message) {
    const Descriptor& type = *message.GetDescriptor();
    if (IsDuration(type)) {
      // Through the fields rather than a cast: a DynamicMessage is a Duration too.
      Duration duration;
      duration.CopyFrom(message);
      PrintOrNull(SecondsText(duration));
    } else if (IsTimestamp(type)) {
      Timestamp time;
      time.CopyFrom(message);
      const std::string text = TimeText(time);
      text.empty() ? PrintOrNull({}) : AppendString(text, &out_);
    } else {
      PrintFields(message, type);
    }
  }

 private:
  void PrintFields(const Message& message, const Descriptor& type) {
    const Reflection& reflection = *message.GetReflection();
    Open('{');
    bool first = true;
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      if (field.real_containing_oneof() != nullptr && !reflection.HasField(message, &field)) continue;
      NextItem(first);
      first = false;
      AppendString(JsonKey(field), &out_);
      out_ += ": ";
      if (field.is_map()) {
        PrintMap(message, reflection, field);
      } else if (field.is_repeated()) {
        PrintList(message, reflection, field);
      } else if (field.has_presence() && !reflection.HasField(message, &field)) {
        out_ += "null";
      } else {
        PrintSingular(message, reflection, field);
      }
    }
    Close('}', first);
  }

  void PrintSingular(const Message& message, const Reflection& reflection, const FieldDescriptor& field) {
    std::string scratch;
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        PrintInteger(reflection.GetInt32(message, &field));
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        PrintInteger(reflection.GetInt64(message, &field));
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        PrintInteger(reflection.GetUInt32(message, &field));
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        PrintInteger(reflection.GetUInt64(message, &field));
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        PrintOrNull(NumberText(reflection.GetDouble(message, &field)));
        break;
      case FieldDescriptor::CPPTYPE_FLOAT:
        PrintOrNull(NumberText(static_cast<double>(reflection.GetFloat(message, &field))));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        out_ += reflection.GetBool(message, &field) ? "true" : "false";
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        PrintEnum(field, reflection.GetEnumValue(message, &field));
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        PrintText(field, reflection.GetStringReference(message, &field, &scratch));
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        PrintMessage(reflection.GetMessage(message, &field));
        break;
    }
  }

  void PrintElement(const Message& message, const Reflection& reflection, const FieldDescriptor& field, int index) {
    std::string scratch;
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        PrintInteger(reflection.GetRepeatedInt32(message, &field, index));
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        PrintInteger(reflection.GetRepeatedInt64(message, &field, index));
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        PrintInteger(reflection.GetRepeatedUInt32(message, &field, index));
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        PrintInteger(reflection.GetRepeatedUInt64(message, &field, index));
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        PrintOrNull(NumberText(reflection.GetRepeatedDouble(message, &field, index)));
        break;
      case FieldDescriptor::CPPTYPE_FLOAT:
        PrintOrNull(NumberText(static_cast<double>(reflection.GetRepeatedFloat(message, &field, index))));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        out_ += reflection.GetRepeatedBool(message, &field, index) ? "true" : "false";
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        PrintEnum(field, reflection.GetRepeatedEnumValue(message, &field, index));
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        PrintText(field, reflection.GetRepeatedStringReference(message, &field, index, &scratch));
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        PrintMessage(reflection.GetRepeatedMessage(message, &field, index));
        break;
    }
  }

  void PrintList(const Message& message, const Reflection& reflection, const FieldDescriptor& field) {
    const int size = reflection.FieldSize(message, &field);
    if (IsNumber(field)) {
      // One line: a column of twenty thousand values would otherwise be as many lines.
      out_ += '[';
      for (int i = 0; i < size; ++i) {
        if (i > 0) out_ += ", ";
        PrintElement(message, reflection, field, i);
      }
      out_ += ']';
      return;
    }
    Open('[');
    for (int i = 0; i < size; ++i) {
      NextItem(i == 0);
      PrintElement(message, reflection, field, i);
    }
    Close(']', size == 0);
  }

  void PrintMap(const Message& message, const Reflection& reflection, const FieldDescriptor& field) {
    const FieldDescriptor& key = *field.message_type()->map_key();
    const FieldDescriptor& value = *field.message_type()->map_value();
    std::vector<const Message*> entries;
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
      entries.push_back(&reflection.GetRepeatedMessage(message, &field, i));
    }
    std::sort(entries.begin(), entries.end(),
              [&key](const Message* a, const Message* b) { return KeyLess(*a, *b, key); });
    Open('{');
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Message& entry = *entries[i];
      NextItem(i == 0);
      AppendString(KeyText(entry, key), &out_);
      out_ += ": ";
      PrintSingular(entry, *entry.GetReflection(), value);
    }
    Close('}', entries.empty());
  }

  static bool KeyLess(const Message& a, const Message& b, const FieldDescriptor& key) {
    const Reflection& reflection = *a.GetReflection();
    switch (key.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return reflection.GetInt32(a, &key) < reflection.GetInt32(b, &key);
      case FieldDescriptor::CPPTYPE_INT64:
        return reflection.GetInt64(a, &key) < reflection.GetInt64(b, &key);
      case FieldDescriptor::CPPTYPE_UINT32:
        return reflection.GetUInt32(a, &key) < reflection.GetUInt32(b, &key);
      case FieldDescriptor::CPPTYPE_UINT64:
        return reflection.GetUInt64(a, &key) < reflection.GetUInt64(b, &key);
      default:
        return KeyText(a, key) < KeyText(b, key);
    }
  }

  static std::string KeyText(const Message& entry, const FieldDescriptor& key) {
    const Reflection& reflection = *entry.GetReflection();
    switch (key.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return fmt::format("{}", reflection.GetInt32(entry, &key));
      case FieldDescriptor::CPPTYPE_INT64:
        return fmt::format("{}", reflection.GetInt64(entry, &key));
      case FieldDescriptor::CPPTYPE_UINT32:
        return fmt::format("{}", reflection.GetUInt32(entry, &key));
      case FieldDescriptor::CPPTYPE_UINT64:
        return fmt::format("{}", reflection.GetUInt64(entry, &key));
      case FieldDescriptor::CPPTYPE_BOOL:
        return reflection.GetBool(entry, &key) ? "true" : "false";
      default:
        return reflection.GetString(entry, &key);
    }
  }

  template <typename Integer>
  void PrintInteger(Integer value) {
    fmt::format_to(std::back_inserter(out_), "{}", value);
  }

  void PrintEnum(const FieldDescriptor& field, int number) {
    const EnumValueDescriptor* value = field.enum_type()->FindValueByNumber(number);
    if (value == nullptr) {
      PrintInteger(number);
    } else {
      AppendString(value->name(), &out_);
    }
  }

  void PrintText(const FieldDescriptor& field, const std::string& text) {
    if (field.type() == FieldDescriptor::TYPE_BYTES) {
      AppendString(absl::Base64Escape(text), &out_);
    } else {
      AppendString(text, &out_);
    }
  }

  void PrintOrNull(const std::string& text) { out_ += text.empty() ? "null" : text; }

  void Open(char bracket) {
    out_ += bracket;
    ++depth_;
  }

  void NextItem(bool first) {
    if (!first) out_ += indent_ > 0 ? "," : ", ";
    if (indent_ > 0) NewLine();
  }

  void Close(char bracket, bool empty) {
    --depth_;
    if (!empty && indent_ > 0) NewLine();
    out_ += bracket;
  }

  void NewLine() {
    out_ += '\n';
    out_.append(indent_ * depth_, ' ');
  }

  const std::size_t indent_;
  std::string& out_;
  std::size_t depth_ = 0;
};

}  // namespace

std::string ToJson(const Message& message, const JsonOptions& options) {
  std::string out;
  Printer(options.indent_spaces, &out).PrintMessage(message);
  return out;
}

std::string JsonString(std::string_view text) {
  std::string out;
  AppendString(text, &out);
  return out;
}

std::string JsonKey(const FieldDescriptor& field) {
  const FieldDescriptor& value = ValueField(field);
  // By name, so that descriptors of any pool do.
  const bool seconds = value.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
                       value.message_type()->full_name() == Duration::descriptor()->full_name();
  return seconds ? field.name() + "_seconds" : field.name();
}

}  // namespace ballast::render
