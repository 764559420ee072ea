#include "cli/commands/common.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/jmespath.h"
#include "cli/progress.h"

#include <charconv>
#include <iostream>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::size_t kSecretBytesMax = 64 * kKiB;

}  // namespace

Option resource_group_option() {
    return required({"--resource-group", "-g"}, "Name of the resource group.");
}

Option vault_name_option() {
    return required({"--vault-name", "-v"}, "Name of the backup vault.");
}

Option policy_name_option() {
    return required({"--backup-policy-name", "--name", "-n"}, "Name of the backup policy.");
}

Option instance_name_option() {
    return required({"--backup-instance-name", "--name", "-n"}, "Name of the backup instance.");
}

Option job_id_option() {
    return required({"--job-id", "--job-name", "--name", "-n"}, "Name of the job, a GUID.");
}

Option no_wait_option() {
    return flag({"--no-wait"}, "Do not wait for the operation to end.");
}

Option yes_option() {
    return flag({"--yes", "-y"}, "Do not ask for confirmation.");
}

Option max_items_option() {
    return optional({"--max-items"}, "Show this many at most.");
}

Option operation_requests_option() {
    return list(
        {"--operation-requests", "--resource-guard-operation-requests"},
        "Ids of approved resource guard requests."
    );
}

Option backup_solution_type_option() {
    return one_of(
        {"--backup-solution-type"},
        {"LogicalBackup", "PhysicalBackup"},
        "How a server is backed up; default: physically where its login may replicate. A single "
        "database is always backed up logically."
    );
}

Option datasource_type_option() {
    return one_of(
        {"--datasource-type"},
        {"AzureDatabaseForPostgreSQLFlexibleServer",
         "AzureDatabaseForPostgreSQL",
         "AzureBlob",
         "AzureDatabaseForMySQL",
         "AzureDisk",
         "AzureKubernetesService"},
        "Type of the datasource."
    );
}

Session::Wait wait_of(const Arguments& arguments) {
    return arguments.flag("--no-wait") ? Session::Wait::kNo : Session::Wait::kYes;
}

void confirm(const Arguments& arguments, Session& session) {
    if (arguments.flag("--yes")) {
        return;
    }
    Console& console = session.console();
    if (!console.in_is_terminal) {
        throw Error{
            ErrorKind::kInvalidInput,
            "Unable to prompt for confirmation as no tty available. Use --yes."
        };
    }
    console.err << "Are you sure you want to perform this operation? (y/n): " << std::flush;
    std::string answer;
    std::getline(console.in, answer);
    if (!equal_ignoring_case(trim(answer), "y") && !equal_ignoring_case(trim(answer), "yes")) {
        throw Error{ErrorKind::kCancelled, "Operation cancelled."};
    }
}

Handler show_handler(std::string_view resource) {
    return [resource](const Arguments& arguments, Session& session) {
        return without_nulls(session.get(resource_path(resource, arguments, session)));
    };
}

Json cut_to_max_items(Json list, const Arguments& arguments) {
    const auto count = static_cast<std::size_t>(
        whole_number(arguments, {.option = "--max-items", .fallback = INT64_MAX, .max = INT64_MAX})
    );
    if (list.size() > count) {
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(count), list.end());
    }
    return list;
}

Handler list_handler(std::string_view resource) {
    return [resource](const Arguments& arguments, Session& session) {
        Json list = session.list(resource_path(resource, arguments, session, PathOf::kCollection));
        return cut_to_max_items(without_nulls(std::move(list)), arguments);
    };
}

Handler delete_handler(std::string_view resource) {
    return [resource](const Arguments& arguments, Session& session) -> Json {
        confirm(arguments, session);
        const std::string path = resource_path(resource, arguments, session);
        (void)session.run_operation("DELETE", path, nullptr, wait_of(arguments));
        return nullptr;
    };
}

Handler action_handler(std::string_view resource, std::string_view action) {
    return [resource, action](const Arguments& arguments, Session& session) -> Json {
        const std::string path =
            fmt::format("{}/{}", resource_path(resource, arguments, session), action);
        const std::vector<std::string>& requests = arguments.list("--operation-requests");
        const Json body{{"resourceGuardOperationRequests", requests}};
        (void)session.run_operation(
            "POST", path, requests.empty() ? nullptr : &body, wait_of(arguments)
        );
        return nullptr;
    };
}

namespace {

enum class Verdict { kGoOn, kDone };

std::string provisioning_state(const Json& resource) {
    const Json* properties = find_member(resource, "properties");
    const Json* state =
        properties == nullptr ? nullptr : find_member(*properties, "provisioningState");
    return state != nullptr && state->is_string() ? to_lower(state->get<std::string>()) : "";
}

/// As az judges one look at the resource.
Verdict judge(
    const Arguments& arguments,
    const std::optional<Json>& resource,
    const std::optional<JmesPath>& custom
) {
    if (!resource) {
        return arguments.flag("--deleted") ? Verdict::kDone : Verdict::kGoOn;
    }
    if (arguments.flag("--exists")) {
        return Verdict::kDone;
    }
    if (custom) {
        return is_truthy(custom->search(*resource)) ? Verdict::kDone : Verdict::kGoOn;
    }
    if (arguments.flag("--created") || arguments.flag("--updated")) {
        const std::string state = provisioning_state(*resource);
        if (state == "failed") {
            throw Error{ErrorKind::kInternal, "The operation failed"};
        }
        return state == "succeeded" || state.empty() ? Verdict::kDone : Verdict::kGoOn;
    }
    return Verdict::kGoOn;
}

Json wait_for(std::string_view resource, const Arguments& arguments, Session& session) {
    const auto interval = std::chrono::seconds{
        whole_number(arguments, {.option = "--interval", .fallback = 30, .max = 86400})
    };
    const auto timeout = std::chrono::seconds{
        whole_number(arguments, {.option = "--timeout", .fallback = 3600, .max = 31536000})
    };
    std::optional<JmesPath> custom;
    if (arguments.given("--custom")) {
        custom = JmesPath::compile(arguments.string("--custom"));
    }
    const bool named = arguments.flag("--created") || arguments.flag("--updated") ||
                       arguments.flag("--deleted") || arguments.flag("--exists");
    if (!named && !custom) {
        throw Error{
            ErrorKind::kUsage,
            "incorrect usage: --created | --updated | --deleted | --exists | --custom JMESPATH"
        };
    }
    const std::string path = resource_path(resource, arguments, session);
    const Instant deadline = session.clock().now() + timeout;
    Spinner spinner{session.console()};
    while (true) {
        if (judge(arguments, session.get_optional(path), custom) == Verdict::kDone) {
            return nullptr;
        }
        if (session.clock().now() + interval > deadline) {
            throw Error{
                ErrorKind::kTimeout,
                fmt::format("Wait operation timed-out after {} seconds", timeout.count())
            };
        }
        spinner.turn();
        (void)session.clock().wait_for(interval, {});
    }
}

}  // namespace

Command wait_command(Command command) {
    command.options.push_back(flag({"--created"}, "Until it exists and is ready."));
    command.options.push_back(flag({"--updated"}, "Until its change is done."));
    command.options.push_back(flag({"--deleted"}, "Until it is gone."));
    command.options.push_back(flag({"--exists"}, "Until it exists."));
    command.options.push_back(
        optional({"--custom"}, "Until this JMESPath condition on the resource is true.")
    );
    command.options.push_back(
        with_default(optional({"--interval"}, "Seconds between two looks."), "30")
    );
    command.options.push_back(
        with_default(optional({"--timeout"}, "Seconds until it gives up (exit code 1)."), "3600")
    );
    command.handler = [resource = command.resource](const Arguments& a, Session& s) {
        return wait_for(resource, a, s);
    };
    return command;
}

std::int64_t whole_number(const Arguments& arguments, const WholeNumber& number) {
    const auto text = arguments.optional_string(number.option);
    if (!text) {
        return number.fallback;
    }
    std::int64_t value = 0;
    const char* end = text->data() + text->size();
    const auto read = std::from_chars(text->data(), end, value);
    if (read.ec != std::errc{} || read.ptr != end || value < 1 || value > number.max) {
        throw Error{
            ErrorKind::kUsage,
            fmt::format(
                "argument {}: '{}' is not a whole number{}",
                number.option,
                *text,
                number.max == INT64_MAX ? std::string{" above 0"}
                                        : fmt::format(" from 1 to {}", number.max)
            )
        };
    }
    return value;
}

Instant instant_argument(const std::string& text) {
    std::string full{trim(text)};
    if (full.size() == 10) {
        full += "T00:00:00";
    } else if (full.size() > 10 && full[10] == ' ') {
        full[10] = 'T';
    }
    if (const auto instant = parse_instant(full)) {
        return *instant;
    }
    throw Error{
        ErrorKind::kInvalidInput,
        fmt::format("Input '{}' not valid datetime. Valid example: 2017-12-31T05:30:00", text)
    };
}

Secret secret_from_file(const std::string& path, Session& session) {
    std::string text;
    if (path == "-") {
        if (session.console().in_is_terminal) {
            return prompt_secret(session.console(), "Secret: ");
        }
        std::array<char, 4096> buffer{};
        std::istream& in = session.console().in;
        while (in.read(buffer.data(), buffer.size()), in.gcount() > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(in.gcount()));
            if (text.size() > kSecretBytesMax) {
                throw Error{
                    ErrorKind::kPayloadTooLarge, "The secret on standard input is too long."
                };
            }
        }
        wipe(std::as_writable_bytes(std::span{buffer}));
    } else {
        std::optional<std::string> read = read_file(path, kSecretBytesMax);
        if (!read) {
            throw Error{
                ErrorKind::kInvalidInput,
                ErrorText{
                    .message = fmt::format("The file does not exist: '{}'.", path),
                    .recommended_actions = {"Name a file that holds the secret, or - for stdin."},
                }
            };
        }
        text = std::move(*read);
    }
    std::string_view body = text;
    if (body.ends_with('\n')) {
        body.remove_suffix(1);
    }
    if (body.ends_with('\r')) {
        body.remove_suffix(1);
    }
    Secret secret{body};
    wipe(text);
    if (secret.empty()) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format(
                    "The secret in {} is empty.", path == "-" ? "standard input" : path
                ),
                .recommended_actions = {"Write the secret there, and nothing else."},
            }
        };
    }
    return secret;
}

Json tags_of(const std::vector<std::string>& words) {
    Json tags = Json::object();
    for (const std::string& word : words) {
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos) {
            if (!word.empty()) {
                tags[word] = "";
            }
        } else {
            tags[word.substr(0, equals)] = word.substr(equals + 1);
        }
    }
    return tags;
}

}  // namespace holdfast::cli
