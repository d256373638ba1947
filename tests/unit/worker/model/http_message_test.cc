#include "worker/model/http_message.h"

#include <string>

#include <gtest/gtest.h>

namespace ballast::model {
namespace {

// What comes of an answer that arrives byte by byte.
std::optional<HttpResponse> ByteByByte(const std::string& bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto part = ParseHttpResponse(bytes.substr(0, i), false);
    EXPECT_TRUE(part.ok()) << i << part.status();
    EXPECT_FALSE(part.ok() && part->has_value()) << i;
  }
  const auto whole = ParseHttpResponse(bytes, false);
  EXPECT_TRUE(whole.ok()) << whole.status();
  return whole.ok() ? *whole : std::nullopt;
}

TEST(HttpMessageTest, ABodyHasItsLength) {
  const auto response = ByteByByte("HTTP/1.1 503 Service Unavailable\r\ncontent-length:  5 \r\nX: y\r\n\r\nhello");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 503);
  EXPECT_EQ(response->body, "hello");
}

TEST(HttpMessageTest, ABodyComesInPieces) {
  const auto response =
      ByteByByte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->body, "abc0123456789");
}

TEST(HttpMessageTest, ABodyEndsWithTheConnection) {
  const std::string bytes = "HTTP/1.0 200 OK\r\n\r\nall of it";
  EXPECT_FALSE(ParseHttpResponse(bytes, false)->has_value());
  EXPECT_EQ((*ParseHttpResponse(bytes, true))->body, "all of it");
}

TEST(HttpMessageTest, WhatMakesNoSenseIsRefused) {
  for (const std::string bytes :
       {"SSH-2.0-OpenSSH", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"}) {
    EXPECT_FALSE(ParseHttpResponse(bytes, false).ok()) << bytes;
  }
  EXPECT_FALSE(ParseHttpResponse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", true).ok());
  EXPECT_FALSE(ParseHttpResponse("HTTP/1.1 200", true).ok());
  EXPECT_FALSE(ParseHttpResponse(std::string(kMaxHttpBytes + 1, 'H'), false).ok());
}

TEST(HttpMessageTest, ARequestEndsWithItsConnection) {
  EXPECT_EQ(HttpRequestText("POST", "/x", "{}"),
            "POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\n\r\n{}");
}

}  // namespace
}  // namespace ballast::model
