#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::control {

/// Counts of values at or below each bound, as Prometheus wants them.
class Histogram {
public:
    /// `bounds`: ascending; lives as long as this.
    explicit Histogram(const std::vector<double>& bounds)
        : bounds_{&bounds}, counts_(bounds.size() + 1) {}
    void observe(double value);

    [[nodiscard]] const std::vector<double>& bounds() const noexcept { return *bounds_; }
    /// In each interval, not added up; the last one is above all bounds.
    [[nodiscard]] const std::vector<std::uint64_t>& counts() const noexcept { return counts_; }
    [[nodiscard]] double sum() const noexcept { return sum_; }

private:
    const std::vector<double>* bounds_;
    std::vector<std::uint64_t> counts_;
    double sum_ = 0;
};

/// Writes Prometheus's text exposition format 0.0.4: families in order, each with its samples.
class MetricsText {
public:
    using Labels = std::vector<std::pair<std::string_view, std::string>>;
    enum class Type { kCounter, kGauge, kHistogram };

    /// Begins a family; its samples follow.
    void family(std::string_view name, Type type, std::string_view help);
    void sample(const Labels& labels, double value);
    void sample(const Labels& labels, const Histogram& histogram);

    [[nodiscard]] std::string take() && { return std::move(text_); }

private:
    void line(std::string_view suffix, const Labels& labels, double value);

    std::string name_;
    std::string text_;
};

}  // namespace holdfast::control
