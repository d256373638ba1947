// CRC32C (Castagnoli, RFC 3720): the checksum of chunks and of the worker's spool.
#pragma once

#include <cstdint>
#include <string_view>

namespace ballast::metrics {

// CRC32C of `data`; by the processor's own instruction where it has one (SSE4.2, ARMv8). Thread-safe.
[[nodiscard]] std::uint32_t Crc32c(std::string_view data);

// The same figure on any processor, by tables; Crc32c uses it where there is no instruction.
[[nodiscard]] std::uint32_t Crc32cPortable(std::string_view data);

}  // namespace ballast::metrics
