#include "base/process.h"

#include "base/error.h"

#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace holdfast {
namespace {

ProcessSpec shell(std::string script) {
    ProcessSpec spec;
    spec.program = "/bin/sh";
    spec.arguments = {"-c", std::move(script)};
    return spec;
}

TEST(Process, ReturnsOutputErrorAndStatus) {
    const RunResult result = run_process(shell("echo out; echo err >&2; exit 3"), 1000, {});
    EXPECT_EQ(result.output, "out\n");
    EXPECT_EQ(result.error, "err\n");
    EXPECT_EQ(result.status.code, 3);
    EXPECT_EQ(result.status.describe(), "exit code 3");
}

TEST(Process, InheritsNoEnvironmentAndNoDescriptor) {
    const FileDescriptor leaky{open("/dev/null", O_RDONLY)
    };  // Without O_CLOEXEC, as some library would.
    ProcessSpec spec = shell("env; ls /proc/self/fd");
    spec.environment = {{"ONLY", "this"}};
    const RunResult result = run_process(spec, 10000, {});
    // The shell adds PWD itself; ls holds one descriptor for the directory it reads.
    EXPECT_NE(result.output.find("ONLY=this\n"), std::string::npos);
    EXPECT_EQ(result.output.find("HOME="), std::string::npos);
    EXPECT_NE(result.output.find("\n0\n1\n2\n3\n"), std::string::npos) << result.output;
    EXPECT_EQ(result.output.find("\n4\n"), std::string::npos) << result.output;
}

TEST(Process, PassesMemoryFilesUnderTheirNumbers) {
    const FileDescriptor first = make_memory_file("first", as_bytes("one"));
    const FileDescriptor second = make_memory_file("second", as_bytes("two"));
    ProcessSpec spec = shell(
        "cat /proc/self/fd/5; cat /proc/self/fd/3; stat -Lc %a /proc/self/fd/3; test ! -e "
        "/proc/self/fd/4"
    );
    spec.environment = {{"PATH", "/usr/bin:/bin"}};
    spec.files = {{.source = first.get(), .number = 3}, {.source = second.get(), .number = 5}};
    const RunResult result = run_process(spec, 1000, {});
    EXPECT_EQ(result.output, "twoone600\n");
    EXPECT_TRUE(result.status.ok());
}

TEST(Process, FeedsInputAndReadsOutput) {
    ProcessSpec spec;
    spec.program = "/bin/cat";
    spec.input = ChildStream::kPipe;
    spec.output = ChildStream::kPipe;
    Process process = Process::start(spec);
    const std::string text(3 * kMiB, 'x');
    std::jthread writer{[&] {
        EXPECT_EQ(process.write_input(as_bytes(text), {}), Process::WriteOutcome::kWritten);
        process.close_input();
    }};
    std::size_t total = 0;
    Bytes buffer(100000);
    while (const std::size_t count = process.read_output(buffer, {})) {
        total += count;
    }
    EXPECT_EQ(total, text.size());
    EXPECT_TRUE(process.wait({}).ok());
}

TEST(Process, WritingToAChildThatEndedIsNoSignal) {
    ProcessSpec spec = shell("exit 0");
    spec.input = ChildStream::kPipe;
    Process process = Process::start(spec);
    const std::string text(3 * kMiB, 'x');
    EXPECT_EQ(process.write_input(as_bytes(text), {}), Process::WriteOutcome::kClosed);
    EXPECT_TRUE(process.wait({}).ok());
}

TEST(Process, StopTerminatesAndThenKills) {
    ProcessSpec spec = shell("trap '' TERM; echo ready; while :; do sleep 10; done");
    spec.environment = {{"PATH", "/usr/bin:/bin"}};
    spec.output = ChildStream::kPipe;
    spec.stop_grace = std::chrono::milliseconds{50};
    Process process = Process::start(spec);
    Bytes buffer(100);
    ASSERT_GT(process.read_output(buffer, {}), 0U);
    std::stop_source stop;
    std::jthread stopper{[&] { stop.request_stop(); }};
    EXPECT_EQ(process.wait(stop.get_token()).signal, SIGKILL);
}

TEST(Process, StopInterruptsABlockedRead) {
    ProcessSpec spec = shell("exec sleep 100");
    spec.environment = {{"PATH", "/usr/bin:/bin"}};
    spec.output = ChildStream::kPipe;
    pid_t pid = 0;
    {
        Process process = Process::start(spec);
        pid = process.pid();
        std::stop_source stop;
        std::jthread stopper{[&] { stop.request_stop(); }};
        Bytes buffer(100);
        try {
            [[maybe_unused]] const auto count = process.read_output(buffer, stop.get_token());
            FAIL() << "not cancelled";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
        }
    }
    EXPECT_NE(kill(pid, 0), 0) << "the destructor reaps";
}

TEST(Process, KeepsBothEndsOfALongStandardError) {
    ProcessSpec spec = shell(
        "echo first >&2; i=0; while [ $i -lt 5000 ]; do echo filler $i >&2; i=$((i+1)); done; echo "
        "last >&2"
    );
    spec.error_bytes_max = 1000;
    const RunResult result = run_process(spec, 1000, {});
    EXPECT_LT(result.error.size(), 1100U);
    EXPECT_EQ(result.error.rfind("first\n", 0), 0U);
    EXPECT_NE(result.error.find("last\n"), std::string::npos);
    EXPECT_NE(result.error.find("bytes left out"), std::string::npos);
}

TEST(Process, AMissingProgramIsAnErrorThatNamesIt) {
    ProcessSpec spec;
    spec.program = "/nonexistent/pg_dump";
    try {
        [[maybe_unused]] const Process process = Process::start(spec);
        FAIL() << "started";
    } catch (const Error& error) {
        EXPECT_NE(error.text().message.find("/nonexistent/pg_dump"), std::string::npos);
    }
}

TEST(Process, OutputAboveTheLimitIsRefused) {
    EXPECT_THROW(
        {
            [[maybe_unused]] const auto result = run_process(shell("exec cat /dev/zero"), 1000, {});
        },
        Error
    );
}

}  // namespace
}  // namespace holdfast
