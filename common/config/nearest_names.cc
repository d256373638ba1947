#include <algorithm>
#include <cctype>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/config/field_text.h"
#include "common/config/field_value.h"

namespace ballast::config {
namespace {

constexpr std::size_t kMostSuggestions = 3;
constexpr std::size_t kLongestName = 64;  // nobody mistypes more, and the distance takes the product of the lengths
constexpr std::size_t kFar = 1000;
constexpr std::size_t kContainedDistance = 4;  // behind what is only mistyped

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (Damerau-Levenshtein, each place
// edited once).
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({last[j] + 1, current[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, current);
  }
  return last[b.size()];
}

// Whether `name` is a run of whole words of `candidate`: `target` and `percent` are of `target_percent`, `cent` is not.
bool IsPartOf(std::string_view name, std::string_view candidate) {
  return name.size() >= 3 &&
         ("_" + std::string(candidate) + "_").find("_" + std::string(name) + "_") != std::string::npos;
}

std::size_t Distance(std::string_view name, std::string_view candidate) {
  const std::size_t distance = EditDistance(name, candidate);
  if (distance <= std::max<std::size_t>(1, name.size() / 3)) return distance;
  if (IsPartOf(name, candidate) || IsPartOf(candidate, name)) return kContainedDistance;
  return kFar;
}

}  // namespace

std::vector<std::string> NearestNames(std::string_view name, const std::vector<std::string>& candidates) {
  if (name.empty() || name.size() > kLongestName) return {};
  const std::string lower = Lower(name);
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const std::string& candidate : candidates) {
    if (candidate.empty() || candidate.size() > kLongestName) continue;
    const std::size_t distance = Distance(lower, Lower(candidate));
    if (distance < kFar) near.emplace_back(distance, candidate);
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (const auto& [distance, candidate] : near) {
    if (names.size() < kMostSuggestions) names.push_back(candidate);
  }
  return names;
}

std::string DidYouMean(std::string_view name, const std::vector<std::string>& candidates) {
  std::vector<std::string> names = NearestNames(name, candidates);
  if (names.empty()) return "";
  for (std::string& nearest : names) nearest = fmt::format("'{}'", nearest);
  return fmt::format("did you mean {}?", Alternatives(names));
}

}  // namespace ballast::config
