// A directory of its own on a disk for a test's files, removed after the test.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace ballast::model {

class ModelDirectory {
 public:
  ModelDirectory() {
    // Not below /tmp, which is kept in memory on many machines: pages there are never put out of the cache.
    std::string name = "/var/tmp/ballast-model-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~ModelDirectory() { std::filesystem::remove_all(path_); }
  ModelDirectory(const ModelDirectory&) = delete;
  ModelDirectory& operator=(const ModelDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  std::filesystem::path Write(const std::string& name, std::string_view content) const {
    std::filesystem::path file = path_ / name;
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }
  std::filesystem::path WriteRandom(const std::string& name, std::size_t bytes) const {
    std::mt19937_64 random(bytes);
    std::vector<std::uint64_t> words(bytes / sizeof(std::uint64_t) + 1);
    for (std::uint64_t& word : words) word = random();
    return Write(name, std::string_view(reinterpret_cast<const char*>(words.data()), bytes));
  }

 private:
  std::filesystem::path path_;
};

}  // namespace ballast::model
