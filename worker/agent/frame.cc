#include "worker/agent/frame.h"

#include "common/metrics/chunk_codec.h"

namespace ballast::agent {
namespace {

void AppendU32(std::uint32_t value, std::string* out) {
  for (unsigned shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>((value >> shift) & 0xFFU));
}

std::uint32_t ReadU32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i)
    value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << (8U * i);
  return value;
}

// The payload's length where the header is possible and the payload lies within the content. Zero is impossible: a file
// that was extended but not written before the power went holds zeros, whose checksum would even be right.
std::optional<std::size_t> PlausibleLength(std::string_view content, std::size_t offset) {
  if (offset > content.size() || content.size() - offset < kFrameHeaderBytes) return std::nullopt;
  const std::size_t length = ReadU32(content.substr(offset));
  if (length == 0 || length > kMaxFramePayloadBytes) return std::nullopt;
  if (content.size() - offset - kFrameHeaderBytes < length) return std::nullopt;
  return length;
}

}  // namespace

void AppendFrame(std::string_view payload, std::string* out) {
  out->reserve(out->size() + kFrameHeaderBytes + payload.size());
  AppendU32(static_cast<std::uint32_t>(payload.size()), out);
  AppendU32(metrics::Crc32c(payload), out);
  out->append(payload);
}

std::optional<std::string_view> FrameAt(std::string_view content, std::size_t offset) {
  const std::optional<std::size_t> length = PlausibleLength(content, offset);
  if (!length) return std::nullopt;
  const std::string_view payload = content.substr(offset + kFrameHeaderBytes, *length);
  if (metrics::Crc32c(payload) != ReadU32(content.substr(offset + 4))) return std::nullopt;
  return payload;
}

FrameScan ScanFrames(std::string_view content, const std::function<void(std::size_t, std::string_view)>& visit) {
  FrameScan scan;
  std::size_t offset = 0;
  while (offset < content.size()) {
    if (const std::optional<std::string_view> payload = FrameAt(content, offset)) {
      visit(offset, *payload);
      offset += kFrameHeaderBytes + payload->size();
      scan.clean_bytes = offset;
      continue;
    }
    const std::optional<std::size_t> length = PlausibleLength(content, offset);
    if (!length || !FrameAt(content, offset + kFrameHeaderBytes + *length)) break;
    ++scan.skipped_frames;
    offset += kFrameHeaderBytes + *length;
  }
  scan.lost_bytes = content.size() - scan.clean_bytes;
  return scan;
}

}  // namespace ballast::agent
