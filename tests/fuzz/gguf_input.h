// One input of the GGUF reader, for the fuzzer and for the test that goes through its corpus.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "common/gguf/model_file.h"
#include "common/gguf/model_shape.h"
#include "common/gguf/quant_mix.h"

namespace ballast::gguf {

// Parses any bytes, and aborts where a model that was accepted breaks what model_file.h promises.
inline void TryModelBytes(std::string_view bytes) {
  const auto require = [](bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "an accepted model breaks a promise: %s\n", what);
    std::abort();
  };
  MemoryByteSource source(bytes);
  const auto model = ParseModelFile(source);
  if (!model.ok()) {
    require(!model.status().message().empty(), "an error says what is wrong");
    return;
  }
  require(model->parts.size() == 1, "one file is one part");
  require(model->key_values.size() <= kMaxKeyValues && model->tensors.size() <= kMaxTensors, "counts are bounded");
  std::uint64_t end = 0;
  std::uint64_t total = 0;
  for (const Tensor& tensor : model->tensors) {
    require(tensor.offset_bytes >= end, "tensors do not overlap");
    end = tensor.offset_bytes + tensor.size_bytes;
    require(model->PositionOf(tensor) <= bytes.size() && tensor.size_bytes <= bytes.size() - model->PositionOf(tensor),
            "a tensor lies inside the file");
    require(TensorBytes(tensor.type, tensor.element_count()) == tensor.size_bytes,
            "a size follows from the dimensions");
    require(model->FindTensor(tensor.name) == &tensor, "a name stands once");
    total += tensor.size_bytes;
  }
  require(total == model->tensor_bytes, "sizes add up");
  for (const KeyValue& entry : model->key_values) {
    require(model->Find(entry.key) == &entry, "a key stands once");
    const ValueExtent* const extent = model->Extent(entry.key);
    require(extent == nullptr ||
                (extent->position_bytes <= bytes.size() && extent->size_bytes <= bytes.size() - extent->position_bytes),
            "an array lies inside the file");
  }
  static_cast<void>(ShapeOf(*model));
  static_cast<void>(LevelOf(*model));
}

}  // namespace ballast::gguf
