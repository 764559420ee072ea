// Renaming a table in the statements that make it.
//
// pg_dump writes with an empty search_path, so that every relation is named `schema.name`: such
// pairs are replaced by the map below, found as tokens, never inside strings, comments or bodies.
// Three places name an object without its schema or inside a string, and are known by their
// context: the constraint of ADD CONSTRAINT and the like, the index of CREATE INDEX, and the
// sequence that is the argument of nextval or setval. Whatever names the old table otherwise
// (`orders.customer` in a policy's subquery) is not rewritten: a policy, rule or trigger is then
// left out, anything else refuses the rename.

#include "postgres/toc_rename.h"

#include "base/error.h"
#include "postgres/archive_format.h"
#include "postgres/connection.h"
#include "postgres/sql_tokens.h"
#include "postgres/toc_encoding.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

/// NAMEDATALEN - 1: longer names are cut by the server, and may then collide.
constexpr std::size_t kNameBytesMax = 63;

using NameMap = std::map<QualifiedName, QualifiedName>;

std::string write_name(const QualifiedName& name) {
    return quote_identifier(name.schema) + "." + quote_identifier(name.name);
}

/// Cuts at a character boundary (in any server encoding that keeps ASCII apart, good enough for
/// UTF-8 and one byte).
std::string cut_name(std::string name, std::size_t bytes_max) {
    if (name.size() <= bytes_max) {
        return name;
    }
    std::size_t size = bytes_max;
    while (size > 0 && (static_cast<unsigned char>(name[size]) & 0xC0U) == 0x80) {
        --size;
    }
    name.resize(size);
    return name;
}

class Rewriter {
public:
    Rewriter(const NameMap& names, QualifiedName table) : names_{names}, table_{std::move(table)} {}

    /// Nothing when the text cannot be rewritten; problem() says why.
    std::optional<std::string> rewrite(std::string_view text) {
        const auto tokens = tokenize_sql(text);
        if (!tokens) {
            problem_ = "its statement cannot be read";
            return std::nullopt;
        }
        std::string out;
        std::size_t copied = 0;
        for (std::size_t i = 0; i < tokens->size();) {
            const Replacement replacement = replace_at(*tokens, i);
            if (replacement.tokens == 0) {
                if (names_bare_table(*tokens, i)) {
                    problem_ = "it names the table without its schema, within an expression";
                    return std::nullopt;
                }
                ++i;
                continue;
            }
            out += text.substr(copied, (*tokens)[i].begin - copied);
            out += replacement.text;
            i += replacement.tokens;
            copied = (*tokens)[i - 1].end;
        }
        out += text.substr(copied);
        return out;
    }

    [[nodiscard]] const std::string& problem() const { return problem_; }

private:
    struct Replacement {
        std::size_t tokens = 0;
        std::string text = {};
    };
    using Tokens = std::vector<SqlToken>;

    [[nodiscard]] static bool follows(
        const Tokens& tokens, std::size_t i, std::string_view symbol
    ) {
        return i > 0 && tokens[i - 1].is_symbol(symbol);
    }

    Replacement replace_at(const Tokens& tokens, std::size_t i) const {
        if (tokens[i].kind == SqlToken::Kind::kString) {
            return replace_sequence_argument(tokens, i);
        }
        if (!tokens[i].is_name() || follows(tokens, i, ".")) {
            return {};
        }
        if (const auto name = qualified_name_at(tokens, i)) {
            const auto it = names_.find(*name);
            return it == names_.end() ? Replacement{} : Replacement{3, write_name(it->second)};
        }
        if (names_index_or_constraint(tokens, i)) {
            const auto it = names_.find(QualifiedName{table_.schema, tokens[i].value});
            return it == names_.end() ? Replacement{}
                                      : Replacement{1, quote_identifier(it->second.name)};
        }
        return {};
    }

    /// nextval('schema.name'::regclass), setval('schema.name', ...).
    Replacement replace_sequence_argument(const Tokens& tokens, std::size_t i) const {
        const bool is_class = i + 2 < tokens.size() && tokens[i + 1].is_symbol("::") &&
                              tokens[i + 2].is_word("regclass");
        const bool is_argument =
            i >= 2 && tokens[i - 1].is_symbol("(") &&
            (tokens[i - 2].is_word("setval") || tokens[i - 2].is_word("nextval"));
        if (!is_class && !is_argument) {
            return {};
        }
        const auto name = parse_qualified_name(tokens[i].value);
        const auto it = name ? names_.find(*name) : names_.end();
        return it == names_.end() ? Replacement{}
                                  : Replacement{1, quote_literal(write_name(it->second))};
    }

    static bool names_index_or_constraint(const Tokens& tokens, std::size_t i) {
        if (i == 0) {
            return false;
        }
        const auto before = [&](std::string_view second, std::string_view first) {
            return i >= 2 && tokens[i - 2].is_word(second) && tokens[i - 1].is_word(first);
        };
        const bool index_of_create =
            tokens[i - 1].is_word("index") && i + 1 < tokens.size() && tokens[i + 1].is_word("on");
        return index_of_create || before("add", "constraint") || before("drop", "constraint") ||
               before("on", "constraint") || before("cluster", "on") || before("using", "index");
    }

    bool names_bare_table(const Tokens& tokens, std::size_t i) const {
        return tokens[i].is_name() && tokens[i].value == table_.name && !follows(tokens, i, ".") &&
               i + 1 < tokens.size() && tokens[i + 1].is_symbol(".");
    }

    const NameMap& names_;
    const QualifiedName table_;
    std::string problem_;
};

class Renamer {
public:
    Renamer(
        const Toc& toc,
        const SelectionRequest& request,
        const ItemEntries& item,
        Selection& selection
    )
        : toc_{toc},
          request_{request},
          item_{item},
          selection_{selection},
          encoding_{archive_encoding(toc)} {}

    void run();

private:
    [[nodiscard]] const TocEntry& at(std::size_t i) const { return toc_.entries()[i]; }
    [[noreturn]] void refuse(const std::string& why, std::string advice) const;
    [[nodiscard]] std::string in_archive(const std::string& name) const;
    void check_shape() const;
    void name_parts();
    void add_part(std::size_t i, const std::string& old_name);
    [[nodiscard]] std::string derive_name(const std::string& old_name) const;
    void rewrite_entries();
    void rewrite_entry(std::size_t i);
    [[nodiscard]] std::string new_tag(const TocEntry& entry) const;

    const Toc& toc_;
    const SelectionRequest& request_;
    const ItemEntries& item_;
    Selection& selection_;
    const std::string encoding_;
    QualifiedName from_;
    QualifiedName to_;
    NameMap names_;
    std::set<std::string> taken_;  ///< Names of relations in the new schema, by the archive.
    std::set<std::size_t> left_out_;
};

void Renamer::refuse(const std::string& why, std::string advice) const {
    throw Error{
        ErrorKind::kUnsupportedOperation,
        {.message = fmt::format(
             "{} cannot be restored under another name: {}.", request_.item.to_string(), why
         ),
         .target = request_.item.to_string(),
         .recommended_actions = {std::move(advice)}}
    };
}

std::string Renamer::in_archive(const std::string& name) const {
    auto text = from_utf8(name, encoding_);
    if (!text) {
        refuse(
            fmt::format(
                "the database's encoding {} has no character for part of \"{}\"", encoding_, name
            ),
            "Choose a name that the encoding can express."
        );
    }
    if (text->empty() || text->size() > kNameBytesMax || text->find('\0') != std::string::npos) {
        refuse(
            fmt::format(
                "a name has 1 to {} bytes, \"{}\" has {}", kNameBytesMax, name, text->size()
            ),
            "Choose another name."
        );
    }
    return std::move(*text);
}

void Renamer::check_shape() const {
    if (!item_.root) {
        refuse(
            "only a table can be renamed",
            "Name a table, or restore the schema into another database."
        );
    }
    const TocEntry& root = at(*item_.root);
    if (root.desc != "TABLE") {
        refuse(
            fmt::format("it is a {}, and only tables can be renamed", root.desc),
            "Restore it under its own name, into another database if the name is taken."
        );
    }
    for (const std::size_t i : item_.own) {
        if (i != *item_.root && (at(i).desc == "TABLE" || at(i).desc == "FOREIGN TABLE")) {
            refuse(
                fmt::format("it has partitions or children ({})", describe_entry(at(i), encoding_)),
                "Restore it under its own name into another database."
            );
        }
    }
    for (const TocEntry& entry : toc_.entries()) {
        if (entry.desc == "STDSTRINGS" &&
            entry.definition.find("'off'") != std::string_view::npos) {
            refuse(
                "the database has standard_conforming_strings off",
                "Restore it under its own name into another database."
            );
        }
    }
}

/// orders_pkey of orders becomes copy_pkey of copy.
std::string Renamer::derive_name(const std::string& old_name) const {
    if (from_.name == to_.name) {
        return old_name;
    }
    const bool derived = old_name.starts_with(from_.name + "_");
    const std::string base =
        to_.name + "_" + (derived ? old_name.substr(from_.name.size() + 1) : old_name);
    std::string name = cut_name(base, kNameBytesMax);
    for (int number = 1; taken_.contains(name); ++number) {
        const std::string suffix = fmt::format("{}", number);
        name = cut_name(base, kNameBytesMax - suffix.size()) + suffix;
    }
    return name;
}

void Renamer::add_part(std::size_t i, const std::string& old_name) {
    const QualifiedName from{std::string{at(i).schema}, old_name};
    if (names_.contains(from)) {
        return;
    }
    const QualifiedName to{to_.schema, derive_name(old_name)};
    taken_.insert(to.name);
    names_.emplace(from, to);
    selection_.renamed.push_back({describe_entry(at(i), encoding_), to_utf8(to.name, encoding_)});
}

void Renamer::name_parts() {
    for (const TocEntry& entry : toc_.entries()) {
        if (entry.schema == to_.schema && !entry.tag.empty()) {
            taken_.emplace(entry.tag);
            // Constraints are tagged "table name", and their indexes are relations.
            if (const std::size_t space = entry.tag.find(' '); space != std::string_view::npos) {
                taken_.emplace(entry.tag.substr(space + 1));
            }
        }
    }
    names_.emplace(from_, to_);
    selection_.renamed.push_back(
        {describe_entry(at(*item_.root), encoding_),
         to_utf8(to_.schema, encoding_) + "." + to_utf8(to_.name, encoding_)}
    );
    for (const std::size_t i : item_.own) {
        const TocEntry& entry = at(i);
        if (entry.desc == "INDEX" || entry.desc == "SEQUENCE" || entry.desc == "STATISTICS") {
            add_part(i, std::string{entry.tag});
        } else if (entry.desc == "CONSTRAINT") {
            // Primary key, unique, exclusion: their index is a relation of the schema.
            add_part(i, std::string{entry.tag.substr(from_.name.size() + 1)});
        }
    }
}

std::string Renamer::new_tag(const TocEntry& entry) const {
    const std::string_view tag = entry.tag;
    if (const auto it = names_.find({std::string{entry.schema}, std::string{tag}});
        it != names_.end()) {
        return it->second.name;
    }
    if (tag.starts_with(from_.name) && tag.size() > from_.name.size() &&
        tag[from_.name.size()] == ' ') {
        const std::string rest{tag.substr(from_.name.size() + 1)};
        const auto it = names_.find({std::string{entry.schema}, rest});
        return to_.name + " " + (it == names_.end() ? rest : it->second.name);
    }
    return std::string{tag};
}

void Renamer::rewrite_entry(std::size_t i) {
    const TocEntry& entry = at(i);
    Rewriter rewriter{names_, from_};
    TocOverride change;
    const auto apply = [&](std::string_view text, std::optional<std::string>& out) {
        if (text.data() == nullptr) {
            return true;
        }
        out = rewriter.rewrite(text);
        return out.has_value();
    };
    if (!apply(entry.definition, change.definition) ||
        !apply(entry.drop_statement, change.drop_statement) ||
        !apply(entry.copy_statement, change.copy_statement)) {
        static constexpr std::array<std::string_view, 3> kOptional{"POLICY", "RULE", "TRIGGER"};
        const std::string what = describe_entry(entry, encoding_);
        if (std::find(kOptional.begin(), kOptional.end(), entry.desc) == kOptional.end()) {
            refuse(
                fmt::format("{} cannot be rewritten, {}", what, rewriter.problem()),
                "Restore it under its own name into another database."
            );
        }
        selection_.left_out.push_back(
            {what, fmt::format("it cannot be rewritten for the new name: {}", rewriter.problem())}
        );
        left_out_.insert(i);
        return;
    }
    change.tag = new_tag(entry);
    if (entry.schema == from_.schema) {
        change.schema = to_.schema;
    }
    selection_.overrides.emplace(i, std::move(change));
}

void Renamer::rewrite_entries() {
    const std::set<std::size_t> own{item_.own.begin(), item_.own.end()};
    for (const std::size_t i : selection_.entries) {
        const auto needs = [&](const auto& test) {
            return std::any_of(
                at(i).dependencies.begin(),
                at(i).dependencies.end(),
                [&](std::int32_t id) {
                    const auto needed = toc_.find(id);
                    return needed && test(*needed);
                }
            );
        };
        if (!own.contains(i)) {
            if (needs([&](std::size_t needed) { return needed == *item_.root; })) {
                refuse(
                    fmt::format("{} is needed and refers to it", describe_entry(at(i), encoding_)),
                    "Restore it under its own name into another database."
                );
            }
            continue;
        }
        if (needs([&](std::size_t needed) { return left_out_.contains(needed); })) {
            left_out_.insert(i);  // A comment on what was left out.
            continue;
        }
        rewrite_entry(i);
    }
    std::erase_if(selection_.entries, [&](std::size_t i) { return left_out_.contains(i); });
}

void Renamer::run() {
    check_shape();
    const TocEntry& root = at(*item_.root);
    from_ = {std::string{root.schema}, std::string{root.tag}};
    to_ = {
        request_.target_schema ? in_archive(*request_.target_schema) : from_.schema,
        request_.rename_to ? in_archive(*request_.rename_to) : from_.name,
    };
    if (from_ == to_) {
        return;
    }
    name_parts();
    rewrite_entries();
}

}  // namespace

void rename_item(
    const Toc& toc, const SelectionRequest& request, const ItemEntries& item, Selection& selection
) {
    Renamer{toc, request, item, selection}.run();
}

}  // namespace holdfast::postgres
