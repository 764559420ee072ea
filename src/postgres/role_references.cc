#include "postgres/role_references.h"

#include "base/text.h"
#include "postgres/toc_encoding.h"

#include <algorithm>
#include <optional>

namespace holdfast::postgres {
namespace {

struct Token {
    enum class Kind { kWord, kQuoted, kSymbol };
    Kind kind = Kind::kSymbol;
    std::string text;
    [[nodiscard]] bool is(std::string_view word) const {
        return kind == Kind::kWord && equal_ignoring_case(text, word);
    }
    [[nodiscard]] bool is_name() const { return kind != Kind::kSymbol; }
};

/// Enough of SQL's lexical rules for what pg_dump writes: words, quoted identifiers, literals,
/// comments, symbols.
class Scanner {
public:
    explicit Scanner(std::string_view text) : rest_{text} {}

    std::optional<Token> next() {
        skip_blanks();
        if (rest_.empty()) {
            return std::nullopt;
        }
        const char c = rest_.front();
        if (c == '"') {
            return Token{Token::Kind::kQuoted, take_quoted('"')};
        }
        if (c == '\'') {
            take_quoted('\'');
            return Token{Token::Kind::kSymbol, "'"};
        }
        if (is_word(c)) {
            std::size_t length = 1;
            while (length < rest_.size() && is_word(rest_[length])) {
                ++length;
            }
            return Token{Token::Kind::kWord, take(length)};
        }
        return Token{Token::Kind::kSymbol, take(1)};
    }

private:
    static bool is_word(char c) {
        const bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        return letter || c == '_' || c == '$' || static_cast<unsigned char>(c) >= 0x80;
    }
    std::string take(std::size_t length) {
        std::string text{rest_.substr(0, length)};
        rest_.remove_prefix(length);
        return text;
    }
    std::string take_quoted(char quote) {
        std::string text;
        rest_.remove_prefix(1);
        while (!rest_.empty()) {
            const char c = rest_.front();
            rest_.remove_prefix(1);
            if (c != quote) {
                text.push_back(c);
            } else if (!rest_.empty() && rest_.front() == quote) {
                text.push_back(quote);
                rest_.remove_prefix(1);
            } else {
                break;
            }
        }
        return text;
    }
    void skip_blanks() {
        while (!rest_.empty()) {
            if (rest_.starts_with("--")) {
                rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
            } else if (rest_.front() == ' ' || rest_.front() == '\n' || rest_.front() == '\t') {
                rest_.remove_prefix(1);
            } else {
                return;
            }
        }
    }
    std::string_view rest_;
};

bool names_no_role(const Token& token) {
    for (const std::string_view word :
         {"PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER", "DEFAULT", "SERVER"}) {
        if (token.is(word)) {
            return true;
        }
    }
    return false;
}

/// An unquoted identifier is folded to lower case by the server.
std::string role_name(const Token& token) {
    return token.kind == Token::Kind::kWord ? to_lower(token.text) : token.text;
}

}  // namespace

std::set<std::string> roles_named_in(std::string_view statement) {
    std::set<std::string> roles;
    Scanner scanner{statement};
    std::optional<Token> before;
    std::optional<Token> token = scanner.next();
    while (token) {
        // `USING (…)` of a policy is an expression: anything may stand there, up to the end of the
        // statement.
        if (token->is("USING") || token->is("CHECK")) {
            while (token && token->text != ";") {
                token = scanner.next();
            }
            before.reset();
            continue;
        }
        const bool list =
            token->is("TO") || token->is("FROM") ||
            ((token->is("ROLE") || token->is("USER")) && before && before->is("FOR")) ||
            (token->is("FOR") && before && before->is("MAPPING")) ||
            (token->is("AUTHORIZATION") && before && before->is("SESSION"));
        before = token;
        token = scanner.next();
        while (list && token && token->is_name()) {
            if (!names_no_role(*token)) {
                roles.insert(role_name(*token));
            }
            before = token;
            token = scanner.next();
            if (!token || token->text != ",") {
                break;
            }
            token = scanner.next();
        }
    }
    return roles;
}

void add_roles_of(
    const TocEntry& entry, RoleUse use, std::string_view encoding, std::set<std::string>& roles
) {
    const bool grants = entry.desc == "ACL" || entry.desc == "DEFAULT ACL";
    if (use == RoleUse::kOwner) {
        if (!grants && !entry.owner.empty()) {
            roles.insert(to_utf8(entry.owner, encoding));
        }
        return;
    }
    if (grants || entry.desc == "POLICY" || entry.desc == "USER MAPPING") {
        roles.merge(roles_named_in(to_utf8(entry.definition, encoding)));
    }
}

}  // namespace holdfast::postgres
