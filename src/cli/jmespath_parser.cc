#include "cli/jmespath_parser.h"

#include "base/error.h"

#include <charconv>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

using Node = JmesPath::Node;
using Kind = Node::Kind;
using NodePtr = std::unique_ptr<Node>;

enum class Token {
    kEnd,
    kIdentifier,
    kQuoted,
    kLiteral,
    kNumber,
    kDot,
    kStar,
    kLeftBracket,
    kRightBracket,
    kFlatten,
    kFilter,
    kLeftBrace,
    kRightBrace,
    kLeftParen,
    kRightParen,
    kComma,
    kColon,
    kPipe,
    kOr,
    kAnd,
    kNot,
    kCurrent,
    kReference,
    kCompare
};

struct Lexeme {
    Token token = Token::kEnd;
    std::size_t at = 0;
    std::string text = {};
    OrderedJson literal = {};
    std::int64_t number = 0;
    Comparison comparison = Comparison::kEqual;
};

/// Deeper expressions are refused: the parser and the evaluator recurse.
constexpr int kDepthMax = 200;

/// How tightly an operator holds what stands to its left; the values and the projection limit below
/// follow the reference parser, which the specification's precedence rules come from.
constexpr int kProjectionStop = 10;
constexpr int kStarPower = 20;

int binding_power(Token token) {
    switch (token) {
        case Token::kPipe:
            return 1;
        case Token::kOr:
            return 2;
        case Token::kAnd:
            return 3;
        case Token::kCompare:
            return 5;
        case Token::kFlatten:
            return 9;
        case Token::kStar:
            return kStarPower;
        case Token::kFilter:
            return 21;
        case Token::kDot:
            return 40;
        case Token::kNot:
            return 45;
        case Token::kLeftBrace:
            return 50;
        case Token::kLeftBracket:
            return 55;
        case Token::kLeftParen:
            return 60;
        case Token::kEnd:
        case Token::kIdentifier:
        case Token::kQuoted:
        case Token::kLiteral:
        case Token::kNumber:
        case Token::kRightBracket:
        case Token::kRightBrace:
        case Token::kRightParen:
        case Token::kComma:
        case Token::kColon:
        case Token::kCurrent:
        case Token::kReference:
            return 0;
    }
    return 0;
}

[[noreturn]] void refuse(std::string_view expression, std::size_t at, std::string_view problem) {
    throw Error{
        ErrorKind::kUsage,
        ErrorText{
            .message = fmt::format(
                "argument --query: invalid jmespath expression '{}': {} at position {}.",
                expression,
                problem,
                at + 1
            ),
            .recommended_actions = {"The language is described at https://jmespath.org."},
        }
    };
}

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

class Lexer {
public:
    explicit Lexer(std::string_view text) : text_{text} {}

    std::vector<Lexeme> run() {
        std::vector<Lexeme> out;
        do {
            while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) != nullptr) {
                ++at_;
            }
            out.push_back(next());
        } while (out.back().token != Token::kEnd);
        return out;
    }

private:
    Lexeme next() {
        Lexeme out{.at = at_};
        if (at_ >= text_.size()) {
            return out;
        }
        const char c = text_[at_];
        if (is_letter(c)) {
            const std::size_t begin = at_;
            while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) {
                ++at_;
            }
            out.token = Token::kIdentifier;
            out.text = text_.substr(begin, at_ - begin);
            return out;
        }
        if (is_digit(c) || c == '-') {
            return number(std::move(out));
        }
        if (c == '"' || c == '\'' || c == '`') {
            return quoted(std::move(out), c);
        }
        return symbol(std::move(out));
    }

    Lexeme number(Lexeme out) {
        const char* begin = text_.data() + at_;
        const auto [end, fault] = std::from_chars(begin, text_.data() + text_.size(), out.number);
        if (fault != std::errc{}) {
            refuse(text_, at_, "a number is malformed");
        }
        at_ += static_cast<std::size_t>(end - begin);
        out.token = Token::kNumber;
        return out;
    }

    Lexeme quoted(Lexeme out, char quote) {
        std::string body;
        for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
            if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
                // Raw strings and literals only unescape their own quote; JSON does the rest.
                if (text_[at_ + 1] != quote || quote == '"') {
                    body += text_[at_];
                }
                ++at_;
            }
            body += text_[at_];
        }
        if (at_ >= text_.size()) {
            refuse(text_, out.at, fmt::format("a text that begins with {} has no end", quote));
        }
        ++at_;
        if (quote == '\'') {
            out.token = Token::kLiteral;
            out.literal = body;
            return out;
        }
        if (quote == '"') {
            const OrderedJson name = OrderedJson::parse('"' + body + '"', nullptr, false);
            if (!name.is_string()) {
                refuse(text_, out.at, "a quoted name is not a JSON string");
            }
            out.token = Token::kQuoted;
            out.text = name.get<std::string>();
            return out;
        }
        out.token = Token::kLiteral;
        out.literal = OrderedJson::parse(body, nullptr, false);
        if (out.literal.is_discarded()) {
            const std::size_t start = body.find_first_not_of(" \t\r\n");
            out.literal = OrderedJson::parse(
                '"' + (start == std::string::npos ? std::string{} : body.substr(start)) + '"',
                nullptr,
                false
            );
        }
        if (out.literal.is_discarded()) {
            refuse(text_, out.at, "a literal is not JSON");
        }
        return out;
    }

    Lexeme symbol(Lexeme out) {
        struct Symbol {
            std::string_view text;
            Token token;
            Comparison comparison = Comparison::kEqual;
        };
        static constexpr std::array kSymbols{
            Symbol{"[?", Token::kFilter},
            Symbol{"[]", Token::kFlatten},
            Symbol{"||", Token::kOr},
            Symbol{"&&", Token::kAnd},
            Symbol{"==", Token::kCompare, Comparison::kEqual},
            Symbol{"!=", Token::kCompare, Comparison::kNotEqual},
            Symbol{"<=", Token::kCompare, Comparison::kLessOrEqual},
            Symbol{">=", Token::kCompare, Comparison::kGreaterOrEqual},
            Symbol{"<", Token::kCompare, Comparison::kLess},
            Symbol{">", Token::kCompare, Comparison::kGreater},
            Symbol{"!", Token::kNot},
            Symbol{".", Token::kDot},
            Symbol{"*", Token::kStar},
            Symbol{"[", Token::kLeftBracket},
            Symbol{"]", Token::kRightBracket},
            Symbol{"{", Token::kLeftBrace},
            Symbol{"}", Token::kRightBrace},
            Symbol{"(", Token::kLeftParen},
            Symbol{")", Token::kRightParen},
            Symbol{",", Token::kComma},
            Symbol{":", Token::kColon},
            Symbol{"|", Token::kPipe},
            Symbol{"@", Token::kCurrent},
            Symbol{"&", Token::kReference},
        };
        for (const Symbol& symbol : kSymbols) {
            if (text_.substr(at_).starts_with(symbol.text)) {
                at_ += symbol.text.size();
                out.token = symbol.token;
                out.comparison = symbol.comparison;
                return out;
            }
        }
        refuse(text_, at_, "a character has no meaning");
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

template <typename... Children>
NodePtr make(Kind kind, Children... children) {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    (node->children.push_back(std::move(children)), ...);
    return node;
}

/// Top-down operator precedence.
class PrattParser {
public:
    explicit PrattParser(std::string_view text) : text_{text}, lexemes_{Lexer{text}.run()} {}

    NodePtr run() {
        NodePtr root = expression(0);
        if (peek() != Token::kEnd) {
            fail("the expression should end");
        }
        return root;
    }

private:
    [[nodiscard]] Token peek(std::size_t ahead = 0) const {
        return lexemes_[std::min(at_ + ahead, lexemes_.size() - 1)].token;
    }
    const Lexeme& take() { return lexemes_[std::min(at_++, lexemes_.size() - 1)]; }
    [[noreturn]] void fail(std::string_view problem) const {
        refuse(text_, lexemes_[std::min(at_, lexemes_.size() - 1)].at, problem);
    }
    void expect(Token token, std::string_view what) {
        if (peek() != token) {
            fail(fmt::format("expected {}", what));
        }
        take();
    }

    NodePtr expression(int power) {
        if (++depth_ > kDepthMax) {
            fail("the expression is nested too deeply");
        }
        NodePtr left = prefix();
        while (power < binding_power(peek())) {
            left = infix(std::move(left));
        }
        --depth_;
        return left;
    }

    NodePtr prefix() {
        const Lexeme& lexeme = take();
        switch (lexeme.token) {
            case Token::kLiteral: {
                NodePtr node = make(Kind::kLiteral);
                node->literal = lexeme.literal;
                return node;
            }
            case Token::kIdentifier:
            case Token::kQuoted:
                return name(lexeme);
            case Token::kStar:
                return make(
                    Kind::kValueProjection,
                    make(Kind::kIdentity),
                    peek() == Token::kRightBracket ? make(Kind::kIdentity)
                                                   : projection_rhs(kStarPower)
                );
            case Token::kFilter:
                return filter(make(Kind::kIdentity));
            case Token::kLeftBrace:
                return multi_hash();
            case Token::kLeftParen: {
                NodePtr inner = expression(0);
                expect(Token::kRightParen, "')'");
                return inner;
            }
            case Token::kFlatten:
                return flatten(make(Kind::kIdentity));
            case Token::kNot:
                return make(Kind::kNot, expression(binding_power(Token::kNot)));
            case Token::kLeftBracket:
                return bracket();
            case Token::kCurrent:
                return make(Kind::kIdentity);
            case Token::kReference:
                return make(Kind::kReference, expression(0));
            case Token::kEnd:
            case Token::kNumber:
            case Token::kDot:
            case Token::kRightBracket:
            case Token::kRightBrace:
            case Token::kRightParen:
            case Token::kComma:
            case Token::kColon:
            case Token::kPipe:
            case Token::kOr:
            case Token::kAnd:
            case Token::kCompare:
                break;
        }
        --at_;
        fail(
            lexeme.token == Token::kEnd ? "the expression is not complete"
                                        : "this cannot begin an expression"
        );
    }

    NodePtr name(const Lexeme& lexeme) {
        if (peek() == Token::kLeftParen) {
            if (lexeme.token == Token::kQuoted) {
                fail("a function's name is not quoted");
            }
            return function(lexeme);
        }
        NodePtr node = make(Kind::kField);
        node->text = lexeme.text;
        return node;
    }

    NodePtr infix(NodePtr left) {
        const Lexeme& lexeme = take();
        const Token token = lexeme.token;
        const int power = binding_power(token);
        if (token == Token::kDot) {
            if (peek() == Token::kStar) {
                take();
                return make(Kind::kValueProjection, std::move(left), projection_rhs(kStarPower));
            }
            return make(Kind::kSubexpression, std::move(left), dot_rhs(power));
        }
        if (token == Token::kPipe || token == Token::kOr || token == Token::kAnd) {
            const Kind kind = token == Token::kPipe ? Kind::kPipe
                              : token == Token::kOr ? Kind::kOr
                                                    : Kind::kAnd;
            return make(kind, std::move(left), expression(power));
        }
        if (token == Token::kFilter) {
            return filter(std::move(left));
        }
        if (token == Token::kFlatten) {
            return flatten(std::move(left));
        }
        if (token == Token::kCompare) {
            NodePtr node = make(Kind::kCompare, std::move(left), expression(power));
            node->comparison = lexeme.comparison;
            return node;
        }
        if (token == Token::kLeftBracket) {
            if (peek() == Token::kNumber || peek() == Token::kColon) {
                return project_if_slice(std::move(left), index_or_slice());
            }
            if (peek() == Token::kStar && peek(1) == Token::kRightBracket) {
                take();
                take();
                return make(Kind::kProjection, std::move(left), projection_rhs(kStarPower));
            }
        }
        --at_;
        fail("this cannot follow an expression");
    }

    NodePtr bracket() {
        if (peek() == Token::kNumber || peek() == Token::kColon) {
            return project_if_slice(make(Kind::kIdentity), index_or_slice());
        }
        if (peek() == Token::kStar && peek(1) == Token::kRightBracket) {
            take();
            take();
            return make(Kind::kProjection, make(Kind::kIdentity), projection_rhs(kStarPower));
        }
        return multi_list();
    }

    NodePtr index_or_slice() {
        if (peek() == Token::kNumber && peek(1) == Token::kRightBracket) {
            NodePtr node = make(Kind::kIndex);
            node->number = take().number;
            take();
            return node;
        }
        NodePtr node = make(Kind::kSlice);
        std::size_t part = 0;
        while (peek() != Token::kRightBracket) {
            if (peek() == Token::kColon) {
                if (++part > 2) {
                    fail("a slice has at most three parts");
                }
                take();
            } else if (peek() == Token::kNumber && !node->slice[part]) {
                node->slice[part] = take().number;
            } else {
                fail("expected a slice");
            }
        }
        take();
        return node;
    }

    NodePtr project_if_slice(NodePtr left, NodePtr right) {
        const bool slice = right->kind == Kind::kSlice;
        NodePtr both = make(Kind::kSubexpression, std::move(left), std::move(right));
        return slice ? make(Kind::kProjection, std::move(both), projection_rhs(kStarPower))
                     : std::move(both);
    }

    NodePtr filter(NodePtr left) {
        NodePtr condition = expression(0);
        expect(Token::kRightBracket, "']'");
        NodePtr right = peek() == Token::kFlatten ? make(Kind::kIdentity)
                                                  : projection_rhs(binding_power(Token::kFilter));
        return make(
            Kind::kFilterProjection, std::move(left), std::move(right), std::move(condition)
        );
    }

    NodePtr flatten(NodePtr left) {
        NodePtr right = projection_rhs(binding_power(Token::kFlatten));
        return make(Kind::kProjection, make(Kind::kFlatten, std::move(left)), std::move(right));
    }

    NodePtr projection_rhs(int power) {
        if (binding_power(peek()) < kProjectionStop) {
            return make(Kind::kIdentity);
        }
        if (peek() == Token::kLeftBracket || peek() == Token::kFilter) {
            return expression(power);
        }
        if (peek() == Token::kDot) {
            take();
            return dot_rhs(power);
        }
        fail("this cannot follow a projection");
    }

    NodePtr dot_rhs(int power) {
        const Token token = peek();
        if (token == Token::kIdentifier || token == Token::kQuoted || token == Token::kStar) {
            return expression(power);
        }
        if (token == Token::kLeftBracket) {
            take();
            return multi_list();
        }
        if (token == Token::kLeftBrace) {
            take();
            return multi_hash();
        }
        fail("expected a name, '*', '[' or '{' after '.'");
    }

    NodePtr multi_list() {
        NodePtr node = make(Kind::kMultiList);
        while (true) {
            node->children.push_back(expression(0));
            if (peek() == Token::kRightBracket) {
                break;
            }
            expect(Token::kComma, "',' or ']'");
        }
        take();
        return node;
    }

    NodePtr multi_hash() {
        NodePtr node = make(Kind::kMultiHash);
        while (true) {
            if (peek() != Token::kIdentifier && peek() != Token::kQuoted) {
                fail("expected a name");
            }
            node->keys.push_back(take().text);
            expect(Token::kColon, "':'");
            node->children.push_back(expression(0));
            if (peek() == Token::kRightBrace) {
                break;
            }
            expect(Token::kComma, "',' or '}'");
        }
        take();
        return node;
    }

    NodePtr function(const Lexeme& lexeme) {
        const auto arity = jmespath_function_arity(lexeme.text);
        if (!arity) {
            refuse(text_, lexeme.at, fmt::format("there is no function {}()", lexeme.text));
        }
        take();
        NodePtr node = make(Kind::kFunction);
        node->text = lexeme.text;
        while (peek() != Token::kRightParen) {
            node->children.push_back(expression(0));
            if (peek() == Token::kComma) {
                take();
                if (peek() == Token::kRightParen) {
                    fail("expected an argument");
                }
            } else if (peek() != Token::kRightParen) {
                fail("expected ',' or ')'");
            }
        }
        take();
        if (node->children.size() < arity->min || node->children.size() > arity->max) {
            refuse(
                text_, lexeme.at, fmt::format("{}() has a wrong number of arguments", lexeme.text)
            );
        }
        return node;
    }

    std::string_view text_;
    std::vector<Lexeme> lexemes_;
    std::size_t at_ = 0;
    int depth_ = 0;
};

}  // namespace

NodePtr parse_jmespath(std::string_view expression) {
    return PrattParser{expression}.run();
}

}  // namespace holdfast::cli
