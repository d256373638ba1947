// The GGUF reader under libFuzzer: docs/models.md says how to run it.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/gguf_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ballast::gguf::TryModelBytes({reinterpret_cast<const char*>(data), size});
  return 0;
}
