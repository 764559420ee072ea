#include "control/routes/filter.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

class FilterReader {
public:
    FilterReader(std::string_view text, std::initializer_list<std::string_view> known)
        : text_{text}, known_(known) {}

    std::vector<FilterClause> read() {
        std::vector<FilterClause> clauses;
        skip_blanks();
        while (at_ < text_.size()) {
            if (!clauses.empty()) {
                expect_word("and");
            }
            clauses.push_back(read_clause());
            skip_blanks();
        }
        return clauses;
    }

private:
    FilterClause read_clause() {
        FilterClause clause;
        skip_blanks();
        const std::size_t start = at_;
        const std::string name = read_word();
        const auto match = std::find_if(known_.begin(), known_.end(), [&](std::string_view one) {
            return equal_ignoring_case(one, name);
        });
        if (match == known_.end()) {
            std::string listed;
            for (const std::string_view one : known_) {
                listed += fmt::format("{}{}", listed.empty() ? "" : ", ", one);
            }
            fail(start, fmt::format("\"{}\" is not known here. Known: {}.", name, listed));
        }
        clause.name = *match;
        expect_word("eq");
        clause.value = read_value();
        return clause;
    }

    std::string read_word() {
        skip_blanks();
        const std::size_t start = at_;
        while (at_ < text_.size() && text_[at_] != ' ' && text_[at_] != '\'') {
            ++at_;
        }
        return std::string{text_.substr(start, at_ - start)};
    }

    void expect_word(std::string_view word) {
        skip_blanks();
        const std::size_t start = at_;
        if (!equal_ignoring_case(read_word(), word)) {
            fail(start, fmt::format("\"{}\" was expected.", word));
        }
    }

    std::string read_value() {
        skip_blanks();
        if (at_ >= text_.size() || text_[at_] != '\'') {
            // Numbers and booleans come bare.
            const std::size_t start = at_;
            std::string bare = read_word();
            if (bare.empty()) {
                fail(start, "A value was expected.");
            }
            return bare;
        }
        std::string value;
        for (std::size_t i = at_ + 1; i < text_.size(); ++i) {
            if (text_[i] == '\'') {
                if (i + 1 >= text_.size() || text_[i + 1] != '\'') {
                    at_ = i + 1;
                    return value;
                }
                ++i;
            }
            value += text_[i];
        }
        fail(at_, "The quoted value is not closed.");
    }

    void skip_blanks() {
        while (at_ < text_.size() && text_[at_] == ' ') {
            ++at_;
        }
    }

    [[noreturn]] static void fail(std::size_t at, const std::string& problem) {
        throw Error{
            ErrorKind::kInvalidQuery,
            ErrorText{
                .message = fmt::format(
                    "The filter is not understood at character {}: {}", at + 1, problem
                ),
                .target = "$filter",
                .recommended_actions = {"Write it as: name eq 'value' and name eq 'value'."},
            }
        };
    }

    std::string_view text_;
    const std::vector<std::string_view> known_;
    std::size_t at_ = 0;
};

}  // namespace

std::vector<FilterClause> parse_filter(
    std::string_view text, std::initializer_list<std::string_view> known
) {
    return FilterReader{text, known}.read();
}

}  // namespace holdfast::control
