#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "absl/strings/match.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "common/config/field_value.h"
#include "common/config/rule_walk.h"
#include "common/config/yaml.h"
#include "common/config/yaml_tree.h"
#include "google/protobuf/descriptor.h"

namespace ballast::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

constexpr std::size_t kMostReported = 100;
constexpr std::size_t kMostFileBytes =
    (4U << 20U) + 4;  // the tree's own limit says it better; this one only bounds the reading

std::string_view KindName(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kMapping:
      return "a mapping";
    case YamlNode::Kind::kScalar:
      return "a single value";
    case YamlNode::Kind::kNull:
    case YamlNode::Kind::kRefused:
      break;
  }
  return "nothing";
}

// Fills a message from a tree, and remembers where each field was given and which fields there was something wrong
// with.
class MessageReader {
 public:
  void ReadRoot(const YamlNode& root, Message* message) {
    places_[""] = root.place;
    ReadMessage(root, message, "");
  }

  // Checks the rules over the whole message; what the fields involved have been blamed for already is not said again.
  void CheckRules(const Message& message, const MoreRules& more_rules) {
    if (troubled_.contains("")) return;  // there is nothing that could keep a rule
    std::vector<Finding> findings = FindBrokenRules(message);
    // They take the simpler rules for granted.
    if (more_rules && findings.empty() && troubled_.empty() && problems_.empty()) {
      for (Violation& violation : more_rules(message)) {
        std::vector<std::string> involved = {violation.field_path};
        findings.push_back({std::move(violation), std::move(involved)});
      }
    }
    for (const Finding& finding : findings) {
      const auto& involved = finding.involved;
      if (std::any_of(involved.begin(), involved.end(),
                      [&](const std::string& path) { return troubled_.contains(path); })) {
        continue;
      }
      AddFinding(finding);
    }
  }

  void SetOverride(const std::string& override_text, Message* message) {
    const std::size_t equals = override_text.find('=');
    const std::string path = override_text.substr(0, equals);
    if (equals == std::string::npos || path.empty()) {
      AddOverrideProblem(override_text, "write it as PATH=VALUE, for instance repetitions=3");
      return;
    }
    const absl::Status status = SetField(message, path, std::string_view(override_text).substr(equals + 1));
    if (status.ok()) {
      overrides_[path] = override_text;
    } else {
      troubled_.insert(path);
      AddOverrideProblem(override_text, std::string(status.message()));
    }
  }

  void AddProblem(const YamlPlace& place, std::string problem) { problems_.push_back({place, std::move(problem)}); }

  // INVALID_ARGUMENT with all problems; OK where there are none.
  absl::Status Result(std::string_view text, std::string_view file_name) {
    if (problems_.empty() && override_problems_.empty()) return absl::OkStatus();
    std::stable_sort(problems_.begin(), problems_.end(),
                     [](const YamlProblem& a, const YamlProblem& b) { return a.place < b.place; });
    std::vector<std::string> lines;
    for (const YamlProblem& problem : problems_) {
      if (lines.size() == kMostReported) break;  // finding out the column takes time
      lines.push_back(fmt::format("{}:{}: {}", file_name, PlaceText(text, problem.place), problem.problem));
    }
    for (const std::string& problem : override_problems_) {
      if (lines.size() < kMostReported) lines.push_back(problem);
    }
    const std::size_t all = problems_.size() + override_problems_.size();
    if (all > lines.size()) lines.push_back(fmt::format("{}: {} more problems", file_name, all - lines.size()));
    return absl::InvalidArgumentError(fmt::format("{}", fmt::join(lines, "\n")));
  }

 private:
  void AddFieldProblem(const YamlPlace& place, const std::string& path, std::string_view problem) {
    troubled_.insert(path);
    AddProblem(place, path.empty() ? std::string(problem) : fmt::format("{}: {}", path, problem));
  }

  void AddOverrideProblem(std::string_view override_text, std::string_view problem) {
    override_problems_.push_back(fmt::format("--set {}: {}", override_text, problem));
  }

  // Where one of the fields was given if it was; otherwise the innermost group around it that was.
  void AddFinding(const Finding& finding) {
    const auto& [path, problem] = finding.violation;
    for (const std::string& involved : finding.involved) {
      if (const auto override_text = overrides_.find(involved); override_text != overrides_.end()) {
        AddOverrideProblem(override_text->second, fmt::format("{}: {}", path, problem));
        return;
      }
    }
    for (const std::string& involved : finding.involved) {
      if (const auto place = places_.find(involved); place != places_.end()) {
        AddProblem(place->second, fmt::format("{}: {}", path, problem));
        return;
      }
    }
    for (std::string parent = path; !parent.empty();) {
      parent.resize(parent.find('.') == std::string::npos ? 0 : parent.rfind('.'));
      if (const auto place = places_.find(parent); place != places_.end() && !parent.empty()) {
        AddProblem(place->second, fmt::format("{}: {}", path, problem));
        return;
      }
      // A group that only an override made.
      const auto below = overrides_.lower_bound(parent + ".");
      if (!parent.empty() && below != overrides_.end() && absl::StartsWith(below->first, parent + ".")) {
        AddOverrideProblem(below->second, fmt::format("{}: {}", path, problem));
        return;
      }
    }
    AddProblem(places_[""], fmt::format("{}: {}", path, problem));
  }

  // The field, and the choice it is part of, are spoken of: that they are missing is not said as well.
  void MarkTroubled(const std::string& parent, const FieldDescriptor& field) {
    troubled_.insert(JoinPath(parent, field.name()));
    if (const OneofDescriptor* const oneof = field.real_containing_oneof()) {
      troubled_.insert(JoinPath(parent, oneof->name()));
    }
  }

  // The field that a key names; nothing, and a problem, where there is none.
  const FieldDescriptor* FieldOf(const YamlNode& key, const Descriptor& descriptor, const std::string& path) {
    if (key.kind == YamlNode::Kind::kRefused) return nullptr;
    if (key.kind != YamlNode::Kind::kScalar) {
      AddProblem(key.place, fmt::format("a key must be a name, not {}", KindName(key)));
      return nullptr;
    }
    const FieldDescriptor* const field = descriptor.FindFieldByName(key.text);
    if (field != nullptr) return field;
    const std::string place = path.empty() ? "" : fmt::format(" in '{}'", path);
    AddProblem(key.place,
               fmt::format("unknown key {}{}; {}", base::Quoted(key.text), place, FieldHint(key.text, descriptor)));
    // What was meant is not missing.
    for (const std::string& name : NearestNames(key.text, FieldNames(descriptor))) {
      MarkTroubled(path, *descriptor.FindFieldByName(name));
    }
    return nullptr;
  }

  void ReadMessage(const YamlNode& node, Message* message, const std::string& path) {
    if (node.kind == YamlNode::Kind::kNull) return;  // a key with nothing behind it: all defaults
    const Descriptor& descriptor = *message->GetDescriptor();
    if (node.kind != YamlNode::Kind::kMapping) {
      AddFieldProblem(
          node.place, path,
          fmt::format("must be a mapping of fields ({}), not {}", fmt::join(FieldNames(descriptor), ", "),
                      node.kind == YamlNode::Kind::kScalar ? base::Quoted(node.text) : std::string(KindName(node))));
      return;
    }
    std::map<const FieldDescriptor*, const YamlNode*> given;
    std::map<const OneofDescriptor*, const FieldDescriptor*> chosen;
    for (std::size_t i = 0; i + 1 < node.items.size(); i += 2) {
      const YamlNode& key = node.items[i];
      const FieldDescriptor* const field = FieldOf(key, descriptor, path);
      if (field == nullptr) continue;
      // What must not be there is read all the same, into nothing, for the problems that are in it.
      Message* target = message;
      std::unique_ptr<Message> nowhere;
      const auto [first, is_new] = given.emplace(field, &key);
      if (!is_new) {
        AddProblem(key.place, fmt::format("the key '{}' is given twice; the first is in line {}", key.text,
                                          first->second->place.line + 1));
        nowhere.reset(message->New());
      } else if (const OneofDescriptor* const oneof = field->real_containing_oneof()) {
        const auto [other, is_first] = chosen.emplace(oneof, field);
        if (!is_first) {
          AddProblem(key.place, fmt::format("'{}' is given beside '{}' in line {}; only one of {} can be",
                                            field->name(), other->second->name(), given[other->second]->place.line + 1,
                                            fmt::join(MemberNames(*oneof), ", ")));
          nowhere.reset(message->New());
        }
      }
      if (nowhere != nullptr) target = nowhere.get();
      ReadField(key, node.items[i + 1], target, *field, path);
    }
  }

  void ReadField(const YamlNode& key, const YamlNode& value, Message* message, const FieldDescriptor& field,
                 const std::string& parent) {
    const std::string path = JoinPath(parent, field.name());
    if (value.kind == YamlNode::Kind::kRefused) {
      MarkTroubled(parent, field);
    } else if (field.is_map()) {
      places_.emplace(path, key.place);
      ReadMap(value, message, field, path);
    } else if (field.is_repeated()) {
      places_.emplace(path, key.place);
      ReadList(value, message, field, path);
    } else if (IsWrittenAsText(field)) {
      places_.emplace(path, value.kind == YamlNode::Kind::kNull ? key.place : value.place);
      if (!ReadText(value, message, field, path)) MarkTroubled(parent, field);
    } else if (value.kind == YamlNode::Kind::kMapping || value.kind == YamlNode::Kind::kNull) {
      places_.emplace(path, key.place);
      ReadMessage(value, message->GetReflection()->MutableMessage(message, &field), path);
    } else {
      MarkTroubled(parent, field);
      const std::unique_ptr<Message> nowhere(message->New());
      ReadMessage(value, nowhere->GetReflection()->MutableMessage(nowhere.get(), &field), path);
    }
  }

  // False, and a problem, where the value is not accepted.
  bool ReadText(const YamlNode& value, Message* message, const FieldDescriptor& field, const std::string& path) {
    if (value.kind == YamlNode::Kind::kRefused) {
      troubled_.insert(path);
      return false;
    }
    if (value.kind == YamlNode::Kind::kNull) {
      // The parser places nothing somewhere behind the key, at times on the next line.
      AddFieldProblem(places_[path], path, "has no value; write one, or leave the key out");
      return false;
    }
    if (value.kind != YamlNode::Kind::kScalar) {
      AddFieldProblem(value.place, path, fmt::format("must be a single value, not {}", KindName(value)));
      return false;
    }
    const absl::Status status = ParseAndCheckValue(message, field, value.text);
    if (!status.ok()) AddFieldProblem(value.place, path, std::string(status.message()));
    return status.ok();
  }

  void ReadList(const YamlNode& node, Message* message, const FieldDescriptor& field, const std::string& path) {
    const Reflection& reflection = *message->GetReflection();
    if (node.kind != YamlNode::Kind::kSequence && node.kind != YamlNode::Kind::kNull) {
      AddFieldProblem(node.place, path,
                      fmt::format("must be a list ([a, b] or lines that begin with -), not {}", KindName(node)));
      return;
    }
    reflection.ClearField(message, &field);
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const YamlNode& item = node.items[i];
      const std::string item_path = fmt::format("{}[{}]", path, i);
      places_.emplace(item_path, item.place);
      if (IsWrittenAsText(field)) {
        // An entry that is left out changes the count and the places of the others.
        if (!ReadText(item, message, field, item_path)) troubled_.insert(path);
      } else if (item.kind == YamlNode::Kind::kRefused) {
        troubled_.insert(path);
      } else {
        ReadMessage(item, reflection.AddMessage(message, &field), item_path);
      }
    }
  }

  void ReadMap(const YamlNode& node, Message* message, const FieldDescriptor& field, const std::string& path) {
    const Reflection& reflection = *message->GetReflection();
    if (node.kind == YamlNode::Kind::kNull) return;
    if (node.kind != YamlNode::Kind::kMapping) {
      AddFieldProblem(node.place, path, fmt::format("must be a mapping (name: value), not {}", KindName(node)));
      return;
    }
    const FieldDescriptor& key_field = *field.message_type()->map_key();
    const FieldDescriptor& value_field = *field.message_type()->map_value();
    std::unordered_map<std::string, int> held;  // what the message held before, to be written over
    for (int i = 0; i < reflection.FieldSize(*message, &field); ++i) {
      held.emplace(ValueText(reflection.GetRepeatedMessage(*message, &field, i), key_field), i);
    }
    std::unordered_map<std::string, std::size_t> lines;
    for (std::size_t i = 0; i + 1 < node.items.size(); i += 2) {
      const YamlNode& key = node.items[i];
      const YamlNode& value = node.items[i + 1];
      if (key.kind == YamlNode::Kind::kRefused) continue;
      if (key.kind != YamlNode::Kind::kScalar || key.text.empty()) {
        AddProblem(key.place, fmt::format("{}: a key must be a name, not {}", path,
                                          key.kind == YamlNode::Kind::kScalar ? "empty" : KindName(key)));
        continue;
      }
      // Read apart from the message first: a problem leaves no half an entry behind.
      const std::unique_ptr<Message> scratch(message->New());
      Message* const entry = scratch->GetReflection()->AddMessage(scratch.get(), &field);
      if (const absl::Status status = ParseValue(entry, key_field, key.text); !status.ok()) {
        AddProblem(key.place, fmt::format("{}: the key {}", path, std::string(status.message())));
        continue;
      }
      const std::string name = ValueText(*entry, key_field);
      const std::string entry_path = JoinPath(path, name);
      const auto [first, is_new] = lines.emplace(name, key.place.line);
      if (!is_new) {
        AddProblem(key.place, fmt::format("{}: the key {} is given twice; the first is in line {}", path,
                                          base::Quoted(name), first->second + 1));
      }
      places_.emplace(entry_path, value.kind == YamlNode::Kind::kNull ? key.place : value.place);
      if (IsWrittenAsText(value_field)) {
        if (!ReadText(value, entry, value_field, entry_path)) continue;
      } else {
        ReadMessage(value, entry->GetReflection()->MutableMessage(entry, &value_field), entry_path);
      }
      if (!is_new) continue;
      const auto existing = held.find(name);
      Message* const target = existing == held.end()
                                  ? reflection.AddMessage(message, &field)
                                  : reflection.MutableRepeatedMessage(message, &field, existing->second);
      target->CopyFrom(*entry);
    }
  }

  std::vector<YamlProblem> problems_;
  std::vector<std::string> override_problems_;
  std::unordered_map<std::string, YamlPlace> places_;  // of every field that was given, by path
  std::map<std::string, std::string> overrides_;       // `path=value` by path
  std::set<std::string> troubled_;                     // fields and oneofs with a problem, by path
};

absl::Status Read(std::string_view text, std::string_view file_name, const std::vector<std::string>& overrides,
                  const MoreRules& more_rules, Message* message) {
  const YamlTree tree = ParseYamlTree(text);
  MessageReader reader;
  for (const YamlProblem& problem : tree.problems) reader.AddProblem(problem.place, problem.problem);
  if (!tree.complete) return reader.Result(text, file_name);
  const std::unique_ptr<Message> read(message->New());
  read->CopyFrom(*message);
  reader.ReadRoot(tree.root, read.get());
  for (const std::string& override_text : overrides) reader.SetOverride(override_text, read.get());
  ApplyDefaults(read.get());
  reader.CheckRules(*read, more_rules);
  BALLAST_RETURN_IF_ERROR(reader.Result(text, file_name));
  message->GetReflection()->Swap(message, read.get());
  return absl::OkStatus();
}

absl::Status ReadFrom(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                      const MoreRules& more_rules, Message* message) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return absl::InvalidArgumentError(fmt::format("{} is a directory; name a file in it", path.string()));
  }
  const absl::StatusOr<std::string> text = base::ReadFile(path, kMostFileBytes);
  if (absl::IsResourceExhausted(text.status())) {
    return absl::InvalidArgumentError(
        fmt::format("{}: larger than 4 MiB, the most that a file may have", path.string()));
  }
  BALLAST_RETURN_IF_ERROR(text.status());
  return Read(*text, path.string(), overrides, more_rules, message);
}

}  // namespace

absl::Status ReadYaml(std::string_view text, std::string_view file_name, Message* message) {
  return Read(text, file_name, {}, {}, message);
}

absl::Status ReadYaml(std::string_view text, std::string_view file_name, const MoreRules& more_rules,
                      Message* message) {
  return Read(text, file_name, {}, more_rules, message);
}

absl::Status ReadYamlFile(const std::filesystem::path& path, Message* message) {
  return ReadFrom(path, {}, {}, message);
}

absl::Status ReadYamlFile(const std::filesystem::path& path, const MoreRules& more_rules, Message* message) {
  return ReadFrom(path, {}, more_rules, message);
}

absl::Status ReadYamlFile(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                          Message* message) {
  return ReadFrom(path, overrides, {}, message);
}

}  // namespace ballast::config
