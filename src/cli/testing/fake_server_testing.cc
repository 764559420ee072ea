#include "cli/testing/fake_server.h"

namespace holdfast::cli {

class FakeTransport final : public Transport {
public:
    explicit FakeTransport(FakeServer& server) : server_{server} {}
    Response send(const Request& request) override {
        server_.requests.push_back(request);
        return server_.take();
    }

private:
    FakeServer& server_;
};

FakeServer& FakeServer::answer(Answer answer) {
    script_.push_back(std::move(answer));
    return *this;
}

FakeServer& FakeServer::always(Answer answer) {
    always_ = std::move(answer);
    return *this;
}

std::unique_ptr<Transport> FakeServer::connect() {
    return std::make_unique<FakeTransport>(*this);
}

Response FakeServer::take() {
    Answer answer{.status = 500, .body = {{"error", {{"code", "Unscripted"}, {"message", "?"}}}}};
    if (!script_.empty()) {
        answer = std::move(script_.front());
        script_.pop_front();
    } else if (always_) {
        answer = *always_;
    }
    return {
        .status = answer.status,
        .headers = answer.headers,
        .body = answer.body.is_null() ? "" : answer.body.dump()
    };
}

CommandLine::CommandLine() {
    variables = {
        {"HOLDFAST_CONFIG_DIR", (directory.path() / "config").string()},
        {"HOLDFAST_SERVER", "https://localhost:8443"},
        {"HOLDFAST_SUBSCRIPTION", "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e"},
    };
}

Outcome CommandLine::run(const std::vector<std::string>& words) {
    std::istringstream in{input};
    std::ostringstream out;
    std::ostringstream err;
    Console console{.in = in, .out = out, .err = err};
    console.in_is_terminal = terminal;
    console.err_is_terminal = terminal;
    const Environment environment{variables};
    const int exit_code = holdfast::cli::run(
        table,
        words,
        {.console = console,
         .clock = clock,
         .environment = environment,
         .connect = [this](const Profile&) { return server.connect(); }}
    );
    return {.exit_code = exit_code, .out = out.str(), .err = err.str()};
}

}  // namespace holdfast::cli
