#pragma once

#include "base/clock.h"
#include "base/environment.h"
#include "base/file.h"
#include "cli/run.h"

#include <deque>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace holdfast::cli {

/// Time passes as fast as it is waited for: polls and wait verbs end at once.
class HurryingClock final : public Clock {
public:
    [[nodiscard]] Instant now() const override { return now_; }
    [[nodiscard]] SteadyInstant steady_now() const override {
        return SteadyInstant{now_.time_since_epoch()};
    }
    bool wait_until(Instant deadline, std::stop_token) override {
        waits.push_back(deadline - now_);
        now_ = std::max(now_, deadline);
        return true;
    }

    std::vector<std::chrono::microseconds> waits;

private:
    Instant now_ = parse_instant("2026-01-02T03:04:05Z").value();
};

/// A server that answers from a script: the n-th request gets the n-th answer; what was sent is
/// kept. A request beyond the script is answered with 500, which shows in the test.
class FakeServer {
public:
    struct Answer {
        int status = 200;
        Json body = nullptr;
        std::map<std::string, std::string> headers = {};
    };

    FakeServer& answer(Answer answer);
    /// The last answer from now on, for any number of requests.
    FakeServer& always(Answer answer);

    [[nodiscard]] std::unique_ptr<Transport> connect();

    std::vector<Request> requests;

private:
    friend class FakeTransport;
    [[nodiscard]] Response take();
    std::deque<Answer> script_;
    std::optional<Answer> always_;
};

/// What a command line printed and ended with.
struct Outcome {
    int exit_code = 0;
    std::string out;
    std::string err;
};

/// Runs command lines against a FakeServer, with a profile that names it.
class CommandLine {
public:
    CommandLine();

    /// `words` as a shell would hand them over.
    Outcome run(const std::vector<std::string>& words);

    FakeServer server;
    HurryingClock clock;
    std::string input;  ///< Standard input.
    bool terminal = false;
    std::map<std::string, std::string, std::less<>> variables;
    TemporaryDirectory directory{"holdfast-cli-test"};
    CommandTable table{standard_commands()};
};

}  // namespace holdfast::cli
