#include "cli/console.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

#include <iostream>

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace holdfast::cli {
namespace {

/// Switches the terminal's echo off while it lives.
class NoEcho {
public:
    explicit NoEcho(int fd) : fd_{fd} {
        if (tcgetattr(fd_, &before_) == 0) {
            termios silent = before_;
            silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
            changed_ = tcsetattr(fd_, TCSAFLUSH, &silent) == 0;
        }
    }
    ~NoEcho() {
        if (changed_) {
            tcsetattr(fd_, TCSAFLUSH, &before_);
        }
    }
    NoEcho(const NoEcho&) = delete;
    NoEcho& operator=(const NoEcho&) = delete;

private:
    int fd_;
    termios before_{};
    bool changed_ = false;
};

}  // namespace

Console process_console() {
    Console console{.in = std::cin, .out = std::cout, .err = std::cerr};
    console.in_is_terminal = isatty(STDIN_FILENO) == 1;
    console.out_is_terminal = isatty(STDOUT_FILENO) == 1;
    console.err_is_terminal = isatty(STDERR_FILENO) == 1;
    winsize size{};
    if (console.err_is_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 &&
        size.ws_col > 0) {
        console.columns = size.ws_col;
    }
    return console;
}

Secret prompt_secret(Console& console, std::string_view prompt) {
    std::string line;
    if (console.in_is_terminal) {
        console.err << prompt << std::flush;
        const NoEcho silent{STDIN_FILENO};
        std::getline(console.in, line);
        console.err << '\n' << std::flush;
    } else {
        std::getline(console.in, line);
    }
    Secret secret{trim(line)};
    wipe(line);
    if (secret.empty()) {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = "Nothing was entered.",
                .recommended_actions = {"Enter it at the prompt, or name a file."},
            }
        };
    }
    return secret;
}

}  // namespace holdfast::cli
