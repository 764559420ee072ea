#include "postgres/sql_tokens.h"

#include "base/text.h"

#include <utility>

namespace holdfast::postgres {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}
bool is_name_part(char c) {
    return is_name_start(c) || is_digit(c) || c == '$';
}
bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

class Lexer {
public:
    explicit Lexer(std::string_view text) : text_{text} {}

    std::optional<std::vector<SqlToken>> run() {
        while (skip_blank() && position_ < text_.size()) {
            if (!next()) {
                return std::nullopt;
            }
        }
        if (broken_) {
            return std::nullopt;
        }
        return std::move(tokens_);
    }

private:
    [[nodiscard]] char peek(std::size_t ahead = 0) const {
        return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0';
    }

    /// False when a comment does not end.
    bool skip_blank() {
        while (position_ < text_.size()) {
            if (is_space(peek())) {
                ++position_;
            } else if (peek() == '-' && peek(1) == '-') {
                position_ = std::min(text_.find('\n', position_), text_.size());
            } else if (peek() == '/' && peek(1) == '*') {
                if (!skip_block_comment()) {
                    broken_ = true;
                    return false;
                }
            } else {
                break;
            }
        }
        return true;
    }

    bool skip_block_comment() {
        int depth = 0;
        while (position_ < text_.size()) {
            if (peek() == '/' && peek(1) == '*') {
                ++depth;
                position_ += 2;
            } else if (peek() == '*' && peek(1) == '/') {
                position_ += 2;
                if (--depth == 0) {
                    return true;
                }
            } else {
                ++position_;
            }
        }
        return false;
    }

    bool next() {
        const char c = peek();
        if (c == '"') {
            return quoted('"', SqlToken::Kind::kQuoted);
        }
        if (c == '\'') {
            return quoted('\'', SqlToken::Kind::kString);
        }
        if ((c == 'E' || c == 'e') && peek(1) == '\'') {
            return escape_string();
        }
        if ((c == 'B' || c == 'b' || c == 'X' || c == 'x' || c == 'N' || c == 'n') &&
            peek(1) == '\'') {
            ++position_;
            return quoted('\'', SqlToken::Kind::kOther);
        }
        if (c == '$') {
            return dollar();
        }
        if (is_name_start(c)) {
            word();
            return true;
        }
        symbol_or_number();
        return true;
    }

    void emit(SqlToken::Kind kind, std::size_t begin, std::string value) {
        tokens_.push_back(SqlToken{kind, begin, position_, std::move(value)});
    }

    bool quoted(char quote, SqlToken::Kind kind) {
        const std::size_t begin = position_;
        std::string value;
        ++position_;
        while (position_ < text_.size()) {
            if (peek() != quote) {
                value += text_[position_++];
            } else if (peek(1) == quote) {
                value += quote;
                position_ += 2;
            } else {
                ++position_;
                emit(kind, begin, std::move(value));
                return true;
            }
        }
        return false;
    }

    bool escape_string() {
        const std::size_t begin = position_;
        position_ += 2;
        while (position_ < text_.size()) {
            if (peek() == '\\') {
                position_ += 2;
            } else if (peek() == '\'' && peek(1) == '\'') {
                position_ += 2;
            } else if (peek() == '\'') {
                ++position_;
                emit(
                    SqlToken::Kind::kOther,
                    begin,
                    std::string{text_.substr(begin, position_ - begin)}
                );
                return true;
            } else {
                ++position_;
            }
        }
        return false;
    }

    bool dollar() {
        std::size_t end = position_ + 1;
        while (end < text_.size() && is_name_part(text_[end]) && text_[end] != '$') {
            ++end;
        }
        const bool is_tag = end < text_.size() && text_[end] == '$' && !is_digit(peek(1));
        if (!is_tag) {
            symbol_or_number();  // A parameter: $1.
            return true;
        }
        const std::string_view tag = text_.substr(position_, end + 1 - position_);
        const std::size_t close = text_.find(tag, end + 1);
        if (close == std::string_view::npos) {
            return false;
        }
        const std::size_t begin = position_;
        position_ = close + tag.size();
        emit(SqlToken::Kind::kOther, begin, std::string{text_.substr(begin, position_ - begin)});
        return true;
    }

    void word() {
        const std::size_t begin = position_;
        while (position_ < text_.size() && is_name_part(peek())) {
            ++position_;
        }
        emit(SqlToken::Kind::kWord, begin, to_lower(text_.substr(begin, position_ - begin)));
    }

    void symbol_or_number() {
        const std::size_t begin = position_;
        if (is_digit(peek())) {
            while (is_digit(peek()) || is_name_part(peek()) || (peek() == '.' && is_digit(peek(1)))
            ) {
                ++position_;
            }
        } else if (peek() == ':' && peek(1) == ':') {
            position_ += 2;
        } else {
            ++position_;
        }
        emit(SqlToken::Kind::kOther, begin, std::string{text_.substr(begin, position_ - begin)});
    }

    std::string_view text_;
    std::size_t position_ = 0;
    bool broken_ = false;
    std::vector<SqlToken> tokens_;
};

}  // namespace

std::optional<std::vector<SqlToken>> tokenize_sql(std::string_view text) {
    return Lexer{text}.run();
}

std::optional<QualifiedName> qualified_name_at(
    const std::vector<SqlToken>& tokens, std::size_t position
) {
    if (position + 2 >= tokens.size() || !tokens[position].is_name() ||
        !tokens[position + 1].is_symbol(".") || !tokens[position + 2].is_name()) {
        return std::nullopt;
    }
    return QualifiedName{tokens[position].value, tokens[position + 2].value};
}

std::optional<QualifiedName> parse_qualified_name(std::string_view text) {
    const auto tokens = tokenize_sql(text);
    if (!tokens || tokens->size() != 3) {
        return std::nullopt;
    }
    return qualified_name_at(*tokens, 0);
}

}  // namespace holdfast::postgres
