#include "cli/output.h"

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

const Json kVaults = Json::parse(R"([
  {"id":"/subscriptions/S/resourceGroups/rg/providers/P/backupVaults/a","name":"a","type":"T",
   "location":"westus","resourceGroup":"rg","properties":{"state":"On"},"eTag":"x","count":14.0,
   "tags":null,"ok":true},
  {"id":"…","name":"zwölf","location":"eastus","resourceGroup":"rg2","extra":3}
])");

std::string shown(const Json& result, OutputOptions options) {
    return render_result(result, options);
}

TEST(Output, JsonIsSortedAndIndentedByTwo) {
    EXPECT_EQ(
        shown(Json::parse(R"({"b":[],"a":{"z":1.0,"é":"ü","e":{}},"c":[1,true,null]})"), {}),
        "{\n  \"a\": {\n    \"e\": {},\n    \"z\": 1.0,\n    \"é\": \"ü\"\n  },\n  \"b\": [],\n"
        "  \"c\": [\n    1,\n    true,\n    null\n  ]\n}\n"
    );
    EXPECT_EQ(shown(nullptr, {}), "");
    EXPECT_EQ(shown(true, {}), "true\n");
    EXPECT_EQ(shown(kVaults, {.form = "none"}), "");
}

TEST(Output, TableShowsTopLevelScalars) {
    EXPECT_EQ(
        shown(kVaults, {.form = "table"}),
        "Count    Location    Name    Ok    ResourceGroup    Extra\n"
        "-------  ----------  ------  ----  ---------------  -------\n"
        "14.0     westus      a       True  rg\n"
        "         eastus      zwölf         rg2              3\n"
    );
    EXPECT_EQ(shown(Json::array(), {.form = "table"}), "");
    EXPECT_EQ(shown("text", {.form = "table"}), "Result\n--------\ntext\n");
    EXPECT_THROW((void)shown(Json{{"id", "x"}}, {.form = "table"}), Error);
}

TEST(Output, TableKeepsTheColumnsOfTheQuery) {
    EXPECT_EQ(
        shown(kVaults, {.form = "table", .query = "[].{Zone: location, Name: name}"}),
        "Zone    Name\n------  ------\nwestus  a\neastus  zwölf\n"
    );
    EXPECT_EQ(
        shown(kVaults, {.form = "table", .table = "[].{Only: name}"}), "Only\n------\na\nzwölf\n"
    );
    EXPECT_EQ(
        shown(kVaults, {.form = "table", .query = "[].[name, location]"}),
        "Column1    Column2\n---------  ---------\na          westus\nzwölf      eastus\n"
    );
}

TEST(Output, AVerbsOwnTableIsForPeople) {
    const Json rows = Json::parse(R"([
      {"n":"one","at":"2026-01-02T03:04:05.1234567Z","took":"00:03:12.7189058","size":5242880,
       "id":"/subscriptions/S/resourceGroups/r/providers/M.D/backupVaults/v/backupPolicies/p"},
      {"n":"1.5:","at":null,"took":"x.1","id":"/subscriptions/S"}
    ])");
    const std::string table =
        "[].{Name: n, At: at, Took: took, Policy: id, Size: size, Missing: nothing}";
    EXPECT_EQ(
        shown(rows, {.form = "table", .table = table}),
        "Name    At                    Took      Policy            Size     Missing\n"
        "------  --------------------  --------  ----------------  -------  ---------\n"
        "one     2026-01-02T03:04:05Z  00:03:12  v/p               5.0 MiB  -\n"
        "1.5:    -                     x.1       /subscriptions/S  -        -\n"
    );
    EXPECT_NE(
        shown(rows, {.form = "table", .query = table}).find("2026-01-02T03:04:05.1234567Z"),
        std::string::npos
    ) << "what --query selects is shown as it is";
}

TEST(Output, TsvIsOneLinePerElement) {
    EXPECT_EQ(shown(kVaults, {.form = "tsv", .query = "[].name"}), "a\nzwölf\n");
    EXPECT_EQ(shown(kVaults, {.form = "tsv", .query = "[0].id"}).find("/subscriptions/"), 0U);
    EXPECT_EQ(
        shown(kVaults, {.form = "tsv", .query = "[].[name, ok, tags, properties, @]"}),
        "a\ttrue\tNone\t\t\nzwölf\tNone\tNone\tNone\t\n"
    );
    EXPECT_EQ(shown(kVaults, {.form = "tsv", .query = "[0].{b: name, a: count}"}), "a\t14.0\n");
    EXPECT_EQ(shown(kVaults, {.form = "tsv", .query = "[0].missing"}), "");
}

TEST(Output, YamlQuotesWhatIsNotPlain) {
    EXPECT_EQ(
        shown(
            Json::parse(
                R"({"a":[{"b":"x y","c":"true"},[]],"d":{},"e":"2026-01-01","f":{"g":null}})"
            ),
            {.form = "yaml"}
        ),
        "a:\n- b: x y\n  c: \"true\"\n- []\nd: {}\ne: \"2026-01-01\"\nf:\n  g: null\n"
    );
}

TEST(Output, ColoursOnlyWhenAsked) {
    EXPECT_EQ(shown(Json{{"a", "b"}}, {.form = "jsonc"}), "{\n  \"a\": \"b\"\n}\n");
    const std::string coloured =
        shown(Json{{"a", "q\"b"}}, {.form = "jsonc", .colour = Colour::kYes});
    EXPECT_NE(coloured.find("\x1b[34m\"a\"\x1b[0m: \x1b[32m\"q\\\"b\"\x1b[0m"), std::string::npos);
}

TEST(Errors, AServersErrorHasAzsForm) {
    const Error error = server_error(
        400,
        std::string_view{R"({"error":{"code":"UserErrorX","message":"What is wrong.","target":"t",
         "details":[{"code":"Sub","message":"first","target":"t2"},{"code":"S2","message":"second"}],
         "additionalInfo":[{"type":"UserFacingError","info":{"message":"m","recommendedAction":["Do X"]}}]}})"
        }
    );
    EXPECT_EQ(
        render_error(error, Colour::kNo),
        "ERROR: (UserErrorX) What is wrong.\nCode: UserErrorX\nMessage: What is wrong.\nTarget: t\n"
        "Exception Details:\t(Sub) first\n\tCode: Sub\n\tMessage: first\n\tTarget: t2\n"
        "\t(S2) second\n\tCode: S2\n\tMessage: second\n"
        "Recommended action: Do X\n"
    );
    EXPECT_EQ(traits(error.kind()).exit_code, 1);
}

TEST(Errors, NotFoundIsExitCodeThree) {
    for (const char* code : {"ResourceNotFound", "UserErrorGenericResourceNotFound", "Unheard"}) {
        const Json body{{"error", {{"code", code}, {"message", "m"}}}};
        const Error error = server_error(404, std::string_view{body.dump()});
        EXPECT_EQ(traits(error.kind()).exit_code, 3) << code;
        EXPECT_EQ(
            render_error(error, Colour::kNo),
            fmt::format("ERROR: ({0}) m\nCode: {0}\nMessage: m\n", code)
        );
    }
}

TEST(Errors, BareAndForeignBodies) {
    EXPECT_EQ(
        render_error(
            server_error(409, std::string_view{R"({"code":"C","message":"m"})"}), Colour::kNo
        ),
        "ERROR: (C) m\nCode: C\nMessage: m\n"
    );
    const std::string text =
        render_error(server_error(502, std::string_view{"<html>"}), Colour::kNo);
    EXPECT_EQ(text.find("ERROR: Operation returned an invalid status '502'."), 0U);
    // Hostile bodies must not break the renderer.
    for (const char* body :
         {"",
          "null",
          "[]",
          "{}",
          R"({"error":5})",
          R"({"error":{"details":5}})",
          R"({"error":{"details":[1,null]}})",
          R"({"error":{"additionalInfo":[{"info":1}]}})"}) {
        EXPECT_EQ(
            render_error(server_error(400, std::string_view{body}), Colour::kNo).find("ERROR: "), 0U
        );
    }
}

TEST(Output, NothingThatAServerSendsSteersTheTerminal) {
    const std::string evil =
        "a\x1b]0;x\x07"
        "b\x7f";
    EXPECT_EQ(shown(Json{{"name", evil}}, {.form = "table"}), "Name\n---------\na ]0;x b\n");
    const Json body{
        {"error",
         {{"code", evil},
          {"message", evil},
          {"target", evil},
          {"details", {{{"code", evil}, {"message", evil}}}}}}
    };
    const std::string text =
        render_error(server_error(400, std::string_view{body.dump()}), Colour::kNo);
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
    EXPECT_EQ(text.find('\x07'), std::string::npos);
    EXPECT_EQ(text.find('\x7f'), std::string::npos);
}

TEST(Errors, OwnErrorsHaveNoCode) {
    const Error error{
        ErrorKind::kUsage, ErrorText{.message = "m", .recommended_actions = {"Do Y"}}
    };
    EXPECT_EQ(render_error(error, Colour::kNo), "ERROR: m\nDo Y\n");
    EXPECT_EQ(render_error(error, Colour::kYes), "\x1b[31mERROR: m\n\x1b[0mDo Y\n");
}

}  // namespace
}  // namespace holdfast::cli
