// Random damage to valid documents, from fixed seeds: the reader always returns a status, and what it accepts is valid.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "ballast/v1/config.pb.h"
#include "ballast/v1/job.pb.h"
#include "common/base/file.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "common/config/yaml.h"

namespace ballast::config {
namespace {

constexpr std::uint64_t kRounds = 1500;

std::vector<std::string> Documents() {
  std::vector<std::string> documents;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(BALLAST_CONFIGS_DIRECTORY)) {
    if (entry.is_regular_file()) documents.push_back(base::ReadFile(entry.path()).value());
  }
  std::sort(documents.begin(), documents.end());  // directories have no order; the seeds need one
  documents.emplace_back(
      "workload: {model: {load: {model_id: m, quant: Q4_K_M}, pressure: {sawtooth: {cycles: 2}}}}\n"
      "devices: {labels: {a: b, \"c\": 'd'}, device_ids: [x, \"y\"]}\n"
      "annotations:\n  ? long\n  : |\n    text\n  b: >-\n    folded\n");
  return documents;
}

// One change of the kind that breaks parsers: a byte, a piece of syntax, a piece of the document itself.
void Damage(std::mt19937_64* random, std::string* text) {
  static const std::vector<std::string> kPieces = {": ",
                                                   "- ",
                                                   "? ",
                                                   "&a ",
                                                   "*a ",
                                                   "!!str ",
                                                   "[",
                                                   "]",
                                                   "{",
                                                   "}",
                                                   ",",
                                                   "\n",
                                                   "\n\n",
                                                   "  ",
                                                   "\t",
                                                   "'",
                                                   "\"",
                                                   "|\n",
                                                   ">\n",
                                                   "#",
                                                   "%",
                                                   "---\n",
                                                   "...\n",
                                                   "\\x41",
                                                   "\\",
                                                   "\r",
                                                   "\xff",
                                                   "\xc2",
                                                   "~",
                                                   "<<: ",
                                                   "\xef\xbb\xbf",
                                                   "0",
                                                   "-1",
                                                   "99999999999999999999",
                                                   "1e308",
                                                   ".inf",
                                                   "true",
                                                   "null",
                                                   "@",
                                                   "`",
                                                   "\xe2\x80\xa8"};
  const auto position = [&] { return text->empty() ? 0 : (*random)() % (text->size() + 1); };
  const std::size_t at = position();
  switch ((*random)() % 6) {
    case 0:
      text->insert(at, kPieces[(*random)() % kPieces.size()]);
      break;
    case 1:
      text->erase(at, (*random)() % 8);
      break;
    case 2:
      if (at < text->size()) (*text)[at] = static_cast<char>((*random)() & 0xffU);
      break;
    case 3:
      text->insert(position(), text->substr(at, (*random)() % 40));
      break;
    case 4:
      text->resize(at);
      break;
    default: {
      std::string piece = kPieces[(*random)() % kPieces.size()];
      for (int i = 0; i < 7; ++i) piece += piece;
      text->insert(at, piece);
    }
  }
}

// Whether the text was accepted.
template <typename Message>
bool ReadDamaged(const std::string& text) {
  Message message;
  const absl::Status status = ReadYaml(text, "f", &message);
  if (status.ok()) {
    EXPECT_TRUE(FindViolations(message).empty()) << text;
    Message back;
    const absl::Status again = ReadYaml(WriteYaml(message), "written", &back);
    EXPECT_TRUE(again.ok()) << again << "\n" << text;
    EXPECT_EQ(WriteYaml(back), WriteYaml(message)) << text;
    return true;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(message.ByteSizeLong(), 0U) << "unchanged on failure";
  const std::vector<std::string> lines = absl::StrSplit(std::string(status.message()), '\n');
  for (const std::string& line : lines) EXPECT_EQ(line.compare(0, 2, "f:"), 0) << line << "\nin\n" << text;
  return false;
}

TEST(YamlFuzzTest, DamagedDocumentsGiveAStatus) {
  const std::vector<std::string> documents = Documents();
  int accepted = 0;
  for (std::uint64_t seed = 0; seed < kRounds; ++seed) {
    std::mt19937_64 random(seed);
    std::string text = documents[random() % documents.size()];
    for (std::uint64_t changes = 1 + random() % 6; changes > 0; --changes) Damage(&random, &text);
    SCOPED_TRACE(seed);
    accepted += ReadDamaged<v1::JobSpec>(text) ? 1 : 0;
    accepted += ReadDamaged<v1::WorkerConfig>(text) ? 1 : 0;
    if (HasFailure()) return;
  }
  // Damage that is always noticed at the first byte would test nothing behind it.
  EXPECT_GT(accepted, static_cast<int>(kRounds / 50));
  EXPECT_LT(accepted, static_cast<int>(kRounds));
}

TEST(YamlFuzzTest, RandomPathsAndTextsGiveAStatus) {
  const std::vector<std::string> names = {
      "workload",    "pressure", "burst",        "target_percent", "devices", "labels", "device_ids",
      "annotations", "priority", "policy",       "timeout",        "",        "x",      "[0]",
      "\xff",        "kind",     "quantization", "quant_levels",   "all"};
  const std::vector<std::string> texts = {
      "", "{}", "5", "50%", "true", "1s", "-1", "\xff", "Q4", "FLOOR", "99999999999999999999", "nan"};
  for (std::uint64_t seed = 0; seed < 5000; ++seed) {
    std::mt19937_64 random(seed);
    v1::JobSpec spec;
    std::string path;
    for (std::uint64_t parts = 1 + random() % 5; parts > 0; --parts)
      path += (path.empty() ? "" : ".") + names[random() % names.size()];
    const absl::Status status = SetField(&spec, path, texts[random() % texts.size()]);
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status) || absl::IsNotFound(status)) << status;
    if (!status.ok()) {
      EXPECT_EQ(spec.ByteSizeLong(), 0U) << path;
    }
  }
}

}  // namespace
}  // namespace ballast::config
