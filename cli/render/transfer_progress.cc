#include "cli/render/transfer_progress.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw(200);
constexpr std::chrono::seconds kLine(10);

}  // namespace

TransferProgress::TransferProgress(Context& context, std::string what, std::uint64_t total_bytes)
    : context_(context), what_(std::move(what)), total_bytes_(total_bytes) {}

TransferProgress::~TransferProgress() {
  if (drawn_) context_.err << "\r\x1b[K" << std::flush;
}

void TransferProgress::Update(std::uint64_t done_bytes) {
  const std::chrono::nanoseconds now = context_.clock.Monotonic();
  const std::chrono::nanoseconds interval =
      context_.terminal.err_is_live ? std::chrono::nanoseconds(kRedraw) : std::chrono::nanoseconds(kLine);
  if (!begun_) {
    begun_ = now;
    first_bytes_ = done_bytes;
    next_ = now + interval;
  }
  if (now < next_) return;
  next_ = now + interval;
  const double percent =
      total_bytes_ == 0 ? 100.0 : 100.0 * static_cast<double>(done_bytes) / static_cast<double>(total_bytes_);
  const double pace = static_cast<double>(done_bytes - first_bytes_) / base::ToSeconds(now - *begun_);
  const std::string line =
      fmt::format("{}: {} of {} ({:.0f} %), {}/s", what_, base::FormatBytes(done_bytes),
                  base::FormatBytes(total_bytes_), percent, base::FormatBytes(static_cast<std::uint64_t>(pace)));
  if (context_.terminal.err_is_live) {
    context_.err << "\r" << line << "\x1b[K" << std::flush;
    drawn_ = true;
  } else {
    context_.err << line << "\n" << std::flush;
  }
}

}  // namespace ballast::cli
