#include "cli/restore/remote_point.h"

#include "base/error.h"
#include "base/json.h"
#include "jobs/point_transfer_testing.h"

#include <atomic>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

/// A server with one recovery point: 300 small streams and a large one.
struct PointServer {
    PointServer() {
        for (int i = 0; i < 300; ++i) {
            put(fmt::format("data/small{:03}", i), std::string(static_cast<std::size_t>(i), 's'));
        }
        put("data/large", std::string(5'000'000, 'l'));
    }
    void put(const std::string& name, const std::string& contents) {
        streams->begin({.name = name, .kind = postgres::StreamKind::kTableData});
        streams->write(as_bytes(contents));
        streams->end();
    }
    Response answer(const Request& request) {
        ++requests;
        if (refuse) {
            return {
                .status = 403,
                .headers = {},
                .body = R"({"error":{"code":"AuthorizationFailed","message":"no"}})"
            };
        }
        const Json body = Json::parse(request.body);
        const jobs::TransferSource source = jobs::testing::source_of(streams);
        const auto frames =
            body.contains("prefix")
                ? jobs::send_listing(source, body["prefix"].get<std::string>())
                : jobs::send_streams(source, body["streams"].get<std::vector<std::string>>());
        Response response{.status = 200, .headers = {}, .body = {}};
        for (std::string block = frames->next(); !block.empty(); block = frames->next()) {
            response.body += block;
        }
        response.body.resize(std::min(response.body.size(), cut_at));
        return response;
    }

    std::shared_ptr<postgres::MemoryStreams> streams = std::make_shared<postgres::MemoryStreams>();
    std::atomic<int> requests{0};
    bool refuse = false;
    std::size_t cut_at = ~std::size_t{0};
};

class PointTransport final : public Transport {
public:
    explicit PointTransport(PointServer& server) : server_{server} {}
    Response send(const Request& request) override { return server_.answer(request); }

private:
    PointServer& server_;
};

RemotePoint point_of(PointServer& server) {
    return {
        .connect = [&server] { return std::make_unique<PointTransport>(server); },
        .list = {.method = "POST", .url = "https://x/listStreams"},
        .read = {.method = "POST", .url = "https://x/readStreams"},
    };
}

std::vector<std::string> list_of(const RemotePointSource& source) {
    std::vector<std::string> names;
    source.list("data/", [&](const postgres::StreamInfo& info) {
        names.push_back(info.spec.name);
    });
    return names;
}

TEST(RemotePoint, SmallStreamsComeManyToARequest) {
    PointServer server;
    const RemotePointSource source{point_of(server)};
    const std::vector<std::string> names = list_of(source);
    ASSERT_EQ(names.size(), 301U);
    std::vector<std::jthread> workers;
    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> bytes{0};
    for (int i = 0; i < 4; ++i) {
        workers.emplace_back([&] {
            for (std::size_t at = next++; at < names.size(); at = next++) {
                bytes += postgres::read_stream(source, names[at], 1 << 30).size();
            }
        });
    }
    workers.clear();
    EXPECT_EQ(bytes, 5'000'000U + 300 * 299 / 2);
    EXPECT_LE(server.requests, 6);
}

TEST(RemotePoint, AListingOfManyStreamsComesBackAsItWas) {
    PointServer server;
    // Several MiB of frames, which go through a file.
    for (int i = 0; i < 30'000; ++i) {
        server.put(fmt::format("many/{:05}/{}", i, std::string(100, 'n')), "");
    }
    const RemotePointSource source{point_of(server)};
    int next = 0;
    source.list("many/", [&](const postgres::StreamInfo& info) {
        EXPECT_TRUE(info.spec.name.starts_with(fmt::format("many/{:05}/", next++)));
        EXPECT_EQ(info.spec.kind, postgres::StreamKind::kTableData);
    });
    EXPECT_EQ(next, 30'000);
    // Listed twice, known once; and small streams of either listing are found.
    EXPECT_EQ(list_of(source).size(), 301U);
    EXPECT_EQ(list_of(source).size(), 301U);
    EXPECT_EQ(postgres::read_stream(source, "data/small007", 100).size(), 7U);
    EXPECT_EQ(
        postgres::read_stream(source, fmt::format("many/29999/{}", std::string(100, 'n')), 1).size(),
        0U
    );
}

TEST(SmallStreams, AreFoundByNameAndKeepTheirState) {
    SmallStreams small;
    small.add("b", 2);
    small.add("d", 4);
    small.sort();
    small.set_state(small.find("b").value(), SmallStreams::State::kTaken);
    small.add("a", 1);
    small.add("b", 2);
    small.add("c", 3);
    small.sort();
    ASSERT_EQ(small.count(), 4U);
    for (std::size_t at = 0; at < 4; ++at) {
        EXPECT_EQ(small.name(at), std::string(1, static_cast<char>('a' + at)));
        EXPECT_EQ(small.size(at), at + 1);
    }
    EXPECT_EQ(small.state(1), SmallStreams::State::kTaken);
    EXPECT_EQ(small.state(2), SmallStreams::State::kAtTheServer);
    EXPECT_FALSE(small.find("bb").has_value());
    EXPECT_FALSE(small.find("e").has_value());
    EXPECT_FALSE(SmallStreams{}.find("a").has_value());
}

TEST(RemotePoint, ACutTransferIsNeverTakenForWhole) {
    PointServer server;
    const RemotePointSource source{point_of(server)};
    (void)list_of(source);
    server.cut_at = 1'000;
    for (const char* name : {"data/small200", "data/large"}) {
        try {
            (void)postgres::read_stream(source, name, 1 << 30);
            ADD_FAILURE() << name << " was taken for whole";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kServerNotReachable) << name;
        }
    }
    EXPECT_THROW(list_of(source), Error);
}

TEST(RemotePoint, TheServersWordsAreKept) {
    PointServer server;
    const RemotePointSource source{point_of(server)};
    (void)list_of(source);
    server.refuse = true;
    try {
        (void)source.open("data/small001");
        ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kAuthorizationFailed);
    }
    server.refuse = false;
    EXPECT_EQ(postgres::read_stream(source, "data/small001", 10).size(), 1U);
    EXPECT_THROW((void)source.open("data/nonesuch"), Error);
}

}  // namespace
}  // namespace holdfast::cli
