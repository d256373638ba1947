// gguf_corpus DIRECTORY: writes what the fuzzer begins with, one file each.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/gguf_corpus.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "error: name the directory to write to\n  try: gguf_corpus build/fuzz/corpus\n");
    return 2;
  }
  const std::filesystem::path directory = argv[1];
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  for (const auto& [name, bytes] : ballast::gguf::GgufCorpus()) {
    std::ofstream file(directory / name, std::ios::binary);
    file << bytes;
    file.close();
    if (!file) {
      std::fprintf(stderr, "error: %s cannot be written\n", (directory / name).c_str());
      return 1;
    }
  }
  return 0;
}
