// What users keep as a "database secret" comes in three shapes; this file tells them apart and
// takes them to pieces. No message here may hold any part of the value.

#include "base/text.h"
#include "postgres/connection.h"

#include <array>
#include <charconv>
#include <functional>
#include <map>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

[[noreturn]] void fail(std::string problem) {
    throw Error{
        ErrorKind::kSecretFormat,
        {.message = "The secret's value is not in a supported format: " + std::move(problem),
         .recommended_actions =
             {"Store a password, a libpq URI (postgresql://user:password@host:port/database) or an "
              "ADO.NET connection "
              "string (Server=host;Port=5432;Database=db;User Id=user;Password=...;Ssl "
              "Mode=VerifyFull)."}}
    };
}

int parse_port(std::string_view text) {
    int port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port < 1 || port > 65535) {
        fail("the port is not a number from 1 to 65535.");
    }
    return port;
}

SslMode parse_mode(std::string_view text) {
    if (const auto mode = parse_ssl_mode(text)) {
        return *mode;
    }
    fail("the TLS mode is none of disable, allow, prefer, require, verify-ca, verify-full.");
}

std::string decode(std::string_view text) {
    std::string decoded;
    if (!run_boundary([&] { decoded = percent_decode(text); }, [](const Error&) {})) {
        fail("the URI holds a broken percent escape.");
    }
    if (decoded.find('\0') != std::string::npos) {
        fail("the URI holds a NUL byte.");
    }
    return decoded;
}

// ---- postgresql://

void parse_authority(std::string_view authority, SecretConnection& parsed) {
    const std::size_t sign = authority.rfind('@');
    if (sign != std::string_view::npos) {
        const std::string_view login = authority.substr(0, sign);
        const std::size_t colon = login.find(':');
        parsed.user = decode(login.substr(0, colon));
        if (colon != std::string_view::npos) {
            std::string password = decode(login.substr(colon + 1));
            parsed.password = Secret{std::string_view{password}};
            wipe(password);
        }
        authority.remove_prefix(sign + 1);
    }
    if (authority.find(',') != std::string_view::npos) {
        fail("a URI with several hosts is not supported.");
    }
    std::string_view port;
    if (authority.starts_with('[')) {
        const std::size_t end = authority.find(']');
        if (end == std::string_view::npos) {
            fail("the IPv6 address of the URI has no closing bracket.");
        }
        parsed.host = std::string{authority.substr(1, end - 1)};
        authority.remove_prefix(end + 1);
        if (!authority.empty() && authority.front() != ':') {
            fail("the URI's host is malformed.");
        }
        port = authority.empty() ? authority : authority.substr(1);
    } else {
        const std::size_t colon = authority.find(':');
        parsed.host = decode(authority.substr(0, colon));
        port = colon == std::string_view::npos ? std::string_view{} : authority.substr(colon + 1);
    }
    if (!port.empty()) {
        parsed.port = parse_port(port);
    }
}

void apply_uri_parameter(std::string_view name, std::string value, SecretConnection& parsed) {
    if (name == "sslmode") {
        parsed.ssl_mode = parse_mode(value);
    } else if (name == "sslrootcert") {
        // A file of this machine is the operator's to name, in the server's registration.
        if (value != "system") {
            fail("the URI names a file in sslrootcert; set it in the server's registration.");
        }
    } else if (name == "user") {
        parsed.user = std::move(value);
    } else if (name == "password") {
        parsed.password = Secret{std::string_view{value}};
        wipe(value);
    } else if (name == "host") {
        parsed.host = std::move(value);
    } else if (name == "port") {
        parsed.port = parse_port(value);
    } else if (name == "dbname") {
        parsed.database = std::move(value);
    } else if (name != "application_name" && name != "connect_timeout" &&
               name != "channel_binding" && name != "target_session_attrs" &&
               name != "gssencmode") {
        fail("the URI has a parameter that is not supported.");
    }
}

SecretConnection parse_uri(std::string_view rest) {
    SecretConnection parsed;
    std::string_view query;
    if (const std::size_t mark = rest.find('?'); mark != std::string_view::npos) {
        query = rest.substr(mark + 1);
        rest = rest.substr(0, mark);
    }
    const std::size_t slash = rest.find('/');
    parse_authority(rest.substr(0, slash), parsed);
    if (slash != std::string_view::npos) {
        parsed.database = decode(rest.substr(slash + 1));
    }
    if (!query.empty()) {
        for (const std::string& pair : split(query, '&')) {
            const std::size_t equals = pair.find('=');
            if (equals == std::string::npos) {
                fail("a parameter of the URI has no value.");
            }
            apply_uri_parameter(
                decode(pair.substr(0, equals)),
                decode(std::string_view{pair}.substr(equals + 1)),
                parsed
            );
        }
    }
    if (parsed.password.empty()) {
        fail("the URI holds no password.");
    }
    return parsed;
}

// ---- ADO.NET

/// DbConnectionStringBuilder: `key=value;…`; a value may stand in "…" or '…', where the quote is
/// doubled. `==` in a key is an equals sign.
class AdoReader {
public:
    explicit AdoReader(std::string_view text) : rest_{text} {}

    /// The next pair; false at the end.
    bool next(std::string& key, std::string& value) {
        skip(" \t\r\n;");
        if (rest_.empty()) {
            return false;
        }
        key.clear();
        while (true) {
            if (rest_.empty()) {
                fail("a keyword of the connection string has no value.");
            }
            const char c = take();
            if (c == '=' && !rest_.empty() && rest_.front() == '=') {
                take();
            } else if (c == '=') {
                break;
            } else if (c == ';') {
                fail("a keyword of the connection string has no value.");
            }
            key.push_back(c);
        }
        key = std::string{trim(key)};
        read_value(value);
        return true;
    }

private:
    char take() {
        const char c = rest_.front();
        rest_.remove_prefix(1);
        return c;
    }
    void skip(std::string_view blanks) {
        rest_.remove_prefix(std::min(rest_.find_first_not_of(blanks), rest_.size()));
    }
    void read_value(std::string& value) {
        value.clear();
        skip(" \t\r\n");
        if (!rest_.empty() && (rest_.front() == '"' || rest_.front() == '\'')) {
            const char quote = take();
            while (true) {
                if (rest_.empty()) {
                    fail("a quoted value of the connection string is not closed.");
                }
                const char c = take();
                if (c != quote) {
                    value.push_back(c);
                } else if (!rest_.empty() && rest_.front() == quote) {
                    value.push_back(take());
                } else {
                    break;
                }
            }
            skip(" \t\r\n");
            if (!rest_.empty() && rest_.front() != ';') {
                fail("a quoted value of the connection string is followed by other text.");
            }
            return;
        }
        const std::size_t end = std::min(rest_.find(';'), rest_.size());
        value = std::string{trim(rest_.substr(0, end))};
        rest_.remove_prefix(end);
    }

    std::string_view rest_;
};

enum class AdoKey { kHost, kPort, kDatabase, kUser, kPassword, kSslMode };

/// Npgsql's keywords and their aliases, without blanks and in lower case.
const std::map<std::string_view, AdoKey>& ado_keys() {
    static const std::map<std::string_view, AdoKey> keys{
        {"server", AdoKey::kHost},
        {"host", AdoKey::kHost},
        {"datasource", AdoKey::kHost},
        {"port", AdoKey::kPort},
        {"database", AdoKey::kDatabase},
        {"db", AdoKey::kDatabase},
        {"initialcatalog", AdoKey::kDatabase},
        {"userid", AdoKey::kUser},
        {"username", AdoKey::kUser},
        {"user", AdoKey::kUser},
        {"uid", AdoKey::kUser},
        {"password", AdoKey::kPassword},
        {"pwd", AdoKey::kPassword},
        {"psw", AdoKey::kPassword},
        {"sslmode", AdoKey::kSslMode},
    };
    return keys;
}

std::optional<AdoKey> ado_key(std::string_view keyword) {
    std::string compact = to_lower(keyword);
    std::erase_if(compact, [](char c) { return c == ' ' || c == '_'; });
    const auto found = ado_keys().find(compact);
    return found == ado_keys().end() ? std::nullopt : std::optional{found->second};
}

SecretConnection parse_ado(std::string_view text) {
    SecretConnection parsed;
    AdoReader reader{text};
    std::string keyword;
    std::string value;
    while (reader.next(keyword, value)) {
        const auto key = ado_key(keyword);
        if (!key) {
            continue;  // Npgsql has some sixty keywords about pooling and timeouts: not ours to
                       // refuse.
        }
        switch (*key) {
            case AdoKey::kHost:
                parsed.host = value;
                break;
            case AdoKey::kPort:
                parsed.port = parse_port(value);
                break;
            case AdoKey::kDatabase:
                parsed.database = value;
                break;
            case AdoKey::kUser:
                parsed.user = value;
                break;
            case AdoKey::kPassword:
                parsed.password = Secret{std::string_view{value}};
                wipe(value);
                break;
            case AdoKey::kSslMode:
                parsed.ssl_mode = parse_mode(value);
                break;
        }
    }
    // `Server=host,5432` and `tcp:host` are SQL Server's ways; users paste them.
    if (parsed.host.starts_with("tcp:")) {
        parsed.host.erase(0, 4);
    }
    if (const std::size_t comma = parsed.host.find(','); comma != std::string::npos) {
        parsed.port = parse_port(trim(std::string_view{parsed.host}.substr(comma + 1)));
        parsed.host.resize(comma);
    }
    if (parsed.password.empty()) {
        fail("the connection string holds no Password.");
    }
    return parsed;
}

/// A password may hold `=` and `;`: only a text whose first keyword is one that names a server, a
/// user or a database is taken for a connection string.
bool looks_like_ado(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) {
        return false;
    }
    const std::string_view keyword = trim(text.substr(0, equals));
    return ado_key(keyword).has_value() && text.find(';') != std::string_view::npos;
}

}  // namespace

SecretConnection parse_secret_value(const Secret& value) {
    std::string_view text = value.expose_text();
    // Files and shells leave a newline at the end; no one means it.
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) {
        text.remove_suffix(1);
    }
    if (text.empty()) {
        fail("it is empty.");
    }
    if (text.find('\0') != std::string_view::npos) {
        fail("it holds a NUL byte.");
    }
    for (const std::string_view scheme : {"postgresql://", "postgres://"}) {
        if (starts_with_ignoring_case(text, scheme)) {
            return parse_uri(text.substr(scheme.size()));
        }
    }
    if (looks_like_ado(trim(text))) {
        return parse_ado(text);
    }
    SecretConnection parsed;
    parsed.password = Secret{text};
    return parsed;
}

void apply_secret(ConnectionParameters& parameters, SecretConnection secret) {
    if (parameters.host.empty()) {
        parameters.host = std::move(secret.host);
        parameters.port = secret.port.value_or(parameters.port);
    }
    if (!secret.user.empty()) {
        parameters.user = std::move(secret.user);
    }
    parameters.password = std::move(secret.password);
    // The registration's word on TLS is the operator's; a secret may only fill the gap.
    if (!parameters.ssl_mode && secret.ssl_mode) {
        parameters.ssl_mode = secret.ssl_mode;
    }
}

}  // namespace holdfast::postgres
