// What a model's file holds, as the message that jobs, reports and estimates work with.
#pragma once

#include <cstdint>
#include <string>

#include "ballast/v1/model.pb.h"
#include "common/gguf/model_file.h"
#include "common/gguf/quant_mix.h"

namespace ballast::gguf {

// Never fails: where the file has no shape of a language model (an encoder, a projector, an adapter) the fields of the
// shape stay 0. Texts that are no UTF-8 are quoted with escapes.
[[nodiscard]] v1::ModelDescription DescribeModel(const ModelFile& model);

// The same of a file of that size and name that is only planned.
[[nodiscard]] v1::ModelDescription DescribePlan(const ModelPlan& plan, const std::string& name,
                                                std::uint64_t file_bytes);

// `tensor` is one of the model's.
[[nodiscard]] v1::TensorDescription DescribeTensor(const ModelFile& model, const Tensor& tensor);

// A key with its value as text: arrays and long texts as how many there are (`151936 × string`, `70000 bytes`).
[[nodiscard]] v1::ModelKey DescribeKey(const KeyValue& entry);

// Whether llama.cpp's processor backend copies a tensor into an order that suits vector instructions ("repack"), unless
// told not to. It does so with matrices of Q4_0, Q4_K and IQ4_NL whose rows come in eights, and not with the embedding,
// which it only looks up. Seen in its source and in the anonymous memory of v0.5.0 on x86-64 with AVX2; other
// processors (AVX-512, ARM with i8mm) may copy further types.
[[nodiscard]] bool IsRepackable(const Tensor& tensor);

}  // namespace ballast::gguf
