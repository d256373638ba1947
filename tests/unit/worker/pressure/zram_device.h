// A compressed block device of the kernel's own, for finding out what it makes of pages.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "common/base/fd.h"

namespace ballast::pressure {

// Owns one zram device that is no swap; removed on destruction. Move-only.
class ZramDevice {
 public:
  // Nothing where the kernel or the rights for it are missing, or where the kernel lacks the algorithm.
  static std::optional<ZramDevice> Create(const std::string& algorithm, std::uint64_t bytes) {
    std::ifstream hot_add("/sys/class/zram-control/hot_add");  // reading it adds one
    int number = -1;
    if (!(hot_add >> number)) return std::nullopt;
    ZramDevice device(number);
    if (!device.Write("comp_algorithm", algorithm) || !device.Write("disksize", std::to_string(bytes))) {
      return std::nullopt;
    }
    device.fd_.Reset(::open(("/dev/zram" + std::to_string(number)).c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    if (!device.fd_.valid()) return std::nullopt;
    return device;
  }

  ZramDevice(ZramDevice&& other) noexcept : number_(other.number_), fd_(std::move(other.fd_)) { other.number_ = -1; }
  ZramDevice& operator=(ZramDevice&&) = delete;
  ~ZramDevice() {
    if (number_ < 0) return;
    fd_.Reset();
    static_cast<void>(Write("reset", "1"));
    std::ofstream("/sys/class/zram-control/hot_remove") << number_ << std::flush;
  }

  // Writes pages to the beginning of the device. `data` is aligned to 4096 and `bytes` a multiple of it.
  [[nodiscard]] bool Store(const void* data, std::size_t bytes) const {
    return ::pwrite(fd_.get(), data, bytes, 0) == static_cast<ssize_t>(bytes);
  }

  // Bytes stored over the bytes that they compressed to, by the kernel's count.
  [[nodiscard]] double Ratio() const {
    std::ifstream stat("/sys/block/zram" + std::to_string(number_) + "/mm_stat");
    double original = 0;
    double compressed = 0;
    stat >> original >> compressed;
    return compressed > 0 ? original / compressed : 0;
  }

 private:
  explicit ZramDevice(int number) : number_(number) {}

  [[nodiscard]] bool Write(const std::string& attribute, const std::string& text) const {
    std::ofstream file("/sys/block/zram" + std::to_string(number_) + "/" + attribute);
    file << text << std::flush;
    return file.good();
  }

  int number_;
  base::Fd fd_;
};

}  // namespace ballast::pressure
