#include "base/json_text.h"

#include <random>

#include <gtest/gtest.h>

namespace holdfast {
namespace {

std::string dumped(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

TEST(JsonText, IsWhatTheLibraryWrites) {
    const Json value{
        {"", nullptr},
        {"quote\"", Json::object()},
        {"größe", Json::array()},
        {"line\nbreak", Json::array({1, -1, 0, INT64_MIN, UINT64_MAX, 1.5, 1e300, true, false})},
        {"not utf-8 \xff", "a\xffz"},
        {"texts",
         Json::array(
             {"",
              "plain",
              "a\"b",
              "a\\b",
              "\b\f\n\r\t",
              std::string{"\0\x1f\x7f", 3},
              "ü€😀",
              "ü\n",
              "\xc0\x80",
              "\xed\xa0\x80",
              "\xf5\x80\x80\x80",
              "cut \xe2\x82"}
         )},
        {"nested", {{"a", {{"b", Json::array({Json::array({Json::object()})})}}}}},
    };
    EXPECT_EQ(to_json_text(value), dumped(value));
    for (const Json& each : value) {
        EXPECT_EQ(to_json_text(each), dumped(each));
    }
}

TEST(JsonText, IsWhatTheLibraryWritesOfAnyBytes) {
    std::mt19937 random{4711};
    // Few different bytes, so that they often make sense beside each other.
    const std::string bytes{"ab\"\\\n\x01\x7f\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xff"};
    for (int i = 0; i < 20'000; ++i) {
        std::string text;
        for (auto left = random() % 8; left > 0; --left) {
            text += bytes[random() % bytes.size()];
        }
        const Json value{{text, text}};
        ASSERT_EQ(to_json_text(value), dumped(value));
    }
}

}  // namespace
}  // namespace holdfast
