// The framing of the spool's files: [u32 length][u32 CRC32C of the payload][payload], integers little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ballast::agent {

// Bytes of a frame before its payload.
inline constexpr std::size_t kFrameHeaderBytes = 8;

// Largest payload: the largest chunk body with room for its header. A greater length on disk is damage.
inline constexpr std::size_t kMaxFramePayloadBytes = 24U << 20U;

// Appends one frame to `out`. The payload has 1 to kMaxFramePayloadBytes bytes.
void AppendFrame(std::string_view payload, std::string* out);

// The payload of the frame that begins at `offset`; nothing where there is no whole and undamaged frame.
[[nodiscard]] std::optional<std::string_view> FrameAt(std::string_view content, std::size_t offset);

// What a scan found besides the frames.
struct FrameScan {
  std::size_t clean_bytes = 0;     // end of the last good frame: whoever appends cuts the file here
  std::size_t skipped_frames = 0;  // damaged frames between good ones
  std::size_t lost_bytes =
      0;  // bytes after `clean_bytes` that make no frame: a torn tail, or damage that hides the rest
};

// Visits every good frame from the beginning: its offset and payload. A frame whose checksum is wrong is passed over
// when a good one follows where its length says; otherwise nothing behind it can be found. Never fails: content comes
// from a disk that may have lost power.
FrameScan ScanFrames(std::string_view content, const std::function<void(std::size_t, std::string_view)>& visit);

}  // namespace ballast::agent
