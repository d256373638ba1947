#include "common/metrics/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace ballast::metrics {
namespace {

constexpr std::uint32_t kReversedPolynomial = 0x82f63b78;

// kTables[k][b] is the effect of byte b followed by k zero bytes, so that eight bytes can be taken in one step.
constexpr std::array<std::array<std::uint32_t, 256>, 8> MakeTables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kReversedPolynomial : 0U);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8U) ^ tables[0][before & 0xffU];
    }
  }
  return tables;
}

constexpr auto kTables = MakeTables();

std::uint32_t AddByte(std::uint32_t crc, char byte) {
  return (crc >> 8U) ^ kTables[0][(crc ^ static_cast<unsigned char>(byte)) & 0xffU];
}

// The words are read in the machine's own order; every platform this project is built for is little-endian.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

std::uint64_t LoadWord(const char* data) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, sizeof(word));
  return word;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t ByInstruction(std::string_view data) {
  std::uint64_t crc = 0xffffffffU;
  while (data.size() >= 8) {
    crc = _mm_crc32_u64(crc, LoadWord(data.data()));
    data.remove_prefix(8);
  }
  auto narrow = static_cast<std::uint32_t>(crc);
  for (const char byte : data) narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(byte));
  return ~narrow;
}

bool HasInstruction() {
  return __builtin_cpu_supports("sse4.2") != 0;
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) std::uint32_t ByInstruction(std::string_view data) {
  std::uint32_t crc = 0xffffffffU;
  while (data.size() >= 8) {
    crc = __crc32cd(crc, LoadWord(data.data()));
    data.remove_prefix(8);
  }
  for (const char byte : data) crc = __crc32cb(crc, static_cast<unsigned char>(byte));
  return ~crc;
}

bool HasInstruction() {
  return (::getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}
#else
std::uint32_t ByInstruction(std::string_view data) {
  return Crc32cPortable(data);
}

bool HasInstruction() {
  return false;
}
#endif

}  // namespace

std::uint32_t Crc32cPortable(std::string_view data) {
  std::uint32_t crc = 0xffffffffU;
  while (data.size() >= 8) {
    const std::uint64_t word = LoadWord(data.data()) ^ crc;
    crc = 0;
    for (unsigned i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xffU];
    data.remove_prefix(8);
  }
  for (const char byte : data) crc = AddByte(crc, byte);
  return ~crc;
}

std::uint32_t Crc32c(std::string_view data) {
  static const bool has_instruction = HasInstruction();
  return has_instruction ? ByInstruction(data) : Crc32cPortable(data);
}

}  // namespace ballast::metrics
