// A YAML document as a tree whose nodes know their places. Private to common/config.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ballast::config {

// Where something stands in a document, counted from 0, in bytes.
struct YamlPlace {
  std::size_t line = 0;
  std::size_t column = 0;

  friend auto operator<=>(const YamlPlace&, const YamlPlace&) = default;
};

// Something wrong at a place: one sentence.
struct YamlProblem {
  YamlPlace place;
  std::string problem;
};

struct YamlNode {
  enum class Kind {
    kNull,
    kScalar,
    kSequence,
    kMapping,
    // Something refused, of which the problems already tell.
    kRefused,
  };
  Kind kind = Kind::kNull;
  YamlPlace place;
  std::string text;             // of a scalar
  std::vector<YamlNode> items;  // of a sequence; of a mapping: key, value, key, value, …
};

// What came of a document.
struct YamlTree {
  YamlNode root;
  std::vector<YamlProblem> problems;
  bool complete = false;  // false where a problem kept the rest of the document from being read
};

// Reads one document of at most 4 MiB, 200,000 values and 64 levels. Aliases, anchors, tags and further documents are
// problems. An empty document has a null root. Never throws.
[[nodiscard]] YamlTree ParseYamlTree(std::string_view text);

// The place as people count: `LINE:COLUMN` from 1, columns in characters. Takes time that grows with the text.
[[nodiscard]] std::string PlaceText(std::string_view text, const YamlPlace& place);

}  // namespace ballast::config
