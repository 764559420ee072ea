#pragma once

#include "base/clock.h"
#include "base/environment.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/profile.h"
#include "cli/transport.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::cli {

class CommandTable;

/// The arguments that every command takes.
struct Globals {
    std::string output = "json";
    std::string query = {};
    std::string subscription = {};
    bool only_show_errors = false;
    bool verbose = false;
    bool debug = false;
};

/// What a handler works with: the console, the clock, and the server through a lazily opened
/// connection. One command, one thread.
class Session {
public:
    struct Services {
        Console& console;
        Clock& clock;
        const Environment& environment;
        /// Opens the connection that a profile asks for.
        std::function<std::unique_ptr<Transport>(const Profile&)> connect;
        const CommandTable* table = nullptr;  ///< Set by run().
    };

    Session(Services services, Globals globals, std::string command_path);

    [[nodiscard]] Console& console() noexcept { return services_.console; }
    [[nodiscard]] Clock& clock() noexcept { return services_.clock; }
    [[nodiscard]] const Environment& environment() const noexcept { return services_.environment; }
    [[nodiscard]] const Globals& globals() const noexcept { return globals_; }
    /// All verbs; for completion.
    [[nodiscard]] const CommandTable& table() const noexcept { return *services_.table; }
    [[nodiscard]] const std::string& command_path() const noexcept { return command_path_; }

    /// A line on stderr that begins with `WARNING:`; silent with --only-show-errors.
    void warn(std::string_view message);
    /// A line on stderr with --verbose or --debug.
    void verbose(std::string_view message);

    /// For commands whose answer is a verdict (status, job wait): what the process ends with
    /// although the handler returned.
    void set_exit_code(int code) noexcept { exit_code_ = code; }
    [[nodiscard]] int exit_code() const noexcept { return exit_code_; }

    /// The saved profile with the environment's overrides. Throws kAuthenticationFailed when there
    /// is none.
    [[nodiscard]] const Profile& profile();
    /// For login: from now on this one.
    void use_profile(Profile profile);
    /// --subscription (an id, or a name that the server lists), the profile's, or the server's
    /// first.
    [[nodiscard]] const std::string& subscription();

    /// All below: `path` is absolute on the server ("/subscriptions/…") or a whole URL on it;
    /// `api-version` is added when it lacks one. Throws the server's error: its code, message,
    /// target, details and recommended actions.
    [[nodiscard]] Json get(std::string_view path);
    /// Nothing on 404.
    [[nodiscard]] std::optional<Json> get_optional(std::string_view path);
    /// All pages of a list: the `value` arrays joined.
    [[nodiscard]] Json list(std::string_view path);
    /// Any status; only what no answer could be got for throws.
    [[nodiscard]] Response send(
        std::string_view method, std::string_view path, const Json* body = nullptr
    );
    /// The path and body as they are, without an api-version added; `headers` win over the usual
    /// ones.
    [[nodiscard]] Response send_raw(
        std::string_view method,
        std::string_view path,
        std::string body,
        const std::map<std::string, std::string>& headers = {},
        std::string output_file = {}
    );
    /// As send(), but statuses from 400 on throw.
    [[nodiscard]] Response call(
        std::string_view method, std::string_view path, const Json* body = nullptr
    );

    /// A connection of its own to the same server, for work on several threads; and a request as
    /// send() would send it there.
    [[nodiscard]] std::unique_ptr<Transport> new_connection();
    [[nodiscard]] Request prepare(
        std::string_view method, std::string_view path, const Json* body = nullptr
    );

    enum class Wait { kYes, kNo };
    /// Sends and follows a long-running operation to its end as az does; returns the resource (PUT)
    /// or the operation's result (POST), null where there is none or with kNo.
    [[nodiscard]] Json run_operation(
        std::string_view method, std::string_view path, const Json* body, Wait wait
    );

private:
    [[nodiscard]] Transport& transport();
    [[nodiscard]] std::string url_of(std::string_view path);
    [[nodiscard]] static std::string with_version(std::string_view path);
    [[nodiscard]] Request prepare_raw(
        std::string_view method, std::string_view path, std::string body
    );
    [[nodiscard]] Response send_once(const Request& request);
    [[nodiscard]] static std::string own_path(std::string_view url);
    void poll_status(const std::string& path);
    [[nodiscard]] Json poll_location(const std::string& path);
    [[nodiscard]] Json poll_resource(const std::string& path, Json resource);

    Services services_;
    Globals globals_;
    std::string command_path_;
    std::optional<Profile> profile_;
    std::unique_ptr<Transport> transport_;
    std::string subscription_;
    std::string request_id_;
    int exit_code_ = 0;
    bool reached_ = false;  ///< The server has answered once.
};

/// The ARM object with `resourceGroup` added from its id, as az prints it; arrays element by
/// element.
[[nodiscard]] Json with_resource_group(Json resource);

/// Without null members, at any depth: what az prints of typed answers.
[[nodiscard]] Json without_nulls(Json value);

/// "/subscriptions/S/resourceGroups/G", the names percent-encoded.
[[nodiscard]] std::string group_path(const Arguments& arguments, Session& session);

/// "/subscriptions/S/resourceGroups/G/providers/…" of the command's `resource` row, names
/// percent-encoded. With `collection` the last name is left out.
enum class PathOf { kResource, kCollection };
[[nodiscard]] std::string resource_path(
    std::string_view pattern,
    const Arguments& arguments,
    Session& session,
    PathOf what = PathOf::kResource
);

/// A JSON argument: `@file`, a file's path, or the JSON text itself. A path typed as `.\x`, or a
/// missing `.x` where
/// `./x` exists (what a Unix shell makes of `.\x`), reads `./x` with a note on stderr. Throws
/// kInvalidInput in az's words: "JSON file does not exist: 'x.json'" or "Failed to parse string as
/// JSON: …".
[[nodiscard]] Json load_json_argument(std::string_view text, Session& session);

}  // namespace holdfast::cli
