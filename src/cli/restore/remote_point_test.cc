#include "cli/restore/remote_point.h"

#include "base/error.h"
#include "base/json.h"
#include "jobs/point_transfer.h"

#include <atomic>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

/// Reads from the memory streams through an object of its own, as a point's source is.
class Borrowed final : public postgres::StreamSource {
public:
    explicit Borrowed(const postgres::MemoryStreams& streams) : streams_{streams} {}
    void list(
        std::string_view prefix, const std::function<void(const postgres::StreamInfo&)>& visit
    ) const override {
        streams_.list(prefix, visit);
    }
    [[nodiscard]] std::unique_ptr<postgres::StreamReader> open(std::string_view name
    ) const override {
        return streams_.open(name);
    }

private:
    const postgres::MemoryStreams& streams_;
};

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
        const jobs::TransferSource source{
            streams, [this](std::stop_token) { return std::make_unique<Borrowed>(*streams); }
        };
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
