// The rules written in the proto files are sound: each can be applied to the field it stands beside. What this test
// refuses would otherwise be ignored silently.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/config.pb.h"
#include "ballast/v1/options.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "common/config/field_rules.h"
#include "common/config/field_text.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"
#include "re2/re2.h"

namespace ballast::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

void AddMessages(const Descriptor* descriptor, std::vector<const Descriptor*>* messages) {
  messages->push_back(descriptor);
  for (int i = 0; i < descriptor->nested_type_count(); ++i) {
    if (!descriptor->nested_type(i)->options().map_entry()) AddMessages(descriptor->nested_type(i), messages);
  }
}

// Every message of the vocabulary: the services' files import all others.
std::vector<const Descriptor*> AllMessages() {
  std::vector<const FileDescriptor*> files = {v1::SubmitJobRequest::descriptor()->file(),
                                              v1::Hello::descriptor()->file(),
                                              v1::CoordinatorConfig::descriptor()->file()};
  std::vector<const FileDescriptor*> seen;
  std::vector<const Descriptor*> messages;
  while (!files.empty()) {
    const FileDescriptor* const file = files.back();
    files.pop_back();
    if (std::find(seen.begin(), seen.end(), file) != seen.end() || file->package() != "ballast.v1") continue;
    seen.push_back(file);
    for (int i = 0; i < file->dependency_count(); ++i) files.push_back(file->dependency(i));
    for (int i = 0; i < file->message_type_count(); ++i) AddMessages(file->message_type(i), &messages);
  }
  return messages;
}

std::vector<const FieldDescriptor*> AllFields() {
  std::vector<const FieldDescriptor*> fields;
  for (const Descriptor* const message : AllMessages()) {
    for (int i = 0; i < message->field_count(); ++i) fields.push_back(message->field(i));
  }
  return fields;
}

const v1::FieldRules& Rules(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::field);
}

bool HasBounds(const FieldDescriptor& field) {
  return Rules(field).has_min() || Rules(field).has_max() || Rules(field).has_above();
}

bool IsDuration(const FieldDescriptor& field) {
  return field.message_type() == google::protobuf::Duration::descriptor();
}

bool IsNumber(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return true;
    default:
      return IsDuration(field);
  }
}

std::unique_ptr<Message> New(const Descriptor& descriptor) {
  return std::unique_ptr<Message>(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(&descriptor)->New());
}

TEST(RulesInProtoTest, AreFound) {
  int with_rules = 0;
  for (const FieldDescriptor* const field : AllFields()) with_rules += Rules(*field).ByteSizeLong() > 0 ? 1 : 0;
  EXPECT_GT(with_rules, 40) << "the walk over the files does not reach them";
}

TEST(RulesInProtoTest, BoundsAndUnitsAreBesideNumbers) {
  for (const FieldDescriptor* const field : AllFields()) {
    EXPECT_TRUE(!HasBounds(*field) || field->is_repeated() || IsNumber(*field)) << field->full_name();
    EXPECT_TRUE(Rules(*field).unit() == v1::UNIT_UNSPECIFIED || (IsNumber(*field) && !IsDuration(*field)))
        << field->full_name();
    if (Rules(*field).unit() == v1::PERCENT) {
      EXPECT_TRUE(field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE ||
                  field->cpp_type() == FieldDescriptor::CPPTYPE_FLOAT)
          << field->full_name();
    }
    if (Rules(*field).unit() == v1::BYTES) {
      EXPECT_EQ(field->cpp_type(), FieldDescriptor::CPPTYPE_UINT64) << field->full_name();
    }
  }
}

TEST(RulesInProtoTest, PatternsCompileAndAreBesideStrings) {
  for (const FieldDescriptor* const field : AllFields()) {
    const std::string& pattern = Rules(*field).pattern();
    if (pattern.empty()) continue;
    EXPECT_EQ(field->type(), FieldDescriptor::TYPE_STRING) << field->full_name();
    EXPECT_TRUE(re2::RE2(pattern).ok()) << field->full_name() << ": " << pattern;
  }
}

TEST(RulesInProtoTest, DefaultsAreAcceptedByTheirOwnFields) {
  for (const FieldDescriptor* const field : AllFields()) {
    const std::string& text = Rules(*field).default_text();
    if (text.empty()) continue;
    EXPECT_FALSE(field->is_repeated()) << field->full_name() << ": a list has no default";
    if (const OneofDescriptor* const oneof = field->real_containing_oneof()) {
      for (int i = 0; i < oneof->field_count(); ++i) {
        EXPECT_TRUE(oneof->field(i) == field || Rules(*oneof->field(i)).default_text().empty())
            << field->full_name() << ": only one member of a oneof can stand where none was given";
      }
    }
    EXPECT_FALSE(Rules(*field).required()) << field->full_name() << ": what has a default is not required";
    const std::unique_ptr<Message> message = New(*field->containing_type());
    EXPECT_TRUE(SetField(message.get(), field->name(), text).ok())
        << field->full_name() << ": " << SetField(message.get(), field->name(), text);
  }
}

TEST(RulesInProtoTest, AscendingNamesANumberOfTheEntries) {
  for (const FieldDescriptor* const field : AllFields()) {
    const std::string& name = Rules(*field).ascending();
    if (name.empty()) continue;
    ASSERT_TRUE(field->is_repeated() && field->message_type() != nullptr) << field->full_name();
    const FieldDescriptor* const key = field->message_type()->FindFieldByName(name);
    ASSERT_NE(key, nullptr) << field->full_name() << ": " << name;
    EXPECT_TRUE((IsNumber(*key) || IsDuration(*key)) && !key->is_repeated()) << key->full_name();
  }
}

TEST(RulesInProtoTest, UniqueNamesATextOfTheEntries) {
  for (const FieldDescriptor* const field : AllFields()) {
    const std::string& name = Rules(*field).unique();
    if (name.empty()) continue;
    ASSERT_TRUE(field->is_repeated() && field->message_type() != nullptr) << field->full_name();
    const FieldDescriptor* const key = field->message_type()->FindFieldByName(name);
    ASSERT_NE(key, nullptr) << field->full_name() << ": " << name;
    EXPECT_TRUE(key->type() == FieldDescriptor::TYPE_STRING && !key->is_repeated()) << key->full_name();
  }
}

// A zero outside presence is "not given": where it were acceptable as well, nobody could ask for it.
TEST(RulesInProtoTest, NumbersWithADefaultRefuseZero) {
  for (const FieldDescriptor* const field : AllFields()) {
    if (Rules(*field).default_text().empty() || field->has_presence() || !IsNumber(*field)) continue;
    const std::unique_ptr<Message> message = New(*field->containing_type());
    EXPECT_FALSE(SetField(message.get(), field->name(), "0").ok()) << field->full_name();
  }
}

TEST(RulesInProtoTest, MessageRulesNameFieldsAndOneofs) {
  for (const Descriptor* const message : AllMessages()) {
    const v1::MessageRules& rules = message->options().GetExtension(v1::rules);
    for (const std::string& name : rules.required_oneof())
      EXPECT_NE(message->FindOneofByName(name), nullptr) << message->full_name();
    for (const v1::FieldOrder& order : rules.order()) {
      for (const std::string& name : {order.lesser(), order.greater()}) {
        const FieldDescriptor* const field = message->FindFieldByName(name);
        ASSERT_NE(field, nullptr) << message->full_name() << "." << name;
        EXPECT_TRUE(IsNumber(*field) && !field->is_repeated()) << field->full_name();
      }
    }
  }
}

// The names that the readers look up are the ones in the file: no field shares its name with a oneof, whose paths would
// mix.
TEST(RulesInProtoTest, NamesAreDistinct) {
  for (const Descriptor* const message : AllMessages()) {
    for (int i = 0; i < message->real_oneof_decl_count(); ++i) {
      EXPECT_EQ(message->FindFieldByName(message->oneof_decl(i)->name()), nullptr) << message->full_name();
    }
  }
}

}  // namespace
}  // namespace ballast::config
