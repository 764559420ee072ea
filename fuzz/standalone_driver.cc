// Runs a fuzz target where there is no libFuzzer: CI builds the same entry points with GCC's
// sanitizers and this driver.
//
//   NAME_fuzz [-max_total_time=SECONDS] [-runs=N] [-seed=N] [FILE or DIRECTORY]...
//
// The flags are libFuzzer's. Every seed input is run first; then inputs are mutated, and those that
// reach code not reached before are kept (the compiler calls __sanitizer_cov_trace_pc in every
// block). What is tried follows from the seed alone; when a target fails, the input is written to
// ./crash-<length> and shown, and `NAME_fuzz crash-<length>` runs it again.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kInputMax = 4096;
constexpr unsigned kInputSeconds = 20;  // One input that takes longer is a finding.
constexpr std::size_t kMapSize = 1U << 16U;

bool g_reached[kMapSize];
bool g_news = false;
std::string g_input;  // What is being run.

void write_input() {
    const std::string name = "crash-" + std::to_string(g_input.size());
    std::ofstream{name, std::ios::binary} << g_input;
    std::fprintf(stderr, "\nThe input (%zu bytes) is in %s:\n", g_input.size(), name.c_str());
    for (const char c : g_input) {
        const auto byte = static_cast<unsigned char>(c);
        std::fprintf(stderr, byte < 0x20 || byte > 0x7e ? "\\x%02x" : "%c", byte);
    }
    std::fputc('\n', stderr);
}

extern "C" void fail_on_signal(int signal) {
    if (signal == SIGALRM) {
        std::fprintf(stderr, "\nOne input took longer than %u s.\n", kInputSeconds);
    }
    write_input();
    _exit(1);
}

class Mutator {
public:
    Mutator(std::uint64_t seed, const std::vector<std::string>& pool)
        : random_{seed}, pool_{pool} {}

    std::string next() {
        std::string input = any();
        for (std::size_t i = 1 + below(6); i > 0; --i) {
            change(input);
        }
        input.resize(std::min(input.size(), kInputMax));
        return input;
    }

private:
    std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }
    const std::string& any() { return pool_[below(pool_.size())]; }

    std::string piece_of(const std::string& text) {
        const std::size_t start = below(text.size());
        return text.substr(start, 1 + below(std::min<std::size_t>(text.size() - start, 40)));
    }

    std::string token() {
        static constexpr std::string_view kTokens[] = {
            "0",
            "-1",
            "9223372036854775808",
            "18446744073709551616",
            "1e999",
            "1.5",
            "null",
            "true",
            "\"\"",
            "{}",
            "[]",
            "''",
            "%00",
            "%2F",
            "%2e%2e",
            "..",
            "//",
            "\r\n",
            "\r\n\r\n",
            "\t",
            " ",
            "\\u0000",
            "\\ud800",
            "\xed\xa0\x80",
            "\xc0\xaf",
            "\xf4\x90\x80\x80",
            "\xff",
            "\xe2\x80\xae",
            "\\",
            "\"",
            "'",
            "/",
            "?",
            "#",
            "&",
            "=",
            ".",
            ",",
            ":",
            ";",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "|",
        };
        return std::string{kTokens[below(std::size(kTokens))]};
    }

    void change(std::string& input) {
        const std::size_t at = below(input.size() + 1);
        switch (below(8)) {
            case 0:
                if (at < input.size()) {
                    input[at] =
                        static_cast<char>(static_cast<unsigned char>(input[at]) ^ (1U << below(8)));
                }
                break;
            case 1:
                if (at < input.size()) {
                    input[at] = static_cast<char>(random_());
                }
                break;
            case 2:
                input.erase(at, 1 + below(16));
                break;
            case 3:
                input.insert(at, token());
                break;
            case 4:
                input.insert(at, piece_of(any()));
                break;
            case 5: {  // Two inputs crossed.
                const std::string& other = any();
                input = input.substr(0, at) + other.substr(below(other.size() + 1));
                break;
            }
            case 6: {  // Nesting and length.
                const std::string piece = below(2) == 0 ? token() : piece_of(input + " ");
                std::string many;
                for (std::size_t i = below(200); i > 0 && many.size() < kInputMax; --i) {
                    many += piece;
                }
                input.insert(at, many);
                break;
            }
            default:
                input.insert(at, piece_of(input + " "));
                break;
        }
    }

    std::mt19937_64 random_;
    const std::vector<std::string>& pool_;
};

void run_one(const std::string& input) {
    g_input = input;
    // A copy of its own, so that reading past the end is seen.
    const std::vector<std::uint8_t> bytes(input.begin(), input.end());
    ::alarm(kInputSeconds);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ::alarm(0);
}

void add_file(const std::filesystem::path& path, std::vector<std::string>& pool) {
    std::ifstream file{path, std::ios::binary};
    pool.emplace_back(std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{});
}

std::uint64_t number_after(
    std::string_view argument, std::string_view flag, std::uint64_t otherwise
) {
    return argument.starts_with(flag) ? std::strtoull(argument.data() + flag.size(), nullptr, 10)
                                      : otherwise;
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
    const auto place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
    bool& reached = g_reached[(place ^ (place >> 16U)) % kMapSize];
    g_news = g_news || !reached;
    reached = true;
}

int main(int argc, char** argv) {
    std::uint64_t seconds = 10;
    std::uint64_t runs = UINT64_MAX;
    std::uint64_t seed = 1;
    std::vector<std::string> pool{""};
    std::vector<std::filesystem::path> files;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        seconds = number_after(argument, "-max_total_time=", seconds);
        runs = number_after(argument, "-runs=", runs);
        seed = number_after(argument, "-seed=", seed);
        if (!argument.starts_with('-')) {
            if (std::filesystem::is_directory(argument)) {
                for (const auto& entry : std::filesystem::directory_iterator{argument}) {
                    files.push_back(entry.path());
                }
            } else {
                files.emplace_back(argument);
            }
        }
    }
    std::sort(files.begin(), files.end());  // A directory has no order of its own.
    for (const auto& file : files) {
        add_file(file, pool);
    }
    __sanitizer_set_death_callback(write_input);
    ::signal(SIGABRT, fail_on_signal);
    ::signal(SIGALRM, fail_on_signal);
    for (const std::string& input : pool) {
        run_one(input);
    }
    const std::size_t seeds = pool.size() - 1;
    std::cout << "seed " << seed << ", " << seeds << " inputs given" << std::endl;
    Mutator mutator{seed, pool};
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{seconds};
    std::uint64_t done = 0;
    // A single file is a failure run again.
    const bool again = argc == 2 && files.size() == 1 && pool.size() == 2;
    for (; !again && done < runs && std::chrono::steady_clock::now() < end; ++done) {
        std::string input = mutator.next();
        g_news = false;
        run_one(input);
        if (g_news) {
            pool.push_back(std::move(input));
        }
    }
    std::cout << done << " inputs run, " << pool.size() - 1 - seeds
              << " of them reached something new" << std::endl;
    return 0;
}
