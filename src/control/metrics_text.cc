#include "control/metrics_text.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

/// A label's value: backslash, quote and line feed are escaped.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\' || c == '"') {
            out += '\\';
        }
        out += c == '\n' ? std::string{"\\n"} : std::string(1, c);
    }
    return out;
}

std::string number(double value) {
    if (std::isnan(value)) {
        return "NaN";
    }
    if (std::isinf(value)) {
        return value > 0 ? "+Inf" : "-Inf";
    }
    // The shortest text that gives the same number again.
    return fmt::format("{}", value);
}

}  // namespace

void Histogram::observe(double value) {
    const auto bound = std::lower_bound(bounds_->begin(), bounds_->end(), value);
    ++counts_[static_cast<std::size_t>(bound - bounds_->begin())];
    sum_ += value;
}

void MetricsText::family(std::string_view name, Type type, std::string_view help) {
    name_ = name;
    const std::string_view word = type == Type::kCounter ? "counter"
                                  : type == Type::kGauge ? "gauge"
                                                         : "histogram";
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, word);
}

void MetricsText::line(std::string_view suffix, const Labels& labels, double value) {
    text_ += name_;
    text_ += suffix;
    std::string_view before = "{";
    for (const auto& [label, text] : labels) {
        text_ += fmt::format("{}{}=\"{}\"", before, label, escaped(text));
        before = ",";
    }
    text_ += fmt::format("{} {}\n", labels.empty() ? "" : "}", number(value));
}

void MetricsText::sample(const Labels& labels, double value) {
    line("", labels, value);
}

void MetricsText::sample(const Labels& labels, const Histogram& histogram) {
    std::uint64_t below = 0;
    Labels with_bound = labels;
    with_bound.emplace_back("le", "");
    for (std::size_t i = 0; i < histogram.counts().size(); ++i) {
        below += histogram.counts()[i];
        with_bound.back().second =
            i < histogram.bounds().size() ? number(histogram.bounds()[i]) : "+Inf";
        line("_bucket", with_bound, static_cast<double>(below));
    }
    line("_sum", labels, histogram.sum());
    line("_count", labels, static_cast<double>(below));
}

}  // namespace holdfast::control
