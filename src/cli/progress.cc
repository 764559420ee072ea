#include "cli/progress.h"

#include "base/text.h"

#include <iostream>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kWipeLine = "\r\x1b[K";

std::string clock_text(std::chrono::seconds duration) {
    const auto seconds = std::max<std::int64_t>(duration.count(), 0);
    if (seconds >= 3600) {
        return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
}

}  // namespace

Spinner::~Spinner() {
    if (step_ > 0) {
        console_.err << kWipeLine << std::flush;
    }
}

void Spinner::turn() {
    if (!console_.err_is_terminal) {
        return;
    }
    constexpr std::string_view kSteps = "|/-\\";
    console_.err << "\r " << kSteps[step_++ % kSteps.size()] << " Running .." << std::flush;
}

std::string progress_line(const JobProgress& progress, int columns) {
    std::string line = progress.label;
    if (progress.percent) {
        constexpr int kCells = 20;
        const double percent = std::clamp(*progress.percent, 0.0, 100.0);
        const int full = static_cast<int>(percent * kCells / 100);
        line += fmt::format(
            " [{}{}] {:3.0f} %",
            std::string(static_cast<std::size_t>(full), '#'),
            std::string(static_cast<std::size_t>(kCells - full), '.'),
            percent
        );
    } else {
        line += fmt::format(" {}", progress.status);
    }
    std::string facts;
    const auto add = [&](const std::string& fact) { facts += (facts.empty() ? "" : ", ") + fact; };
    if (progress.bytes && progress.bytes_all && *progress.bytes_all >= *progress.bytes) {
        add(fmt::format("{} of {}", format_size(*progress.bytes), format_size(*progress.bytes_all))
        );
    } else if (progress.bytes) {
        add(format_size(*progress.bytes));
    }
    if (progress.bytes_per_second && *progress.bytes_per_second > 0) {
        add(format_size(*progress.bytes_per_second) + "/s");
    }
    if (progress.remaining) {
        add(clock_text(*progress.remaining) + " left");
    }
    line += facts.empty() ? "" : "  " + facts;
    line += progress.phase.empty() ? "" : "  " + progress.phase;
    // The last column stays free: some terminals wrap when it is written.
    const auto width = static_cast<std::size_t>(std::max(columns - 1, 20));
    return line.size() > width ? line.substr(0, width) : line;
}

void ProgressBar::clear() {
    if (drawn_) {
        console_.err << kWipeLine << std::flush;
        drawn_ = false;
    }
}

void ProgressBar::show(const JobProgress& progress) {
    if (!console_.err_is_terminal) {
        return;
    }
    drawn_ = true;
    console_.err << kWipeLine << progress_line(progress, console_.columns) << std::flush;
}

}  // namespace holdfast::cli
