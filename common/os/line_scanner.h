// The small pieces that the parsers of /proc and of cgroup files share.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

namespace ballast::os {

// Cuts the first line off `*text`, without its newline. False at the end.
inline bool NextLine(std::string_view* text, std::string_view* line) {
  if (text->empty()) return false;
  const std::size_t end = text->find('\n');
  *line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return true;
}

// Cuts the first word (of anything but blanks) off `*text`. False where none is left.
inline bool NextWord(std::string_view* text, std::string_view* word) {
  constexpr std::string_view kBlanks = " \t\n\r";
  const std::size_t begin = text->find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return false;
  text->remove_prefix(begin);
  const std::size_t end = text->find_first_of(kBlanks);
  *word = text->substr(0, end);
  text->remove_prefix(word->size());
  return true;
}

// The whole of `word` as a number; nothing where it is none or does not fit.
template <typename Number>
std::optional<Number> ToNumber(std::string_view word) {
  Number value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

// The next word as a number. The word is used up even where it is none.
template <typename Number>
std::optional<Number> NextNumber(std::string_view* text) {
  std::string_view word;
  if (!NextWord(text, &word)) return std::nullopt;
  return ToNumber<Number>(word);
}

}  // namespace ballast::os
