// One value of one field: from text and to text, and checked against the field's own rules. Private to common/config.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/options.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace ballast::config {

// Index of the value of a field that is not repeated.
inline constexpr int kSingular = -1;

// The rules beside a field; those of a field without any accept everything.
[[nodiscard]] const v1::FieldRules& RulesOf(const google::protobuf::FieldDescriptor& field);

// Whether the field's value is written as one piece of text: everything but messages, and of those Duration and
// Timestamp.
[[nodiscard]] bool IsWrittenAsText(const google::protobuf::FieldDescriptor& field);

// Sets the field (appends to it where it is repeated) from text as people write it. INVALID_ARGUMENT, with what is
// accepted, when that is no value of the field; the message is unchanged then. Rules are not checked.
[[nodiscard]] absl::Status ParseValue(google::protobuf::Message* message,
                                      const google::protobuf::FieldDescriptor& field, std::string_view text);

// The same, and checks the rules for a value: INVALID_ARGUMENT when one is broken; the message is unchanged then.
[[nodiscard]] absl::Status ParseAndCheckValue(google::protobuf::Message* message,
                                              const google::protobuf::FieldDescriptor& field, std::string_view text);

// The value as ParseValue reads it back.
[[nodiscard]] std::string ValueText(const google::protobuf::Message& message,
                                    const google::protobuf::FieldDescriptor& field, int index = kSingular);

// What is wrong with the value by the field's type and its rules for a value (bounds, pattern), as a sentence without a
// subject: "must be above 0% and at most 100%, not 0%". Nothing where it is accepted.
[[nodiscard]] std::optional<std::string> ProblemWithValue(const google::protobuf::Message& message,
                                                          const google::protobuf::FieldDescriptor& field,
                                                          int index = kSingular);

// What is wrong with the number of entries in a repeated field or map; nothing where it is accepted.
[[nodiscard]] std::optional<std::string> ProblemWithCount(const google::protobuf::Message& message,
                                                          const google::protobuf::FieldDescriptor& field);

// The value as a number in the unit of its rules (bytes, percent, seconds for a Duration); nothing for what is no
// number.
[[nodiscard]] std::optional<double> NumberOf(const google::protobuf::Message& message,
                                             const google::protobuf::FieldDescriptor& field, int index = kSingular);

// The entry of a map with this key, made where there is none. INVALID_ARGUMENT when the text is no key of the map.
// Takes time that grows with the map.
[[nodiscard]] absl::StatusOr<google::protobuf::Message*> MapEntry(google::protobuf::Message* message,
                                                                  const google::protobuf::FieldDescriptor& field,
                                                                  std::string_view key);

// The names of a message's fields, in order of declaration.
[[nodiscard]] std::vector<std::string> FieldNames(const google::protobuf::Descriptor& descriptor);

// The names of a oneof's members, in order of declaration.
[[nodiscard]] std::vector<std::string> MemberNames(const google::protobuf::OneofDescriptor& oneof);

// `a`, `a or b`, `a, b or c`.
[[nodiscard]] std::string Alternatives(const std::vector<std::string>& names);

// For a name that is no field of the message: `did you mean 'x'?`, or, where nothing is near, what there is.
[[nodiscard]] std::string FieldHint(std::string_view name, const google::protobuf::Descriptor& descriptor);

}  // namespace ballast::config
