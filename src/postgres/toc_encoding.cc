#include "postgres/toc_encoding.h"

#include "postgres/sql_tokens.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <iconv.h>

namespace holdfast::postgres {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// PostgreSQL's server encodings in iconv's words. SQL_ASCII and MULE_INTERNAL have no counterpart.
constexpr std::array<std::pair<std::string_view, const char*>, 36> kEncodings{{
    {"LATIN1", "ISO-8859-1"},
    {"LATIN2", "ISO-8859-2"},
    {"LATIN3", "ISO-8859-3"},
    {"LATIN4", "ISO-8859-4"},
    {"LATIN5", "ISO-8859-9"},
    {"LATIN6", "ISO-8859-10"},
    {"LATIN7", "ISO-8859-13"},
    {"LATIN8", "ISO-8859-14"},
    {"LATIN9", "ISO-8859-15"},
    {"LATIN10", "ISO-8859-16"},
    {"ISO_8859_5", "ISO-8859-5"},
    {"ISO_8859_6", "ISO-8859-6"},
    {"ISO_8859_7", "ISO-8859-7"},
    {"ISO_8859_8", "ISO-8859-8"},
    {"WIN866", "CP866"},
    {"WIN874", "CP874"},
    {"WIN1250", "CP1250"},
    {"WIN1251", "CP1251"},
    {"WIN1252", "CP1252"},
    {"WIN1253", "CP1253"},
    {"WIN1254", "CP1254"},
    {"WIN1255", "CP1255"},
    {"WIN1256", "CP1256"},
    {"WIN1257", "CP1257"},
    {"WIN1258", "CP1258"},
    {"KOI8R", "KOI8-R"},
    {"KOI8U", "KOI8-U"},
    {"EUC_JP", "EUC-JP"},
    {"EUC_CN", "EUC-CN"},
    {"EUC_KR", "EUC-KR"},
    {"EUC_TW", "EUC-TW"},
    {"EUC_JIS_2004", "EUC-JISX0213"},
    {"SJIS", "SHIFT_JIS"},
    {"BIG5", "BIG5"},
    {"GBK", "GBK"},
    {"GB18030", "GB18030"},
}};

const char* iconv_name(std::string_view encoding) {
    for (const auto& [name, iconv] : kEncodings) {
        if (name == encoding) {
            return iconv;
        }
    }
    return nullptr;
}

bool is_ascii(std::string_view text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) >= 0x80) {
            return false;
        }
    }
    return true;
}

struct Codes {
    const char* to;
    const char* from;
};

std::optional<std::string> convert(std::string_view text, Codes codes) {
    const iconv_t converter = ::iconv_open(codes.to, codes.from);
    if (converter == reinterpret_cast<iconv_t>(-1)) {
        return std::nullopt;
    }
    std::string input{text};
    std::string output(text.size() * 4 + 16, '\0');
    char* in = input.data();
    char* out = output.data();
    std::size_t in_left = input.size();
    std::size_t out_left = output.size();
    const std::size_t result = ::iconv(converter, &in, &in_left, &out, &out_left);
    ::iconv_close(converter);
    if (result != 0 || in_left != 0) {
        return std::nullopt;
    }
    output.resize(output.size() - out_left);
    return output;
}

/// Length of the valid UTF-8 character at the start of `text`, or 0.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(0);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 0;
    if (length == 0 || length > text.size()) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0U) != 0x80) {
            return 0;
        }
    }
    const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
    const bool beyond = (lead == 0xED && byte(1) >= 0xA0) || (lead == 0xF4 && byte(1) >= 0x90);
    return overlong || beyond ? 0 : length;
}

}  // namespace

std::string archive_encoding(const Toc& toc) {
    for (const TocEntry& entry : toc.entries()) {
        if (entry.desc != "ENCODING") {
            continue;
        }
        // SET client_encoding = 'UTF8';
        const auto tokens = tokenize_sql(entry.definition);
        if (tokens) {
            for (const SqlToken& token : *tokens) {
                if (token.kind == SqlToken::Kind::kString) {
                    return token.value;
                }
            }
        }
    }
    return "SQL_ASCII";
}

std::string repair_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        out += length == 0 ? kReplacement : text.substr(0, length);
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return out;
}

std::string to_utf8(std::string_view text, std::string_view encoding) {
    if (!is_ascii(text)) {
        if (const char* from = iconv_name(encoding)) {
            if (auto converted = convert(text, {.to = "UTF-8", .from = from})) {
                return std::move(*converted);
            }
        }
    }
    return repair_utf8(text);
}

std::optional<std::string> from_utf8(std::string_view text, std::string_view encoding) {
    if (!is_ascii(text)) {
        if (const char* to = iconv_name(encoding)) {
            return convert(text, {.to = to, .from = "UTF-8"});
        }
    }
    return std::string{text};
}

}  // namespace holdfast::postgres
