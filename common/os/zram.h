// zram: swap that is compressed memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/os/file_reader.h"

namespace ballast::os {

// What zram devices hold, all of them together.
struct ZramStat {
  std::uint64_t data_bytes = 0;        // what was written to them, not compressed
  std::uint64_t compressed_bytes = 0;  // the same, compressed
  std::uint64_t memory_bytes = 0;      // memory that takes, with what the allocator needs
};

// A device's mm_stat; nothing where it makes no sense.
[[nodiscard]] std::optional<ZramStat> ParseZramStat(std::string_view content);

// Reads all zram devices that were there when it was opened. Keeps their files open; Read() does not allocate.
// Move-only. Not thread-safe.
class ZramReader {
 public:
  // `root` is where /sys is found.
  explicit ZramReader(const std::string& root = "/");

  // Nothing where there is no device.
  [[nodiscard]] std::optional<ZramStat> Read(std::span<char> buffer);

 private:
  std::vector<FileReader> devices_;
};

}  // namespace ballast::os
