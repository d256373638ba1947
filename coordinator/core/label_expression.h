// Expressions over the labels and facts of a device: `rack in (a, b), memory_bytes <= 4GiB, !broken`.
// docs/scheduling.md has the grammar.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/device.pb.h"

namespace ballast::core {

// A parsed expression. Immutable and copyable.
class LabelExpression {
 public:
  enum class Operator { kExists, kAbsent, kIn, kNotIn, kLess, kLessOrEqual, kGreater, kGreaterOrEqual };
  struct Term {
    std::string name;  // of a label, or of a fact
    bool fact = false;
    Operator op = Operator::kExists;
    std::vector<std::string> values;  // kIn, kNotIn: texts
    double number = 0;                // comparisons, and facts that are numbers: the only value, in the fact's unit
    std::vector<double> numbers;      // kIn, kNotIn of facts that are numbers
  };

  // INVALID_ARGUMENT with the position (`at 7: …`, in bytes from 1): syntax, a value that is no number where the fact
  // is one, an order over a fact that is text.
  [[nodiscard]] static absl::StatusOr<LabelExpression> Parse(std::string_view text);

  // Whether the device satisfies it. A label that the device does not have is different from every value.
  [[nodiscard]] bool Matches(const v1::Device& device) const;

  // Names of labels that a device must have for some alternative: where no device has one, it is probably mistyped.
  [[nodiscard]] std::vector<std::string> WantedLabels() const;

 private:
  std::vector<std::vector<Term>> alternatives_;  // one of them, with every term
};

// The names of facts that expressions know, in the order of their numbers: the single fields of DeviceFacts that are
// text or numbers.
[[nodiscard]] std::vector<std::string> FactNames();

}  // namespace ballast::core
