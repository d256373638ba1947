#include "common/config/yaml_tree.h"

#include <algorithm>
#include <exception>
#include <istream>
#include <streambuf>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "common/base/text.h"

namespace ballast::config {
namespace {

constexpr std::size_t kMostBytes = 4U << 20U;
constexpr std::size_t kMostValues = 200'000;
constexpr std::size_t kMostLevels = 64;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string_view WithoutByteOrderMark(std::string_view text) {
  return text.substr(0, kByteOrderMark.size()) == kByteOrderMark ? text.substr(kByteOrderMark.size()) : text;
}

YamlPlace PlaceOf(const YAML::Mark& mark) {
  // Errors without a place have the mark -1:-1.
  return {static_cast<std::size_t>(std::max(mark.line, 0)), static_cast<std::size_t>(std::max(mark.column, 0))};
}

YamlPlace PlaceAt(std::string_view text, std::size_t position) {
  const std::string_view before = text.substr(0, position);
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return {static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')), position - line_start};
}

// Reads from memory that it does not own.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* const begin = const_cast<char*>(text.data());  // only ever read
    setg(begin, begin, begin + text.size());
  }
};

// Leaves the parser's recursion; never leaves this file.
struct Abandoned {
  YamlProblem problem;
};

// Builds the tree. The parser's events are used rather than its own nodes, which hide repeated keys, aliases and depth.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(YamlTree* tree) : tree_(*tree) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) throw Abandoned{{PlaceOf(mark), "a second document begins here; a file holds one"}};
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Make(YamlNode::Kind::kNull, mark, "", anchor));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    Refuse(mark, "aliases (*name) are not supported; write the value out");
    Add(Make(YamlNode::Kind::kRefused, mark, "", YAML::NullAnchor));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = Make(YamlNode::Kind::kScalar, mark, tag, anchor);
    node.text = value;
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    Open(Make(YamlNode::Kind::kSequence, mark, tag, anchor));
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(Make(YamlNode::Kind::kMapping, mark, tag, anchor));
  }
  void OnMapEnd() override { Close(); }

 private:
  void Refuse(const YAML::Mark& mark, std::string problem) {
    tree_.problems.push_back({PlaceOf(mark), std::move(problem)});
  }

  YamlNode Make(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (++values_ > kMostValues) {
      throw Abandoned{{PlaceOf(mark), fmt::format("more than {} values in one file", kMostValues)}};
    }
    YamlNode node;
    node.kind = kind;
    node.place = PlaceOf(mark);
    if (anchor != YAML::NullAnchor) Refuse(mark, "anchors (&name) are not supported; leave it out");
    // The parser gives `?` to what has no tag and `!` to what is quoted.
    if (!tag.empty() && tag != "?" && tag != "!") {
      Refuse(mark, fmt::format("tags ({}) are not supported; leave it out", base::Quoted(tag)));
    }
    return node;
  }

  void Open(YamlNode node) {
    if (open_.size() == kMostLevels) {
      throw Abandoned{{node.place, fmt::format("nested deeper than {} levels", kMostLevels)}};
    }
    open_.push_back(std::move(node));
  }

  void Close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    Add(std::move(node));
  }

  void Add(YamlNode node) {
    if (open_.empty()) {
      tree_.root = std::move(node);
    } else {
      open_.back().items.push_back(std::move(node));
    }
  }

  YamlTree& tree_;
  std::vector<YamlNode> open_;
  std::size_t documents_ = 0;
  std::size_t values_ = 0;
};

}  // namespace

YamlTree ParseYamlTree(std::string_view text) {
  YamlTree tree;
  text = WithoutByteOrderMark(text);
  const auto refused = [&tree](YamlPlace place, std::string problem) {
    tree.problems.push_back({place, std::move(problem)});
    return std::move(tree);
  };
  if (text.size() > kMostBytes) return refused({}, "larger than 4 MiB, the most that a file may have");
  // The parser would guess other encodings and replace what is damaged.
  if (const std::size_t position = text.find('\0'); position != std::string_view::npos) {
    return refused(PlaceAt(text, position), "a zero byte; the file must be UTF-8 text");
  }
  if (const std::size_t position = base::FindInvalidUtf8(text); position != std::string_view::npos) {
    return refused(PlaceAt(text, position), "not UTF-8; save the file in that encoding");
  }
  TreeBuilder builder(&tree);
  try {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    tree.complete = true;
  } catch (const Abandoned& abandoned) {
    tree.problems.push_back(abandoned.problem);
  } catch (const YAML::Exception& error) {
    tree.problems.push_back({PlaceOf(error.mark), fmt::format("not valid YAML: {}", error.msg)});
  } catch (const std::exception& error) {
    tree.problems.push_back({{}, fmt::format("not valid YAML: {}", error.what())});
  }
  return tree;
}

std::string PlaceText(std::string_view text, const YamlPlace& place) {
  text = WithoutByteOrderMark(text);
  for (std::size_t line = 0; line < place.line; ++line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  const std::string_view before = text.substr(0, place.column);
  // Every byte of a UTF-8 character but the first is 10xxxxxx.
  const auto inside = std::count_if(before.begin(), before.end(),
                                    [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; });
  return fmt::format("{}:{}", place.line + 1, place.column + 1 - static_cast<std::size_t>(inside));
}

}  // namespace ballast::config
