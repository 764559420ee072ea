#pragma once

#include "cli/console.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace holdfast::cli {

/// " / Running .." on stderr when that is a terminal; the line is wiped at the end.
class Spinner {
public:
    explicit Spinner(Console& console) : console_{console} {}
    ~Spinner();
    Spinner(const Spinner&) = delete;
    Spinner& operator=(const Spinner&) = delete;
    void turn();

private:
    Console& console_;
    unsigned step_ = 0;
};

/// What is known of a job that runs.
struct JobProgress {
    std::string label;                       ///< "Backup empdb11".
    std::string phase;                       ///< "database empdb11 (1 of 2)".
    std::string status;                      ///< "InProgress".
    std::optional<double> percent;           ///< 0 to 100.
    std::optional<std::uint64_t> bytes;      ///< Done so far.
    std::optional<std::uint64_t> bytes_all;  ///< Expected.
    std::optional<std::uint64_t> bytes_per_second;
    std::optional<std::chrono::seconds> remaining;
};

/// "Backup empdb11 [#####.....]  50 %  1.0 GiB of 2.0 GiB, 100.0 MiB/s, 0:10 left", cut to
/// `columns`.
[[nodiscard]] std::string progress_line(const JobProgress& progress, int columns);

/// Draws progress_line() over and over on stderr when that is a terminal; wipes it at the end.
class ProgressBar {
public:
    explicit ProgressBar(Console& console) : console_{console} {}
    ~ProgressBar() { clear(); }
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;
    void show(const JobProgress& progress);
    void clear();

private:
    Console& console_;
    bool drawn_ = false;
};

}  // namespace holdfast::cli
