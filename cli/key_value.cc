#include "cli/key_value.h"

#include <algorithm>
#include <cctype>
#include <cstddef>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_text.h"

namespace ballast::cli {

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(part.size() == text.size() ? part.size() : part.size() + 1);
    if (!part.empty()) parts.emplace_back(part);
  }
  return parts;
}

namespace {

// That every part between the commas of a list says something: what was left out may be what was meant.
absl::Status CheckNoneEmpty(const std::string& flag, std::string_view text) {
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    if (text.substr(begin, end - begin).find_first_not_of(' ') == std::string_view::npos) {
      return WithNextStep(
          absl::InvalidArgumentError(fmt::format("{}: at {} of {}: expected key=value, not {}", flag, begin + 1,
                                                 base::Quoted(text), end == text.size() ? "the end" : "a comma")),
          fmt::format("{} key=value,key=value", flag));
    }
    if (end == text.size()) return absl::OkStatus();
    begin = end + 1;
  }
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParsePairs(const std::string& flag,
                                                              const std::vector<std::string>& texts, bool list) {
  std::map<std::string, std::string> pairs;
  for (const std::string& text : texts) {
    if (list) BALLAST_RETURN_IF_ERROR(CheckNoneEmpty(flag, text));
    for (const std::string& part : list ? SplitList(text) : std::vector<std::string>{text}) {
      const std::size_t equals = part.find('=');
      if (equals == std::string::npos || equals == 0) {
        return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {} is not a pair", flag, base::Quoted(part))),
                            fmt::format("{} key=value", flag));
      }
      const std::string key = part.substr(0, equals);
      const std::string value = part.substr(equals + 1);
      const auto [existing, added] = pairs.emplace(key, value);
      if (!added && existing->second != value) {
        return WithNextStep(
            absl::InvalidArgumentError(fmt::format("{}: {} has two values, {} and {}", flag, base::Quoted(key),
                                                   base::Quoted(existing->second), base::Quoted(value))),
            "give it once");
      }
    }
  }
  return pairs;
}

std::string EnumStyle(std::string_view text) {
  std::string name(text);
  for (char& c : name) {
    const bool joins = c == '-' || c == '+' || c == '.';
    c = joins ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

absl::StatusOr<int> ParseEnumName(const std::string& flag, const std::string& text,
                                  const google::protobuf::EnumDescriptor& type) {
  const std::string name = EnumStyle(text);
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() == 0) continue;  // UNSPECIFIED is nobody's choice
    if (type.value(i)->name() == name) return type.value(i)->number();
    names.push_back(type.value(i)->name());
  }
  const std::string near = config::DidYouMean(name, names);
  return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {} is not one of its values{}", flag,
                                                             base::Quoted(text), near.empty() ? "" : "; " + near)),
                      fmt::format("one of {}", fmt::join(names, ", ")));
}

}  // namespace ballast::cli
