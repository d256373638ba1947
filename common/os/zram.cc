#include "common/os/zram.h"

#include <filesystem>
#include <system_error>

#include "common/os/line_scanner.h"

namespace ballast::os {

std::optional<ZramStat> ParseZramStat(std::string_view content) {
  // orig_data_size compr_data_size mem_used_total …: Documentation/admin-guide/blockdev/zram.rst
  ZramStat stat;
  for (std::uint64_t* const field : {&stat.data_bytes, &stat.compressed_bytes, &stat.memory_bytes}) {
    const std::optional<std::uint64_t> number = NextNumber<std::uint64_t>(&content);
    if (!number) return std::nullopt;
    *field = *number;
  }
  return stat;
}

ZramReader::ZramReader(const std::string& root) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(std::filesystem::path(root) / "sys/block", error), end;
       !error && entry != end; entry.increment(error)) {
    if (!entry->path().filename().string().starts_with("zram")) continue;
    FileReader reader = FileReader::OpenOptional(entry->path() / "mm_stat");
    if (reader.valid()) devices_.push_back(std::move(reader));
  }
}

std::optional<ZramStat> ZramReader::Read(std::span<char> buffer) {
  std::optional<ZramStat> sum;
  for (FileReader& device : devices_) {
    const auto text = device.Read(buffer);
    const auto stat = text ? ParseZramStat(*text) : std::nullopt;
    if (!stat) continue;
    if (!sum) sum.emplace();
    sum->data_bytes += stat->data_bytes;
    sum->compressed_bytes += stat->compressed_bytes;
    sum->memory_bytes += stat->memory_bytes;
  }
  return sum;
}

}  // namespace ballast::os
