#include "common/config/field_rules.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/config/field_value.h"
#include "common/config/rule_walk.h"
#include "google/protobuf/descriptor.h"

namespace ballast::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

constexpr std::string_view kEmptyMessageText = "{}";

// Whether a field that is not repeated was given: outside presence a zero is none.
bool IsGiven(const Message& message, const FieldDescriptor& field) {
  return message.GetReflection()->HasField(message, &field);
}

void ApplyDefault(Message* message, const FieldDescriptor& field) {
  const std::string& text = RulesOf(field).default_text();
  if (text.empty() || field.is_repeated() || IsGiven(*message, field)) return;
  const OneofDescriptor* const oneof = field.real_containing_oneof();
  if (oneof != nullptr && message->GetReflection()->HasOneof(*message, oneof)) return;
  if (IsWrittenAsText(field)) {
    // A default that its own field refuses is a mistake in the proto file, which a test over all of them finds.
    ParseValue(message, field, text).IgnoreError();
  } else if (text == kEmptyMessageText) {
    message->GetReflection()->MutableMessage(message, &field);
  }
}

class RuleWalk {
 public:
  void Walk(const Message& message, const std::string& path) {
    const Descriptor& descriptor = *message.GetDescriptor();
    for (int i = 0; i < descriptor.field_count(); ++i) {
      const FieldDescriptor& field = *descriptor.field(i);
      const std::string field_path = JoinPath(path, field.name());
      if (field.is_map()) {
        WalkMap(message, field, field_path);
      } else if (field.is_repeated()) {
        WalkList(message, field, field_path);
      } else {
        WalkField(message, field, path, field_path);
      }
    }
    const v1::MessageRules& rules = descriptor.options().GetExtension(v1::rules);
    for (const std::string& name : rules.required_oneof()) {
      const OneofDescriptor* const oneof = descriptor.FindOneofByName(name);
      if (oneof == nullptr || message.GetReflection()->HasOneof(message, oneof)) continue;
      Add(JoinPath(path, name), fmt::format("is missing; give {}", Alternatives(MemberNames(*oneof))));
    }
    for (const v1::FieldOrder& order : rules.order()) CheckOrder(message, order, path);
  }

  std::vector<Finding> TakeFindings() { return std::move(findings_); }

 private:
  void Add(const std::string& path, std::string problem) { findings_.push_back({{path, std::move(problem)}, {path}}); }

  void WalkField(const Message& message, const FieldDescriptor& field, const std::string& path,
                 const std::string& field_path) {
    const bool given = IsGiven(message, field);
    const OneofDescriptor* const oneof = field.real_containing_oneof();
    if (!given && RulesOf(field).required()) {
      if (oneof == nullptr) {
        Add(field_path, "must be given");
      } else if (!message.GetReflection()->HasOneof(message, oneof)) {
        Add(JoinPath(path, oneof->name()), fmt::format("{} must be given", field.name()));
      }
      return;
    }
    if (!IsWrittenAsText(field)) {
      if (given) Walk(message.GetReflection()->GetMessage(message, &field), field_path);
    } else if (given || !field.has_presence()) {
      // Outside presence a zero is a value like any other, once defaults are filled in.
      if (std::optional<std::string> problem = ProblemWithValue(message, field)) Add(field_path, *problem);
    }
  }

  void WalkList(const Message& message, const FieldDescriptor& field, const std::string& field_path) {
    if (std::optional<std::string> problem = ProblemWithCount(message, field)) Add(field_path, *problem);
    const int count = message.GetReflection()->FieldSize(message, &field);
    if (!RulesOf(field).ascending().empty()) CheckAscending(message, field, field_path);
    if (!RulesOf(field).unique().empty()) CheckUnique(message, field, field_path);
    for (int i = 0; i < count; ++i) {
      const std::string entry_path = fmt::format("{}[{}]", field_path, i);
      if (!IsWrittenAsText(field)) {
        Walk(message.GetReflection()->GetRepeatedMessage(message, &field, i), entry_path);
      } else if (std::optional<std::string> problem = ProblemWithValue(message, field, i)) {
        Add(entry_path, *problem);
      }
    }
  }

  void WalkMap(const Message& message, const FieldDescriptor& field, const std::string& field_path) {
    if (std::optional<std::string> problem = ProblemWithCount(message, field)) Add(field_path, *problem);
    const FieldDescriptor& value_field = *field.message_type()->map_value();
    const int count = message.GetReflection()->FieldSize(message, &field);
    for (int i = 0; i < count; ++i) {
      const Message& entry = message.GetReflection()->GetRepeatedMessage(message, &field, i);
      const std::string entry_path = JoinPath(field_path, ValueText(entry, *field.message_type()->map_key()));
      if (!IsWrittenAsText(value_field)) {
        Walk(entry.GetReflection()->GetMessage(entry, &value_field), entry_path);
      } else if (std::optional<std::string> problem = ProblemWithValue(entry, value_field)) {
        Add(entry_path, *problem);
      }
    }
  }

  // Only the first entry that breaks the order is told: one entry in a wrong place would blame all behind it.
  void CheckAscending(const Message& message, const FieldDescriptor& field, const std::string& field_path) {
    const FieldDescriptor* const key =
        field.message_type() == nullptr ? nullptr : field.message_type()->FindFieldByName(RulesOf(field).ascending());
    if (key == nullptr || key->is_repeated()) return;
    const Reflection& reflection = *message.GetReflection();
    for (int i = 1; i < reflection.FieldSize(message, &field); ++i) {
      const Message& before = reflection.GetRepeatedMessage(message, &field, i - 1);
      const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
      const double low = NumberOf(before, *key).value_or(0);
      const double high = NumberOf(entry, *key).value_or(0);
      if (low < high) continue;
      Add(JoinPath(fmt::format("{}[{}]", field_path, i), key->name()),
          fmt::format("must be above that of the entry before ({}), not {}", ValueText(before, *key),
                      ValueText(entry, *key)));
      return;
    }
  }

  void CheckUnique(const Message& message, const FieldDescriptor& field, const std::string& field_path) {
    const FieldDescriptor* const key =
        field.message_type() == nullptr ? nullptr : field.message_type()->FindFieldByName(RulesOf(field).unique());
    if (key == nullptr || key->is_repeated()) return;
    std::map<std::string, int> first;
    const int count = message.GetReflection()->FieldSize(message, &field);
    for (int i = 0; i < count; ++i) {
      const Message& entry = message.GetReflection()->GetRepeatedMessage(message, &field, i);
      if (RulesOf(*key).required() && !IsGiven(entry, *key)) continue;  // that it is missing is told already
      const std::string value = ValueText(entry, *key);
      if (const auto [found, is_new] = first.emplace(value, i); !is_new) {
        Add(JoinPath(fmt::format("{}[{}]", field_path, i), key->name()),
            fmt::format("must differ from that of every other entry; {}[{}] has {} too", field.name(), found->second,
                        base::Quoted(value)));
      }
    }
  }

  void CheckOrder(const Message& message, const v1::FieldOrder& order, const std::string& path) {
    const FieldDescriptor* const lesser = message.GetDescriptor()->FindFieldByName(order.lesser());
    const FieldDescriptor* const greater = message.GetDescriptor()->FindFieldByName(order.greater());
    if (lesser == nullptr || greater == nullptr || lesser->is_repeated() || greater->is_repeated()) return;
    for (const FieldDescriptor* const field : {lesser, greater}) {
      // One that must be given, and is not, has been told of already.
      if ((field->has_presence() || RulesOf(*field).required()) && !IsGiven(message, *field)) return;
    }
    const std::optional<double> low = NumberOf(message, *lesser);
    const std::optional<double> high = NumberOf(message, *greater);
    if (!low || !high || *low < *high) return;
    const std::string lesser_path = JoinPath(path, order.lesser());
    findings_.push_back({{lesser_path, fmt::format("must be below {} ({}), not {}", order.greater(),
                                                   ValueText(message, *greater), ValueText(message, *lesser))},
                         {lesser_path, JoinPath(path, order.greater())}});
  }

  std::vector<Finding> findings_;
};

}  // namespace

std::string JoinPath(std::string_view parent, std::string_view name) {
  return parent.empty() ? std::string(name) : fmt::format("{}.{}", parent, name);
}

void ApplyDefaults(Message* message) {
  const Descriptor& descriptor = *message->GetDescriptor();
  const Reflection& reflection = *message->GetReflection();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    ApplyDefault(message, field);
    // The entries of a map are messages too; their values are reached through them.
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || (!field.is_map() && IsWrittenAsText(field))) continue;
    if (!field.is_repeated()) {
      if (IsGiven(*message, field)) ApplyDefaults(reflection.MutableMessage(message, &field));
    } else if (!field.is_map() || !IsWrittenAsText(*field.message_type()->map_value())) {
      for (int j = 0; j < reflection.FieldSize(*message, &field); ++j) {
        ApplyDefaults(reflection.MutableRepeatedMessage(message, &field, j));
      }
    }
  }
}

std::vector<Finding> FindBrokenRules(const Message& message) {
  RuleWalk walk;
  walk.Walk(message, "");
  return walk.TakeFindings();
}

std::vector<Violation> FindViolations(const Message& message) {
  std::vector<Violation> violations;
  for (Finding& finding : FindBrokenRules(message)) violations.push_back(std::move(finding.violation));
  return violations;
}

absl::Status Validate(const Message& message) {
  std::string text;
  for (const Violation& violation : FindViolations(message)) {
    text += fmt::format("{}{}: {}", text.empty() ? "" : "\n", violation.field_path, violation.problem);
  }
  return text.empty() ? absl::OkStatus() : absl::InvalidArgumentError(text);
}

}  // namespace ballast::config
