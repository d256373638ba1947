#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>

#include "absl/strings/match.h"
#include "common/config/field_value.h"
#include "common/config/yaml.h"
#include "google/protobuf/descriptor.h"

namespace ballast::config {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::size_t kLongestSimpleKey = 500;  // YAML itself ends at 1024

// Whether a string can stand without quotes, for this reader and for others, which take more words and numbers for
// something else.
bool IsPlain(const std::string& text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr std::string_view kOthers = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@+";
  constexpr std::array<const char*, 9> kWords = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
  if (text.empty() || text.size() > 200) return false;
  if (kLetters.find(text.front()) == std::string_view::npos) return false;
  if (text.find_first_not_of(kOthers.data(), 0, kOthers.size()) != std::string::npos) return false;
  return std::none_of(kWords.begin(), kWords.end(),
                      [&](const char* word) { return absl::EqualsIgnoreCase(text, word); });
}

void WriteString(const std::string& text, YAML::Emitter* out) {
  if (IsPlain(text)) {
    *out << text;
  } else {
    *out << YAML::DoubleQuoted << text;
  }
}

void WriteKey(const std::string& text, YAML::Emitter* out) {
  if (text.size() > kLongestSimpleKey) *out << YAML::LongKey;
  *out << YAML::Key;
  WriteString(text, out);
  *out << YAML::Value;
}

void WriteMessage(const Message& message, YAML::Emitter* out);

void WriteValue(const Message& message, const FieldDescriptor& field, int index, YAML::Emitter* out) {
  if (!IsWrittenAsText(field)) {
    const Reflection& reflection = *message.GetReflection();
    WriteMessage(index == kSingular ? reflection.GetMessage(message, &field)
                                    : reflection.GetRepeatedMessage(message, &field, index),
                 out);
  } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    WriteString(ValueText(message, field, index), out);
  } else {
    *out << ValueText(message, field, index);
  }
}

void WriteMap(const Message& message, const FieldDescriptor& field, YAML::Emitter* out) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<std::pair<std::string, const Message*>> entries;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    entries.emplace_back(ValueText(entry, *field.message_type()->map_key()), &entry);
  }
  std::sort(entries.begin(), entries.end());  // the message has no order of its own
  *out << YAML::BeginMap;
  for (const auto& [key, entry] : entries) {
    WriteKey(key, out);
    WriteValue(*entry, *field.message_type()->map_value(), kSingular, out);
  }
  *out << YAML::EndMap;
}

void WriteMessage(const Message& message, YAML::Emitter* out) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  *out << YAML::BeginMap;
  for (const FieldDescriptor* const field : fields) {
    WriteKey(field->name(), out);
    if (field->is_map()) {
      WriteMap(message, *field, out);
    } else if (field->is_repeated()) {
      *out << YAML::BeginSeq;
      for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) WriteValue(message, *field, i, out);
      *out << YAML::EndSeq;
    } else {
      WriteValue(message, *field, kSingular, out);
    }
  }
  *out << YAML::EndMap;
}

}  // namespace

std::string WriteYaml(const Message& message) {
  YAML::Emitter out;
  WriteMessage(message, &out);
  return std::string(out.c_str()) + "\n";
}

}  // namespace ballast::config
