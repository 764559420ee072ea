#include "control/arm.h"

#include "base/text.h"
#include "control/testing/control_plane.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using testing::body_of;
using testing::code_of;
using testing::ControlPlane;

class PagingTest : public ::testing::Test {
protected:
    static std::vector<Route> routes(std::vector<std::string>& names) {
        return {{
            .verb = Verb::kGet,
            .pattern = "/things",
            .action = "Test/things/read",
            .summary = "Lists.",
            .handler =
                [&names](const RequestContext& context) {
                    std::vector<Json> items;
                    for (const std::string& name : names) {
                        items.push_back(Json{{"id", "/things/" + name}, {"name", name}});
                    }
                    return list_reply(context, std::move(items), 10);
                },
        }};
    }

    /// Follows nextLink as the clients do; `between` runs after each page.
    std::vector<std::string> follow(std::string path, const std::function<void()>& between = {}) {
        std::vector<std::string> seen;
        for (int page = 0; page < 50 && !path.empty(); ++page) {
            const Reply reply = plane.as_owner("GET", path);
            EXPECT_EQ(reply.status, 200) << path;
            for (const Json& item : body_of(reply)["value"]) {
                seen.push_back(item["name"]);
            }
            const std::string next = body_of(reply).value("nextLink", "");
            EXPECT_TRUE(next.empty() || next.starts_with("https://localhost:8443/things?")) << next;
            path =
                next.empty() ? "" : next.substr(std::string_view{"https://localhost:8443"}.size());
            if (between) {
                between();
            }
        }
        return seen;
    }

    std::vector<std::string> names;
    ControlPlane plane{routes(names)};
};

TEST_F(PagingTest, every_item_comes_once) {
    for (int i = 0; i < 25; ++i) {
        names.push_back(fmt::format("n{:02}", i));
    }
    EXPECT_EQ(follow("/things?api-version=2024-04-01"), names);
    EXPECT_EQ(follow("/things?api-version=2024-04-01&$top=3"), names);
    names.resize(20);
    EXPECT_EQ(follow("/things?api-version=2024-04-01"), names);
    names.clear();
    const Reply empty = plane.as_owner("GET", "/things?api-version=2024-04-01");
    EXPECT_EQ(body_of(empty), (Json{{"value", Json::array()}}));
}

TEST_F(PagingTest, carries_other_parameters_on) {
    for (int i = 0; i < 11; ++i) {
        names.push_back(fmt::format("n{:02}", i));
    }
    const Reply reply = plane.as_owner(
        "GET", "/things?api-version=2024-04-01&%24filter=startDate%20eq%20%27x%26y%27"
    );
    const std::string next = body_of(reply)["nextLink"];
    EXPECT_NE(next.find("api-version=2024-04-01"), std::string::npos);
    EXPECT_NE(next.find("%24filter=startDate%20eq%20%27x%26y%27"), std::string::npos);
    EXPECT_NE(next.find("%24skipToken="), std::string::npos);
}

TEST_F(PagingTest, goes_on_at_the_right_place_when_the_list_changes) {
    for (int i = 0; i < 25; ++i) {
        names.push_back(fmt::format("n{:02}", i));
    }
    bool grown = false;
    const auto seen = follow("/things?api-version=2024-04-01", [&] {
        if (!grown) {
            names.insert(names.begin(), {"new1", "new2"});  // Newest first, as jobs are listed.
            grown = true;
        }
    });
    EXPECT_EQ(seen.size(), 25U);
    EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 25U);

    bool shrunk = false;
    names = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"};
    const auto after = follow("/things?api-version=2024-04-01", [&] {
        if (!shrunk) {
            std::erase(names, "j");  // The last one seen.
            shrunk = true;
        }
    });
    EXPECT_LE(after.size(), 11U);
}

TEST_F(PagingTest, refuses_tokens_and_sizes_that_are_none) {
    names = {"a", "b"};
    for (const std::string& query :
         {std::string{"$skipToken=x"},
          std::string{"$skipToken=!!"},
          std::string{"$skipToken=MTox"} + "%00",
          std::string{"$skipToken=OmE"},
          std::string{"$top=0"},
          std::string{"$top=-1"},
          std::string{"$top=many"},
          std::string{"$top=99999999999999999999999"}}) {
        const Reply reply = plane.as_owner("GET", "/things?api-version=2024-04-01&" + query);
        EXPECT_EQ(reply.status, 400) << query;
    }
    EXPECT_EQ(plane.as_owner("GET", "/things?api-version=2024-04-01&$skipToken=").status, 200);
}

struct ConditionCase {
    std::string header;
    std::string value;
    std::optional<std::string> current;
    bool met;
};

TEST(Preconditions, are_rfc_9110s) {
    const std::vector<ConditionCase> cases{
        {"If-Match", "\"e1\"", "e1", true},
        {"If-Match", "\"e0\", \"e1\"", "e1", true},
        {"If-Match", "W/\"e1\"", "e1", true},
        {"If-Match", "\"e2\"", "e1", false},
        {"If-Match", "\"e1\"", std::nullopt, false},
        {"If-Match", "*", "e1", true},
        {"If-Match", "*", std::nullopt, false},
        {"If-None-Match", "*", "e1", false},
        {"If-None-Match", "*", std::nullopt, true},
        {"If-None-Match", "\"e1\"", "e1", false},
        {"If-None-Match", "\"e2\"", "e1", true},
    };
    for (const ConditionCase& row : cases) {
        Request request;
        request.headers.set(row.header, row.value);
        bool met = true;
        try {
            check_preconditions(request, row.current);
        } catch (const Error& error) {
            met = false;
            EXPECT_EQ(error.kind(), ErrorKind::kPreconditionFailed);
        }
        EXPECT_EQ(met, row.met) << row.header << ": " << row.value;
    }
    check_preconditions(Request{}, "e1");
    EXPECT_EQ(quote_etag("e1"), "\"e1\"");
}

TEST(UserFacingError, has_the_shape_that_jobs_show) {
    const Error error{
        ErrorKind::kServerUnreachable,
        ErrorText{
            .message = "No answer.",
            .internal = "secret",
            .recommended_actions = {"Start it."},
            .properties = {{"SQLSTATE", "08006"}},
        }
    };
    EXPECT_EQ(user_facing_error(error, "abc"), Json::parse(R"({
        "code":"UserErrorServerConnectionFailed","message":"No answer.","recommendedAction":["Start it."],
        "details":[],"isRetryable":true,"isUserError":true,"target":"",
        "properties":{"ActivityId":"abc","SQLSTATE":"08006"}})"));
}

TEST(ErrorObject, gives_every_detail_a_code) {
    const Error error{
        ErrorKind::kServerAuthFailed,
        ErrorText{
            .message = "refused",
            .details = {{.code = "28P01", .message = "a"}, {.code = "", .message = "b"}},
        }
    };
    const Json object = error_object(error, "");
    EXPECT_EQ(object["details"][0]["code"], "28P01");
    EXPECT_EQ(object["details"][1]["code"], object["code"]);
    EXPECT_FALSE(error_object(Error{ErrorKind::kInternal, "x"}, "").contains("details"));
}

TEST(UrlPath, escapes_each_segment) {
    EXPECT_EQ(url_path("/subscriptions/a b/x"), "/subscriptions/a%20b/x");
    EXPECT_EQ(url_path("//a//b/"), "/a/b");
}

}  // namespace
}  // namespace holdfast::control
