// audit verify and audit export: the trail, checked here and not by the server that is audited.
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "catalog/audit_chain.h"
#include "catalog/catalog_traits.h"
#include "cli/commands/common.h"
#include "cli/output.h"

#include <fstream>
#include <ostream>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

using catalog::AuditChain;
using catalog::AuditRecord;

/// All records, oldest first, page by page: a trail may be larger than memory.
void each_of_server(Session& session, const std::function<void(const Json&)>& visit) {
    std::string path = "/providers/Holdfast.Audit/records?after=0";
    while (!path.empty()) {
        const Response response = session.send_raw("GET", path, {});
        if (response.status >= 400) {
            throw server_error(response.status, response.body);
        }
        const Json page = parse_json(response.body, ErrorKind::kInternal, "The server's answer");
        for (const Json& record : page.at("value")) {
            visit(record);
        }
        const std::string next = page.value("nextLink", std::string{});
        path = next.empty() ? next : next.substr(next.find("/providers/"));
    }
}

void each_of_file(const std::string& file, const std::function<void(const Json&)>& visit) {
    std::ifstream lines{file};
    if (!lines) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format("The file '{}' cannot be read.", file),
                .recommended_actions = {"Name a file that holdfast audit export wrote."},
            }
        };
    }
    std::size_t number = 0;
    for (std::string line; std::getline(lines, line);) {
        ++number;
        visit(
            parse_json(line, ErrorKind::kInvalidInput, fmt::format("Line {} of '{}'", number, file))
        );
    }
}

AuditRecord record_of(const Json& json) {
    // A record that lacks a member, or has it in another type, is a changed one: its hash says so.
    AuditRecord record;
    run_boundary([&] { record = json.get<AuditRecord>(); }, [](const Error&) {});
    return record;
}

Json verify(const Arguments& arguments, Session& session) {
    AuditChain chain;
    const auto add = [&](const Json& record) { chain.add(record_of(record)); };
    if (arguments.given("--file")) {
        each_of_file(arguments.string("--file"), add);
    } else {
        each_of_server(session, add);
    }
    const std::string expected = to_lower(arguments.string("--expect-hash"));
    std::string fault = chain.fault().value_or("");
    if (fault.empty() && !expected.empty() && expected != chain.head()) {
        fault = fmt::format(
            "The last record's hash is not the expected one: records at the end were removed, "
            "added or rewritten."
        );
    }
    if (!fault.empty()) {
        session.set_exit_code(1);
        session.warn(fault);
    }
    return Json{
        {"records", chain.records()},
        {"lastSequence", chain.head_sequence()},
        {"lastHash", chain.head()},
        {"sound", fault.empty()},
        {"fault", fault.empty() ? Json(nullptr) : Json(fault)}
    };
}

Json export_trail(const Arguments& arguments, Session& session) {
    const std::string& path = arguments.string("--file");
    std::string text;
    std::int64_t count = 0;
    std::string last;
    std::error_code ignored;
    const std::filesystem::path unfinished = path + ".part";
    std::filesystem::remove(unfinished, ignored);
    write_file_durably(unfinished, {}, 0600, Overwrite::kYes);
    std::ofstream out{unfinished, std::ios::binary | std::ios::app};
    each_of_server(session, [&](const Json& record) {
        out << record.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
        last = record.value("hash", std::string{});
        ++count;
    });
    out.close();
    if (!out) {
        throw Error{
            ErrorKind::kStoreFull, fmt::format("Writing '{}' failed.", unfinished.string())
        };
    }
    std::filesystem::rename(unfinished, path);
    return Json{{"file", path}, {"records", count}, {"lastHash", last}};
}

}  // namespace

void add_audit_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "audit verify",
        .summary = "Check that no record of the audit trail was changed, removed or inserted.",
        .options =
            {optional({"--file"}, "An exported trail; else the server's."),
             optional({"--expect-hash"}, "The lastHash that was written down elsewhere.")},
        .examples =
            {{"The server's trail", "holdfast audit verify"},
             {"An export", "holdfast audit verify --file trail.ndjson"}},
        .handler = verify,
        .details = "Write lastHash down elsewhere: a trail that is rewritten from some record to "
                   "its end is sound in itself.",
    });
    table.push_back({
        .path = "audit export",
        .summary = "Write the audit trail to a file, one JSON record per line.",
        .options = {required({"--file"}, "Where to.")},
        .examples = {{"For the archive", "holdfast audit export --file trail.ndjson"}},
        .handler = export_trail,
    });
}

}  // namespace holdfast::cli
