#include "golden_file.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "common/base/file.h"

namespace ballast::report {

testing::AssertionResult MatchesGoldenFile(std::string_view content, const std::filesystem::path& path) {
  constexpr char kHowToUpdate[] = "run this test with BALLAST_UPDATE_GOLDEN=1 to write it, and look at the change";
  const char* update = std::getenv("BALLAST_UPDATE_GOLDEN");
  if (update != nullptr && std::string_view(update) == "1") {
    const absl::Status written = base::WriteFileAtomically(path, content);
    if (!written.ok()) return testing::AssertionFailure() << written;
    return testing::AssertionSuccess();
  }
  const absl::StatusOr<std::string> golden = base::ReadFile(path);
  if (!golden.ok()) return testing::AssertionFailure() << golden.status() << "; " << kHowToUpdate;
  if (content == *golden) return testing::AssertionSuccess();
  const auto [mine, theirs] = std::ranges::mismatch(content, *golden);
  const auto line = 1 + std::count(content.begin(), mine, '\n');
  return testing::AssertionFailure() << path << " differs from line " << line
                                     << " on:\n  here:   " << std::string(mine, content.end()).substr(0, 100)
                                     << "\n  golden: " << std::string(theirs, golden->end()).substr(0, 100) << "\n"
                                     << kHowToUpdate;
}

}  // namespace ballast::report
