// How much memory a load of a model needs, worked out before it is tried. Reports set it against what was measured.
#pragma once

#include <cstdint>

#include "ballast/v1/model.pb.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::gguf {

// Resident memory of a runner before it loads anything: program, libraries, heap and stacks. Measured: 8.4 MiB of a
// worker that is linked statically (0.4 MiB of it anonymous), 16.3 MiB of one with shared libraries (1.8 MiB).
inline constexpr std::uint64_t kUsualRunnerBytes = std::uint64_t{8} << 20U;

// A pure function. Of `load` count: loader, lock, runtime, no_repack, context_tokens (0 as 512); unset enums as their
// defaults. Where each number comes from:
//
// - Weights. What is mapped (MMAP, MMAP_POPULATE) is memory of the file: the kernel may drop it and read it again, at
// the
//   cost of speed. What is read (READ, DIRECT) is anonymous: without swap it must fit. A lock makes what is mapped stay
//   as well. Measured with llama.cpp v0.5.0 and a model of 1,839 MiB: mapped 70 MiB anonymous and 1,843 MiB of files,
//   read 1,904 MiB anonymous, locked 1,834 MiB locked.
// - Repack. llama.cpp copies `repackable_bytes` into anonymous memory unless told not to, beside the map or instead of
//   reading them. Measured with the same model: 1,335 MiB anonymous, which is 1,265 MiB of repackable tensors and the
//   70 MiB from above. A processor with AMX copies more types than this counts.
// - KV cache. 2 (keys and values) × layers × KV heads × head length × context × 2 bytes (fp16), llama.cpp's default.
// All of
//   it is written when the context is made. The built-in loader has none.
// - Compute buffers: a guess. llama.cpp sets aside 512 tokens × vocabulary × 4 bytes and some, but only what a prompt
//   touches becomes memory: the logits of one token and, for a prompt of 64 tokens, the vectors between matrices,
//   64 × (4 × embedding + 3 × feed-forward) × 4 bytes. The built-in loader has small buffers that count as its own.
// - The process: a guess. llama.cpp 4 MiB and 260 bytes for each token of the vocabulary (its tables of tokens and
//   merges), which with the two parts above makes the measured 70 MiB; and the runner beside it. The built-in loader is
//   the runner. `runner_bytes` is what that takes before it loads: a worker measures it at the beginning of each load,
//   since it depends on how the program was built and is most of what a small model takes.
//
// `required_bytes`: what must fit, or the load is killed: all anonymous parts, and the mapped weights where they are
// locked. `resident_bytes`: what the process takes where there is room: that and the mapped weights. A device that has
// less than the latter but more than the former reads weights again and again while it uses them.
[[nodiscard]] v1::MemoryEstimate EstimateMemory(const v1::ModelDescription& model, const v1::ModelLoad& load,
                                                std::uint64_t runner_bytes = kUsualRunnerBytes);

}  // namespace ballast::gguf
