#include "worker/runner/system_user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace ballast::runner {
namespace {

using testing::ElementsAre;

constexpr char kPasswd[] =
    "root:x:0:0:root:/root:/bin/bash\n"
    "broken:x:notanumber:1::/:/bin/sh\n"
    "short:x:1\n"
    "photos:x:1001:1002:Photo import,,,:/home/photos:/usr/sbin/nologin\n"
    "last:x:5:6::/srv:/bin/sh";
constexpr char kGroup[] =
    "root:x:0:\n"
    "video:x:44:photos,last\n"
    "photos:x:1002:photos\n"
    "nonsense\n"
    "photosbutnot:x:50:photosandmore\n";

TEST(SystemUserTest, ReadsALineOfThePasswordFile) {
  const auto user = FindUserIn(kPasswd, "photos");
  ASSERT_TRUE(user.has_value());
  EXPECT_EQ(user->uid, 1001U);
  EXPECT_EQ(user->gid, 1002U);
  EXPECT_EQ(user->home, "/home/photos");
  EXPECT_EQ(FindUserIn(kPasswd, "last")->home, "/srv");
}

TEST(SystemUserTest, WhatMakesNoSenseIsNobody) {
  for (const char* name : {"broken", "short", "photo", "", "nobody"}) {
    EXPECT_FALSE(FindUserIn(kPasswd, name).has_value()) << name;
  }
  EXPECT_FALSE(FindUserIn("", "root").has_value());
}

TEST(SystemUserTest, GroupsAreThoseThatListTheUserAndItsOwn) {
  EXPECT_THAT(GroupsIn(kGroup, *FindUserIn(kPasswd, "photos")), ElementsAre(1002, 44));
  EXPECT_THAT(GroupsIn("", *FindUserIn(kPasswd, "last")), ElementsAre(6));
}

TEST(SystemUserTest, RootIsOnEveryMachine) {
  const auto root = FindUser("root");
  ASSERT_TRUE(root.has_value());
  EXPECT_EQ(root->uid, 0U);
}

}  // namespace
}  // namespace ballast::runner
