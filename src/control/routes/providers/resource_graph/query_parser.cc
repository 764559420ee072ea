#include "base/text.h"
#include "control/routes/providers/resource_graph/query_value.h"

#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using Kind = GraphExpression::Kind;

constexpr std::size_t kQuerySizeMax = 64 * 1024;  // The client's longest query is under 2 KiB.
constexpr int kDepthMax = 32;
constexpr std::size_t kColumnsMax = 64;
constexpr double kLimitMax = 1e9;
constexpr std::string_view kOperators =
    "where, extend, project, order by, take, summarize count() by, count";

struct Token {
    enum class Kind { kEnd, kName, kString, kNumber, kSymbol };
    Kind kind = Kind::kEnd;
    std::string text;
    std::size_t position = 0;
};

bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

class Lexer {
public:
    explicit Lexer(std::string_view text) : text_{text} { advance(); }

    [[nodiscard]] const Token& peek() const noexcept { return current_; }

    Token take() {
        Token out = std::move(current_);
        advance();
        return out;
    }

    /// The raw text up to the next `)`, which is taken too. For datetime(…), whose content has no
    /// quotes.
    Token take_raw_until_parenthesis() {
        // current_ is the token after the opening parenthesis: go back to its start.
        const std::size_t start = current_.position - 1;
        const std::size_t end = text_.find(')', start);
        if (end == std::string_view::npos) {
            throw_query_fault(start + 1, "The parenthesis of datetime(…) is not closed.");
        }
        Token out{
            Token::Kind::kString, std::string{trim(text_.substr(start, end - start))}, start + 1
        };
        at_ = end + 1;
        advance();
        return out;
    }

private:
    void advance() {
        while (at_ < text_.size() && is_space(text_[at_])) {
            ++at_;
        }
        current_ = Token{Token::Kind::kEnd, {}, at_ + 1};
        if (at_ >= text_.size()) {
            return;
        }
        const char c = text_[at_];
        if (is_name_start(c)) {
            lex_name();
        } else if (is_digit(c)) {
            lex_number();
        } else if (c == '\'' || c == '"') {
            lex_string(c);
        } else {
            lex_symbol();
        }
    }

    void lex_name() {
        std::size_t end = at_;
        while (end < text_.size() && (is_name_start(text_[end]) || is_digit(text_[end]))) {
            ++end;
        }
        current_.kind = Token::Kind::kName;
        current_.text = std::string{text_.substr(at_, end - at_)};
        at_ = end;
        // `in~` is one word of the language.
        if (current_.text == "in" && at_ < text_.size() && text_[at_] == '~') {
            current_.text = "in~";
            ++at_;
        }
    }

    void lex_number() {
        std::size_t end = at_;
        while (end < text_.size() && (is_digit(text_[end]) || text_[end] == '.')) {
            ++end;
        }
        current_.kind = Token::Kind::kNumber;
        current_.text = std::string{text_.substr(at_, end - at_)};
        at_ = end;
    }

    void lex_string(char quote) {
        current_.kind = Token::Kind::kString;
        for (std::size_t i = at_ + 1; i < text_.size(); ++i) {
            char c = text_[i];
            if (c == quote) {
                at_ = i + 1;
                return;
            }
            if (c == '\\') {
                ++i;
                c = i < text_.size() ? unescape(text_[i], i) : '\0';
            }
            current_.text += c;
        }
        throw_query_fault(at_ + 1, "The string is not closed.");
    }

    static char unescape(char c, std::size_t at) {
        switch (c) {
            case '\\':
            case '\'':
            case '"':
                return c;
            case 'n':
                return '\n';
            case 't':
                return '\t';
            case 'r':
                return '\r';
            default:
                throw_query_fault(at, "The escape sequence is not known.");
        }
    }

    void lex_symbol() {
        static constexpr std::array<std::string_view, 17> kSymbols{
            "==",
            "=~",
            "!=",
            "!~",
            ">=",
            "<=",
            "|",
            "(",
            ")",
            "[",
            "]",
            ",",
            ".",
            "=",
            ">",
            "<",
            "!"
        };
        for (const std::string_view symbol : kSymbols) {
            if (text_.substr(at_).starts_with(symbol)) {
                current_.kind = Token::Kind::kSymbol;
                current_.text = std::string{symbol};
                at_ += symbol.size();
                return;
            }
        }
        throw_query_fault(at_ + 1, "The character is not expected here.");
    }

    std::string_view text_;
    std::size_t at_ = 0;
    Token current_;
};

class Parser {
public:
    explicit Parser(std::string_view text) : lexer_{text} {}

    GraphQuery parse() {
        GraphQuery query;
        query.table_position = lexer_.peek().position;
        query.table = take_name("the name of a table");
        while (lexer_.peek().kind != Token::Kind::kEnd) {
            expect_symbol("|");
            query.operators.push_back(parse_operator());
        }
        return query;
    }

private:
    GraphOperator parse_operator() {
        const Token verb = lexer_.take();
        GraphOperator out;
        if (verb.kind != Token::Kind::kName) {
            fail(verb, "An operator was expected: " + std::string{kOperators} + ".");
        }
        if (verb.text == "where") {
            out.expression = parse_or();
        } else if (verb.text == "extend") {
            out.kind = GraphOperator::Kind::kExtend;
            out.columns = parse_columns(Naming::kRequired);
        } else if (verb.text == "project") {
            out.kind = GraphOperator::Kind::kProject;
            out.columns = parse_columns(Naming::kOptional);
        } else if (verb.text == "order" || verb.text == "sort") {
            out.kind = GraphOperator::Kind::kOrderBy;
            expect_name("by");
            out.columns = parse_columns(Naming::kNone);
        } else if (verb.text == "take" || verb.text == "limit") {
            out.kind = GraphOperator::Kind::kTake;
            out.limit = parse_limit();
        } else if (verb.text == "summarize") {
            parse_summarize(out);
        } else if (verb.text == "count") {
            out.kind = GraphOperator::Kind::kCount;
        } else {
            fail(verb, "An operator was expected: " + std::string{kOperators} + ".");
        }
        return out;
    }

    enum class Naming { kRequired, kOptional, kNone };

    /// `a = x, b = y`, `a, b = y` or `x desc, y`, as the operator has them.
    std::vector<GraphColumn> parse_columns(Naming naming) {
        std::vector<GraphColumn> out;
        do {
            if (out.size() == kColumnsMax) {
                fail(lexer_.peek(), "There are too many columns.");
            }
            GraphColumn column;
            const Token first = lexer_.peek();
            column.expression = parse_or();
            const bool names = naming != Naming::kNone && column.expression.kind == Kind::kColumn &&
                               take_symbol("=");
            if (names) {
                column.name = first.text;
                column.expression = parse_or();
            } else if (naming == Naming::kRequired) {
                fail(first, "The name of a column and = were expected.");
            } else {
                column.name = default_name(column.expression);
            }
            if (naming == Naming::kNone) {
                column.direction = parse_direction();
            }
            out.push_back(std::move(column));
        } while (take_symbol(","));
        return out;
    }

    /// Kusto's own: what sorts is descending unless said otherwise.
    GraphColumn::Direction parse_direction() {
        if (is_name("asc")) {
            lexer_.take();
            return GraphColumn::Direction::kAscending;
        }
        if (is_name("desc")) {
            lexer_.take();
        }
        return GraphColumn::Direction::kDescending;
    }

    std::size_t parse_limit() {
        const Token token = lexer_.take();
        if (token.kind != Token::Kind::kNumber) {
            fail(token, "A number of rows was expected.");
        }
        const double value = parse_number(token);
        if (value < 0 || value > kLimitMax || value != std::floor(value)) {
            fail(token, "A whole number of rows was expected.");
        }
        return static_cast<std::size_t>(value);
    }

    /// `[name =] count() [by columns]`
    void parse_summarize(GraphOperator& out) {
        out.kind = GraphOperator::Kind::kSummarize;
        out.name = "count_";
        std::string word = take_name("count()");
        if (take_symbol("=")) {
            out.name = word;
            word = take_name("count()");
        }
        if (word != "count") {
            fail(lexer_.peek(), "summarize knows count() alone.");
        }
        expect_symbol("(");
        expect_symbol(")");
        if (is_name("by")) {
            lexer_.take();
            out.columns = parse_columns(Naming::kOptional);
        }
    }

    /// What a column without a name is called: `properties.status` is properties_status.
    static std::string default_name(const GraphExpression& expression) {
        if (expression.kind == Kind::kColumn) {
            return expression.text;
        }
        if (expression.kind == Kind::kMember) {
            return default_name(expression.children[0]) + "_" + expression.text;
        }
        return "Column" + std::to_string(expression.position);
    }

    void expect_name(std::string_view word) {
        if (!is_name(word)) {
            fail(lexer_.peek(), fmt::format("\"{}\" was expected.", word));
        }
        lexer_.take();
    }

    GraphExpression parse_or() {
        const DepthGuard guard{*this};
        return parse_chain("or", Kind::kOr, [this] { return parse_and(); });
    }

    GraphExpression parse_and() {
        return parse_chain("and", Kind::kAnd, [this] { return parse_comparison(); });
    }

    /// One flat node for `a and b and c`, so that a long chain is not a deep tree.
    GraphExpression parse_chain(
        std::string_view word, Kind kind, const std::function<GraphExpression()>& parse_part
    ) {
        GraphExpression first = parse_part();
        if (!is_name(word)) {
            return first;
        }
        GraphExpression out{.kind = kind, .position = lexer_.peek().position};
        out.children.push_back(std::move(first));
        while (is_name(word)) {
            lexer_.take();
            out.children.push_back(parse_part());
        }
        return out;
    }

    GraphExpression parse_comparison() {
        GraphExpression left = parse_postfix();
        const Token& next = lexer_.peek();
        if (next.kind == Token::Kind::kName && (next.text == "in" || next.text == "in~")) {
            return parse_in(std::move(left), Kind::kIn);
        }
        if (next.kind == Token::Kind::kSymbol && next.text == "!") {
            lexer_.take();
            if (!is_name("in") && !is_name("in~")) {
                fail(lexer_.peek(), "After \"!\", in or in~ was expected.");
            }
            return parse_in(std::move(left), Kind::kNotIn);
        }
        struct Comparison {
            std::string_view text;
            Kind kind;
            bool fold_case;
        };
        static constexpr std::array<Comparison, 12> kComparisons{{
            {"==", Kind::kEqual, false},
            {"=~", Kind::kEqual, true},
            {"!=", Kind::kNotEqual, false},
            {"!~", Kind::kNotEqual, true},
            {"<", Kind::kLess, false},
            {"<=", Kind::kLessOrEqual, false},
            {">", Kind::kGreater, false},
            {">=", Kind::kGreaterOrEqual, false},
            {"startswith", Kind::kStartsWith, true},
            {"startswith_cs", Kind::kStartsWith, false},
            {"contains", Kind::kContains, true},
            {"contains_cs", Kind::kContains, false},
        }};
        for (const Comparison& comparison : kComparisons) {
            if (next.kind != Token::Kind::kString && next.text == comparison.text) {
                GraphExpression out{.kind = comparison.kind, .position = lexer_.take().position};
                out.fold_case = comparison.fold_case;
                out.children.push_back(std::move(left));
                out.children.push_back(parse_postfix());
                return out;
            }
        }
        return left;
    }

    GraphExpression parse_in(GraphExpression left, Kind kind) {
        const Token word = lexer_.take();
        GraphExpression out{.kind = kind, .position = word.position};
        out.fold_case = word.text == "in~";
        out.children.push_back(std::move(left));
        expect_symbol("(");
        do {
            out.children.push_back(parse_or());
        } while (take_symbol(","));
        expect_symbol(")");
        return out;
    }

    GraphExpression parse_postfix() {
        GraphExpression out = parse_primary();
        while (true) {
            const std::size_t position = lexer_.peek().position;
            if (take_symbol(".")) {
                GraphExpression member{.kind = Kind::kMember, .position = position};
                member.text = take_name("the name of a property");
                member.children.push_back(std::move(out));
                out = std::move(member);
            } else if (take_symbol("[")) {
                GraphExpression index = parse_subscript(position);
                index.children.push_back(std::move(out));
                out = std::move(index);
            } else {
                return out;
            }
            if (++postfixes_ > kPostfixesMax) {
                throw_query_fault(position, "The query is too long.");
            }
        }
    }

    GraphExpression parse_subscript(std::size_t position) {
        const Token token = lexer_.take();
        GraphExpression out{.position = position};
        if (token.kind == Token::Kind::kNumber) {
            out.kind = Kind::kIndex;
            out.number = parse_number(token);
            if (out.number > kLimitMax) {
                fail(token, "The number is too large.");
            }
        } else if (token.kind == Token::Kind::kString) {
            out.kind = Kind::kMember;
            out.text = token.text;
        } else {
            fail(token, "A number or a quoted property name was expected.");
        }
        expect_symbol("]");
        return out;
    }

    GraphExpression parse_primary() {
        const Token token = lexer_.take();
        GraphExpression out{.position = token.position};
        if (token.kind == Token::Kind::kString) {
            out.kind = Kind::kString;
            out.text = token.text;
            return out;
        }
        if (token.kind == Token::Kind::kNumber) {
            out.kind = Kind::kNumber;
            out.number = parse_number(token);
            return out;
        }
        if (token.kind == Token::Kind::kSymbol && token.text == "(") {
            out = parse_or();
            expect_symbol(")");
            return out;
        }
        if (token.kind != Token::Kind::kName) {
            fail(token, "A column, a value or a function was expected.");
        }
        if (token.text == "true" || token.text == "false") {
            out.kind = Kind::kBool;
            out.number = token.text == "true" ? 1 : 0;
            return out;
        }
        if (!take_symbol("(")) {
            out.kind = Kind::kColumn;
            out.text = token.text;
            return out;
        }
        return token.text == "datetime" ? parse_datetime(token) : parse_call(token);
    }

    GraphExpression parse_datetime(const Token& name) {
        const Token raw = lexer_.take_raw_until_parenthesis();
        std::string_view text = raw.text;
        if (text.size() >= 2 && (text.front() == '\'' || text.front() == '"')) {
            text = text.substr(1, text.size() - 2);
        }
        auto instant = parse_instant(text);
        if (!instant) {
            // A day alone means its first instant; the client appends a Z to what its user typed.
            const std::string day{text.ends_with('Z') ? text.substr(0, text.size() - 1) : text};
            instant = parse_instant(day.size() == 10 ? day + "T00:00:00Z" : day);
        }
        if (!instant) {
            throw_query_fault(
                raw.position, fmt::format("\"{}\" is not a date and time.", raw.text.substr(0, 80))
            );
        }
        return {.kind = Kind::kDatetime, .position = name.position, .instant = *instant};
    }

    GraphExpression parse_call(const Token& name) {
        GraphExpression out{.kind = Kind::kCall, .position = name.position};
        out.text = name.text;
        if (!take_symbol(")")) {
            do {
                out.children.push_back(parse_or());
            } while (take_symbol(","));
            expect_symbol(")");
        }
        check_call(out);
        return out;
    }

    static double parse_number(const Token& token) {
        double value = 0;
        const char* end = token.text.data() + token.text.size();
        const auto [rest, fault] = std::from_chars(token.text.data(), end, value);
        if (fault != std::errc{} || rest != end) {
            fail(token, "The number is malformed.");
        }
        return value;
    }

    [[nodiscard]] bool is_name(std::string_view word) const {
        return lexer_.peek().kind == Token::Kind::kName && lexer_.peek().text == word;
    }

    bool take_symbol(std::string_view symbol) {
        if (lexer_.peek().kind != Token::Kind::kSymbol || lexer_.peek().text != symbol) {
            return false;
        }
        lexer_.take();
        return true;
    }

    void expect_symbol(std::string_view symbol) {
        if (!take_symbol(symbol)) {
            fail(lexer_.peek(), fmt::format("\"{}\" was expected.", symbol));
        }
    }

    std::string take_name(std::string_view what) {
        const Token token = lexer_.take();
        if (token.kind != Token::Kind::kName) {
            fail(token, fmt::format("Expected {}.", what));
        }
        return token.text;
    }

    [[noreturn]] static void fail(const Token& token, const std::string& problem) {
        const std::string found = token.kind == Token::Kind::kEnd
                                      ? "the query ends"
                                      : fmt::format("\"{}\" was found", token.text.substr(0, 80));
        throw_query_fault(token.position, fmt::format("{} Instead {}.", problem, found));
    }

    /// Bounds the recursion, so that a hostile text cannot exhaust the stack.
    class DepthGuard {
    public:
        explicit DepthGuard(Parser& parser) : parser_{parser} {
            if (++parser_.depth_ > kDepthMax) {
                throw_query_fault(
                    parser_.lexer_.peek().position, "The query is nested too deeply."
                );
            }
        }
        ~DepthGuard() { --parser_.depth_; }
        DepthGuard(const DepthGuard&) = delete;
        DepthGuard& operator=(const DepthGuard&) = delete;

    private:
        Parser& parser_;
    };

    static constexpr int kPostfixesMax = 1000;
    Lexer lexer_;
    int depth_ = 0;
    int postfixes_ = 0;
};

}  // namespace

GraphQuery parse_graph_query(std::string_view text) {
    if (text.size() > kQuerySizeMax) {
        throw_query_fault(kQuerySizeMax, "The query is longer than 64 KiB.");
    }
    // JSON can't carry anything else, but what groups rows by a constant writes it as JSON again.
    if (!is_utf8(text)) {
        throw_query_fault(1, "The query is not UTF-8 text.");
    }
    return Parser{text}.parse();
}

}  // namespace holdfast::control
