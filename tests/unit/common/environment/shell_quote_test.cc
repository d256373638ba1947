#include "common/environment/shell_quote.h"

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

namespace ballast::profiles {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What a real shell makes of the words: each ends with a NUL byte on its standard output.
std::vector<std::string> SplitBySh(const std::string& line) {
  const std::string command = "printf '%s\\0' " + line;
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  std::vector<std::string> words;
  std::string word;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
    if (c == 0) {
      words.push_back(std::exchange(word, std::string()));
    } else {
      word += static_cast<char>(c);
    }
  }
  ::pclose(pipe);
  return words;
}

// What cmd.exe makes of a line: percent signs first, then carets and quotes. Variables are not set, except for PATH.
std::string ReadByCmd(std::string_view line, bool batch) {
  std::string expanded;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '%') {
      expanded += line[i];
      continue;
    }
    if (batch && line.substr(i).starts_with("%%")) {
      expanded += '%';
      ++i;
      continue;
    }
    const std::size_t end = line.find('%', i + 1);
    const std::string_view name = end == std::string_view::npos ? "" : line.substr(i + 1, end - i - 1);
    if (name == "PATH") {
      expanded += "C:\\bin";
      i = end;
    } else if (!batch) {
      expanded += '%';  // what is not set stays at the prompt
    } else if (end != std::string_view::npos) {
      i = end;  // and is nothing in a file
    }
  }
  std::string read;
  bool in_quotes = false;
  for (std::size_t i = 0; i < expanded.size(); ++i) {
    const char c = expanded[i];
    if (c == '^' && !in_quotes) {
      if (++i < expanded.size()) read += expanded[i];
      continue;
    }
    if (c == '"') in_quotes = !in_quotes;
    if (!in_quotes && std::string_view("&|<>").find(c) != std::string_view::npos) return "<ended by " + read + ">";
    read += c;
  }
  return read;
}

// The rules of Microsoft's C runtime.
std::vector<std::string> SplitByRuntime(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool in_quotes = false;
  bool any = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    std::size_t backslashes = 0;
    while (i < line.size() && line[i] == '\\') {
      ++backslashes;
      ++i;
    }
    const bool quote = i < line.size() && line[i] == '"';
    word.append(quote ? backslashes / 2 : backslashes, '\\');
    any = any || backslashes > 0;
    if (i == line.size()) break;
    if (quote) {
      any = true;
      if (backslashes % 2 == 1) {
        word += '"';
      } else {
        in_quotes = !in_quotes;
      }
    } else if (!in_quotes && (line[i] == ' ' || line[i] == '\t')) {
      if (any) words.push_back(word);
      word.clear();
      any = false;
    } else {
      word += line[i];
      any = true;
    }
  }
  if (any) words.push_back(word);
  return words;
}

std::vector<std::string> HardWords() {
  std::vector<std::string> words = {
      "",           "plain",       "two words", "极限2GB模式", "a'b\"c", "%PATH%",     "100%",         "%%PATH%%",
      "^",          "a^b&c|d<e>f", "(x)",       "!x!",         "end\\",  "a b\\",      "\\\\srv\\x y", "\\\"",
      "$HOME `id`", "~",           "a=b",       "-x",          "*?[a]",  "#c",         ";,",           "\tt",
      "'single'",   "\"quoted\"",  "a\\\\\"b",  "C:\\dir",     "%PATH",  "x%PATH%y\"z"};
  for (int c = 1; c < 256; ++c) {
    words.push_back(std::string("a") + static_cast<char>(c) + "b");
    words.push_back(std::string(1, static_cast<char>(c)));
  }
  return words;
}

TEST(ShellQuoteTest, AShellGivesBackEveryByte) {
  const std::vector<std::string> words = HardWords();
  const auto line = QuoteCommand(Shell::kSh, words);
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(SplitBySh(*line), words);
  const std::vector<std::string> lines = {"two\nlines", "\n", "'\n'"};
  EXPECT_EQ(SplitBySh(*QuoteCommand(Shell::kSh, lines)), lines);
}

TEST(ShellQuoteTest, CmdGivesBackEveryByteAtThePromptAndInAFile) {
  std::vector<std::string> words = HardWords();
  std::erase_if(words, [](const std::string& word) { return word.find_first_of("\r\n") != std::string::npos; });
  for (const Shell shell : {Shell::kCmd, Shell::kBatch}) {
    const auto line = QuoteCommand(shell, words);
    ASSERT_TRUE(line.ok());
    EXPECT_EQ(SplitByRuntime(ReadByCmd(*line, shell == Shell::kBatch)), words);
  }
}

TEST(ShellQuoteTest, WhatNeedsNoQuotesHasNone) {
  const std::vector<std::string> words = {"docker", "run", "--memory=3800m", "debian:12", "C:\\x"};
  EXPECT_EQ(QuoteCommand(Shell::kSh, words).value(), "docker run --memory=3800m debian:12 'C:\\x'");
  EXPECT_EQ(QuoteCommand(Shell::kBatch, words).value(), "docker run --memory=3800m debian:12 C:\\x");
}

TEST(ShellQuoteTest, WhatCannotBeWrittenIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(QuoteWord(Shell::kSh, std::string_view("a\0b", 3)).status()));
  for (const Shell shell : {Shell::kCmd, Shell::kBatch}) {
    EXPECT_TRUE(absl::IsInvalidArgument(QuoteWord(shell, "a\nb").status()));
    EXPECT_THAT(std::string(QuoteWord(shell, "a\rb").status().message()), HasSubstr("'a\\x0db' has a line end"));
  }
}

TEST(ShellQuoteTest, ShellsAreNamed) {
  EXPECT_EQ(ParseShell("bat").value(), Shell::kBatch);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseShell("bash").status()));
}

}  // namespace
}  // namespace ballast::profiles
