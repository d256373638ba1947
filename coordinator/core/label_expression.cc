#include "coordinator/core/label_expression.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"

namespace ballast::core {
namespace {

using google::protobuf::FieldDescriptor;
using Operator = LabelExpression::Operator;
using Term = LabelExpression::Term;

constexpr std::size_t kMaxExpressionBytes = 4096;
constexpr std::size_t kMaxTerms = 256;
constexpr std::string_view kSpecial = " \t,()|!=<>\"";

bool IsNumber(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32 || field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
}

bool IsFact(const FieldDescriptor& field) {
  return !field.is_repeated() && (IsNumber(field) || field.cpp_type() == FieldDescriptor::CPPTYPE_STRING);
}

// The fact with this name; null where there is none.
const FieldDescriptor* FindFact(const std::string& name) {
  const FieldDescriptor* field = v1::DeviceFacts::descriptor()->FindFieldByName(name);
  return field != nullptr && IsFact(*field) ? field : nullptr;
}

double NumberOf(const v1::DeviceFacts& facts, const FieldDescriptor& field) {
  const google::protobuf::Reflection& reflection = *facts.GetReflection();
  return field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32 ? static_cast<double>(reflection.GetUInt32(facts, &field))
                                                             : static_cast<double>(reflection.GetUInt64(facts, &field));
}

std::optional<double> ParsePlainNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool Compare(Operator op, double left, double right) {
  switch (op) {
    case Operator::kLess:
      return left < right;
    case Operator::kLessOrEqual:
      return left <= right;
    case Operator::kGreater:
      return left > right;
    default:
      return left >= right;
  }
}

bool IsOrder(Operator op) {
  return op != Operator::kExists && op != Operator::kAbsent && op != Operator::kIn && op != Operator::kNotIn;
}

template <typename T>
bool Contains(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool MatchesFact(const Term& term, const v1::DeviceFacts& facts) {
  const FieldDescriptor& field = *FindFact(term.name);
  if (IsNumber(field)) {
    const double value = NumberOf(facts, field);
    if (term.op == Operator::kExists) return value != 0;
    if (term.op == Operator::kAbsent) return value == 0;
    if (IsOrder(term.op)) return Compare(term.op, value, term.number);
    return Contains(term.numbers, value) == (term.op == Operator::kIn);
  }
  const std::string value = facts.GetReflection()->GetString(facts, &field);
  if (term.op == Operator::kExists) return !value.empty();
  if (term.op == Operator::kAbsent) return value.empty();
  return Contains(term.values, value) == (term.op == Operator::kIn);
}

bool MatchesLabel(const Term& term, const v1::Device& device) {
  const auto label = device.labels().find(term.name);
  const bool present = label != device.labels().end();
  switch (term.op) {
    case Operator::kExists:
      return present;
    case Operator::kAbsent:
      return !present;
    case Operator::kIn:
      return present && Contains(term.values, label->second);
    case Operator::kNotIn:
      return !present || !Contains(term.values, label->second);
    default: {
      if (!present) return false;
      const std::optional<double> value = ParsePlainNumber(label->second);
      return value.has_value() && Compare(term.op, *value, term.number);
    }
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<std::vector<Term>>> Parse() {
    if (text_.size() > kMaxExpressionBytes) {
      return absl::InvalidArgumentError(
          fmt::format("it has {} bytes; at most {} are accepted", text_.size(), kMaxExpressionBytes));
    }
    std::vector<std::vector<Term>> alternatives(1);
    std::size_t terms = 0;
    while (true) {
      BALLAST_ASSIGN_OR_RETURN(Term term, ParseTerm());
      alternatives.back().push_back(std::move(term));
      if (++terms > kMaxTerms) {
        return absl::InvalidArgumentError(fmt::format("it has more than {} conditions", kMaxTerms));
      }
      SkipSpace();
      if (at_ == text_.size()) return alternatives;
      if (Take("||")) {
        alternatives.emplace_back();
      } else if (!Take(",")) {
        return Problem("expected ',' or '||' or the end");
      }
    }
  }

 private:
  absl::Status Problem(std::string_view what) const { return ProblemAt(at_, what); }
  absl::Status ProblemAt(std::size_t at, std::string_view what) const {
    const std::string_view rest = text_.substr(at, 24);
    return absl::InvalidArgumentError(
        fmt::format("at {}: {}, not {}", at + 1, what, rest.empty() ? "the end" : base::Quoted(rest)));
  }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }

  bool Take(std::string_view symbol) {
    SkipSpace();
    if (text_.substr(at_, symbol.size()) != symbol) return false;
    at_ += symbol.size();
    return true;
  }

  // A word, bare or in double quotes.
  absl::StatusOr<std::string> ParseWord(std::string_view what) {
    SkipSpace();
    if (at_ < text_.size() && text_[at_] == '"') {
      const std::size_t end = text_.find('"', at_ + 1);
      if (end == std::string_view::npos) return Problem("expected a closing '\"'");
      std::string word(text_.substr(at_ + 1, end - at_ - 1));
      at_ = end + 1;
      return word;
    }
    const std::size_t end = std::min(text_.find_first_of(kSpecial, at_), text_.size());
    if (end == at_) return Problem(fmt::format("expected {}", what));
    std::string word(text_.substr(at_, end - at_));
    at_ = end;
    return word;
  }

  // The operator behind a name; the place does not move where there is none.
  std::optional<Operator> TakeOperator() {
    // Longer ones first.
    constexpr std::pair<std::string_view, Operator> kSymbols[] = {
        {"<=", Operator::kLessOrEqual}, {">=", Operator::kGreaterOrEqual},
        {"!=", Operator::kNotIn},       {"==", Operator::kIn},
        {"<", Operator::kLess},         {">", Operator::kGreater},
        {"=", Operator::kIn},
    };
    for (const auto& [symbol, op] : kSymbols) {
      if (Take(symbol)) return op;
    }
    return std::nullopt;
  }

  absl::StatusOr<Term> ParseTerm() {
    Term term;
    const bool negated = Take("!");
    SkipSpace();
    const std::size_t name_at = at_;
    BALLAST_ASSIGN_OR_RETURN(term.name, ParseWord("the name of a label or of a fact"));
    if (term.name.empty()) return ProblemAt(name_at, "expected the name of a label or of a fact");
    const FieldDescriptor* fact = FindFact(term.name);
    term.fact = fact != nullptr;
    if (negated) {
      term.op = Operator::kAbsent;
      return term;
    }
    std::size_t value_at = at_;
    if (const std::optional<Operator> op = TakeOperator()) {
      term.op = *op;
      SkipSpace();
      value_at = at_;
      BALLAST_ASSIGN_OR_RETURN(std::string value, ParseWord("a value"));
      // `4 GiB`: the unit may stand apart.
      if (fact != nullptr && IsNumber(*fact)) {
        SkipSpace();
        const std::size_t end = std::min(text_.find_first_of(kSpecial, at_), text_.size());
        const std::string_view unit = text_.substr(at_, end - at_);
        if (!unit.empty() && unit.find_first_of("0123456789") == std::string_view::npos) {
          value += unit;
          at_ = end;
        }
      }
      term.values.push_back(std::move(value));
    } else {
      const std::size_t before = at_;
      SkipSpace();
      const std::size_t end = std::min(text_.find_first_of(kSpecial, at_), text_.size());
      const std::string_view word = text_.substr(at_, end - at_);
      if (word == "in" || word == "notin") {
        term.op = word == "in" ? Operator::kIn : Operator::kNotIn;
        at_ = end;
        SkipSpace();
        value_at = at_;
        if (!Take("(")) return Problem("expected '(' and the values");
        do {
          BALLAST_ASSIGN_OR_RETURN(std::string value, ParseWord("a value"));
          term.values.push_back(std::move(value));
        } while (Take(","));
        if (!Take(")")) return Problem("expected ',' or ')'");
      } else if (!word.empty()) {
        return Problem("expected one of = != < <= > >= in notin");
      } else {
        at_ = before;
      }
    }
    if (IsOrder(term.op) || (fact != nullptr && IsNumber(*fact))) {
      BALLAST_RETURN_IF_ERROR(ParseNumbers(fact, value_at, &term));
    }
    return term;
  }

  // What is compared as numbers: facts that are, and every order.
  absl::Status ParseNumbers(const FieldDescriptor* fact, std::size_t value_at, Term* term) const {
    if (fact != nullptr && !IsNumber(*fact)) {
      return ProblemAt(value_at, fmt::format("{} is text and has no order: expected = != in notin", term->name));
    }
    const bool bytes = fact != nullptr && term->name.ends_with("_bytes");
    for (const std::string& value : term->values) {
      std::optional<double> number = ParsePlainNumber(value);
      if (bytes) {
        const absl::StatusOr<std::uint64_t> size = base::ParseBytes(value);
        number = size.ok() ? std::optional<double>(static_cast<double>(*size)) : std::nullopt;
      }
      if (!number) {
        return ProblemAt(value_at, bytes ? "expected a number of bytes such as 4GiB" : "expected a number");
      }
      term->numbers.push_back(*number);
    }
    if (!term->numbers.empty()) term->number = term->numbers.front();
    return absl::OkStatus();
  }

  const std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

absl::StatusOr<LabelExpression> LabelExpression::Parse(std::string_view text) {
  LabelExpression expression;
  BALLAST_ASSIGN_OR_RETURN(expression.alternatives_, Parser(text).Parse());
  return expression;
}

bool LabelExpression::Matches(const v1::Device& device) const {
  return std::ranges::any_of(alternatives_, [&](const std::vector<Term>& terms) {
    return std::ranges::all_of(terms, [&](const Term& term) {
      return term.fact ? MatchesFact(term, device.facts()) : MatchesLabel(term, device);
    });
  });
}

std::vector<std::string> LabelExpression::WantedLabels() const {
  std::vector<std::string> names;
  for (const std::vector<Term>& terms : alternatives_) {
    for (const Term& term : terms) {
      const bool wants = term.op != Operator::kAbsent && term.op != Operator::kNotIn;
      if (wants && !term.fact && !Contains(names, term.name)) names.push_back(term.name);
    }
  }
  return names;
}

std::vector<std::string> FactNames() {
  std::vector<std::string> names;
  const google::protobuf::Descriptor& facts = *v1::DeviceFacts::descriptor();
  for (int i = 0; i < facts.field_count(); ++i) {
    if (IsFact(*facts.field(i))) names.push_back(facts.field(i)->name());
  }
  return names;
}

}  // namespace ballast::core
