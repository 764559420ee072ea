#include "alerts/settings.h"

#include "alerts/channel.h"
#include "alerts/outbox.h"
#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace holdfast::alerts {
namespace {

[[noreturn]] void refuse(const std::string& problem) {
    throw Error{ErrorKind::kConfigInvalid, problem};
}

/// The members of one table, each taken once; what is left over is not known.
class Members {
public:
    Members(const SettingMembers& members, std::string_view allowed)
        : left_{members}, allowed_{allowed} {}

    std::vector<std::string> list(const std::string& name) {
        const auto found = left_.find(name);
        if (found == left_.end()) {
            return {};
        }
        std::vector<std::string> values = std::move(found->second);
        left_.erase(found);
        return values;
    }
    std::string text(const std::string& name) {
        const std::vector<std::string> values = list(name);
        if (values.size() > 1) {
            refuse(fmt::format("{} takes one value.", name));
        }
        return values.empty() ? std::string{} : values.front();
    }
    std::string required(const std::string& name) {
        std::string value = text(name);
        if (value.empty()) {
            refuse(fmt::format("each table needs {}. Known: {}.", name, allowed_));
        }
        return value;
    }
    std::filesystem::path path(const std::string& name) {
        const std::string value = text(name);
        if (!value.empty() && value.front() != '/') {
            refuse(fmt::format("{}: '{}' is not an absolute path.", name, value.substr(0, 200)));
        }
        return value;
    }
    void end() const {
        if (!left_.empty()) {
            refuse(fmt::format(
                "'{}' is not known here. Allowed: {}.",
                left_.begin()->first.substr(0, 100),
                allowed_
            ));
        }
    }

private:
    SettingMembers left_;
    const std::string_view allowed_;
};

std::string channel_name(Members& members) {
    std::string name = members.required("name");
    const bool good =
        name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
            return c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
        });
    if (!good) {
        refuse(fmt::format(
            "'{}' is not a name of 1 to 63 lower-case letters, digits and hyphens.",
            name.substr(0, 100)
        ));
    }
    return name;
}

void require_one(const std::filesystem::path& file, const std::string& uri, std::string_view what) {
    if (!file.empty() && !uri.empty()) {
        refuse(fmt::format("{0}_file and {0}_uri exclude each other.", what));
    }
}

/// Nothing that could end a header or a command.
std::string address(std::string text, std::string_view member) {
    const auto at = text.rfind('@');
    const bool good = at != std::string::npos && at > 0 && at + 1 < text.size() &&
                      text.size() <= 254 && std::all_of(text.begin(), text.end(), [](char c) {
                          return c > 0x20 && c < 0x7f && c != '<' && c != '>' && c != ',' &&
                                 c != ';' && c != '"' && c != '(' && c != ')';
                      });
    if (!good) {
        refuse(fmt::format(
            "{}: '{}' is not a mail address like backup@example.org.", member, text.substr(0, 100)
        ));
    }
    return text;
}

int port_of(const std::string& text, int otherwise) {
    if (text.empty()) {
        return otherwise;
    }
    int port = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (fault != std::errc{} || end != text.data() + text.size() || port < 1 || port > 65535) {
        refuse(fmt::format("port: '{}' is not a number from 1 to 65535.", text.substr(0, 20)));
    }
    return port;
}

}  // namespace

WebhookSettings webhook_from(const SettingMembers& given) {
    Members members{given, "name, url, secret_file, secret_uri, ca_file"};
    WebhookSettings out;
    out.name = channel_name(members);
    out.url = members.required("url");
    out.secret_file = members.path("secret_file");
    out.secret_uri = members.text("secret_uri");
    out.ca_file = members.path("ca_file");
    members.end();
    require_one(out.secret_file, out.secret_uri, "secret");
    const std::string host = host_of_url(out.url);
    // The URL may hold a key: it is not repeated.
    if (host.empty() || (!out.url.starts_with("https://") && !is_loopback_host(host))) {
        refuse(fmt::format(
            "the url of '{}' must be https://host[:port]/path (http to a loopback address only).",
            out.name
        ));
    }
    return out;
}

EmailSettings email_from(const SettingMembers& given) {
    Members members{
        given,
        "name, host, port, security, from, to, user, password_file, password_uri, ca_file"
    };
    EmailSettings out;
    out.name = channel_name(members);
    out.host = members.required("host");
    const std::string security = members.text("security");
    if (security == "tls") {
        out.security = EmailSettings::Security::kTls;
    } else if (security == "none") {
        out.security = EmailSettings::Security::kNone;
    } else if (!security.empty() && security != "starttls") {
        refuse("security is one of starttls, tls, none.");
    }
    out.port = port_of(
        members.text("port"), out.security == EmailSettings::Security::kTls ? 465 : 587
    );
    out.from = address(members.required("from"), "from");
    for (const std::string& to : members.list("to")) {
        out.to.push_back(address(to, "to"));
    }
    out.user = members.text("user");
    out.password_file = members.path("password_file");
    out.password_uri = members.text("password_uri");
    out.ca_file = members.path("ca_file");
    members.end();
    require_one(out.password_file, out.password_uri, "password");
    if (out.to.empty()) {
        refuse("each table needs to: one or more addresses.");
    }
    if (out.user.empty() != (out.password_file.empty() && out.password_uri.empty())) {
        refuse("user and password_file (or password_uri) go together.");
    }
    const bool good_host = out.host.size() <= 253 &&
                           out.host.find_first_of("/@?# \t") == std::string::npos;
    if (!good_host || (out.security == EmailSettings::Security::kNone &&
                       !is_loopback_host(out.host))) {
        refuse("host is a name or an address; security = \"none\" is for a loopback address only.");
    }
    return out;
}

}  // namespace holdfast::alerts
