#include "cli/restore/remote_point.h"

#include "base/error.h"
#include "base/json.h"
#include "cli/output.h"
#include "cli/restore/listing_file.h"
#include "jobs/point_transfer.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

using jobs::Frame;
using jobs::FrameKind;

constexpr std::uint64_t kSmallMax = 256 * kKiB;
constexpr std::uint64_t kBundleBytesMax = 4 * kMiB;
constexpr std::size_t kBundleStreamsMax = 1000;
/// What may wait for its reader, over all connections; beyond it nothing is fetched ahead.
constexpr std::uint64_t kWaitingBytesMax = 64 * kMiB;

[[noreturn]] void out_of_order(std::string_view name) {
    throw Error{
        ErrorKind::kVaultCorrupt,
        ErrorText{
            .message = "The server sent something else than it was asked for.",
            .target = std::string{name},
            .recommended_actions = {"Use the same version of Holdfast here and on the server."},
        }
    };
}

class WholeStream final : public postgres::StreamReader {
public:
    explicit WholeStream(Bytes bytes) : bytes_{std::move(bytes)} {}
    [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
    std::size_t read(MutableByteSpan out) override {
        const std::size_t got = std::min(out.size(), bytes_.size() - at_);
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), got, out.begin());
        at_ += got;
        return got;
    }

private:
    const Bytes bytes_;
    std::size_t at_ = 0;
};

}  // namespace

/// One answer under way. Read to its end, its transport goes back for the next request.
class RemotePointSource::Connection {
public:
    Connection(
        const RemotePointSource& owner,
        std::unique_ptr<Transport> transport,
        std::unique_ptr<ResponseStream> answer
    )
        : owner_{&owner},
          transport_{std::move(transport)},
          answer_{std::move(answer)},
          frames_{std::make_unique<jobs::FrameReader>(
              [answer = answer_.get()](MutableByteSpan out) { return answer->read(out); }
          )} {}
    Connection(Connection&&) = default;
    Connection& operator=(Connection&&) = delete;

    Frame next() { return frames_->next(); }
    /// After the End frame. What follows must be nothing.
    void finish() {
        std::byte more{};
        if (answer_->read(MutableByteSpan{&more, 1}) != 0) {
            out_of_order("");
        }
        answer_.reset();
        owner_->give_back(std::move(transport_));
    }
    void expect_end(std::string_view name) {
        if (next().kind != FrameKind::kEnd) {
            out_of_order(name);
        }
        finish();
    }

private:
    const RemotePointSource* owner_;
    std::unique_ptr<Transport> transport_;
    std::unique_ptr<ResponseStream> answer_;  // Ends before its transport.
    std::unique_ptr<jobs::FrameReader> frames_;
};

class RemotePointSource::LargeReader final : public postgres::StreamReader {
public:
    LargeReader(Connection connection, std::string name)
        : connection_{std::move(connection)}, name_{std::move(name)} {
        const postgres::StreamInfo info = jobs::parse_stream_frame(connection_.next());
        if (info.spec.name != name_) {
            out_of_order(name_);
        }
        size_ = info.size;
    }
    [[nodiscard]] std::uint64_t size() const override { return size_; }
    std::size_t read(MutableByteSpan out) override {
        while (at_ == frame_.payload.size() && !ended_) {
            take_frame();
        }
        const std::size_t got = std::min(out.size(), frame_.payload.size() - at_);
        std::copy_n(frame_.payload.begin() + static_cast<std::ptrdiff_t>(at_), got, out.begin());
        at_ += got;
        return got;
    }

private:
    void take_frame() {
        frame_ = connection_.next();
        at_ = 0;
        if (frame_.kind == FrameKind::kData) {
            done_ += frame_.payload.size();
            return;
        }
        if (frame_.kind != FrameKind::kStreamEnd || done_ != size_) {
            out_of_order(name_);
        }
        frame_.payload.clear();
        connection_.expect_end(name_);
        ended_ = true;
    }

    Connection connection_;
    const std::string name_;
    std::uint64_t size_ = 0;
    std::uint64_t done_ = 0;
    Frame frame_;
    std::size_t at_ = 0;
    bool ended_ = false;
};

std::unique_ptr<Transport> RemotePointSource::take_transport() const {
    {
        const std::lock_guard lock{mutex_};
        if (!idle_.empty()) {
            auto transport = std::move(idle_.back());
            idle_.pop_back();
            return transport;
        }
    }
    return point_.connect();
}

void RemotePointSource::give_back(std::unique_ptr<Transport> transport) const {
    const std::lock_guard lock{mutex_};
    idle_.push_back(std::move(transport));
}

RemotePointSource::Connection RemotePointSource::begin(const Request& request, Json body) const {
    if (!point_.guard_requests.empty()) {
        body["resourceGuardOperationRequests"] = point_.guard_requests;
    }
    Request filled = request;
    filled.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
    filled.headers["Content-Type"] = "application/json";
    auto transport = take_transport();
    auto answer = transport->open(filled);
    if (answer->head().status != 200) {
        throw server_error(answer->head().status, answer->head().body);
    }
    return Connection{*this, std::move(transport), std::move(answer)};
}

RemotePointSource::Connection RemotePointSource::begin_read(const std::vector<std::string>& names
) const {
    return begin(point_.read, Json{{"streams", names}});
}

void RemotePointSource::list(
    std::string_view prefix, const std::function<void(const postgres::StreamInfo&)>& visit
) const {
    // Taken in whole before the first visit: who visits may work for hours on what it is told of,
    // and the server does not wait so long for a listing to be read.
    ListingFile listing;
    SmallStreams small;  // Known only when the listing is whole.
    Connection connection = begin(point_.list, Json{{"prefix", std::string{prefix}}});
    for (Frame frame = connection.next(); frame.kind != FrameKind::kEnd;
         frame = connection.next()) {
        const postgres::StreamInfo info = jobs::parse_stream_frame(frame);
        if (info.size <= kSmallMax && info.spec.name.size() <= SmallStreams::kNameBytesMax) {
            small.add(info.spec.name, static_cast<std::uint32_t>(info.size));
        }
        listing.add(frame);
    }
    connection.finish();
    {
        const std::lock_guard lock{mutex_};
        for (std::size_t at = 0; at < small.count(); ++at) {
            small_.add(small.name(at), small.size(at));
        }
        small_.sort();
    }
    listing.read([&](const Frame& frame) { visit(jobs::parse_stream_frame(frame)); });
}

bool RemotePointSource::is_small(std::string_view name) const {
    const std::lock_guard lock{mutex_};
    return small_.find(name).has_value();
}

std::unique_ptr<postgres::StreamReader> RemotePointSource::open(std::string_view name) const {
    std::string wanted{name};
    if (is_small(name)) {
        return std::make_unique<WholeStream>(fetch_small(wanted));
    }
    return std::make_unique<LargeReader>(begin_read({wanted}), wanted);
}

/// `name` and those after it that nobody has or fetches. REQUIRES: mutex_ is held, `name` is small.
std::vector<std::string> RemotePointSource::claim_bundle(const std::string& name) const {
    std::vector<std::string> names;
    std::uint64_t bytes = 0;
    for (std::size_t at = small_.find(name).value();
         at < small_.count() && names.size() < kBundleStreamsMax;
         ++at) {
        const bool first = names.empty();
        const std::uint64_t size = small_.size(at);
        if (!first && (bytes + size > kBundleBytesMax ||
                       waiting_bytes_ + bytes + size > kWaitingBytesMax)) {
            break;
        }
        if (first || small_.state(at) == SmallStreams::State::kAtTheServer) {
            names.emplace_back(small_.name(at));
            bytes += size;
            small_.set_state(at, SmallStreams::State::kUnderWay);
        }
    }
    return names;
}

/// REQUIRES: mutex_ is held, `name` is small.
void RemotePointSource::mark(const std::string& name, SmallStreams::State state) const {
    small_.set_state(small_.find(name).value(), state);
}

Bytes RemotePointSource::fetch_small(const std::string& name) const {
    std::unique_lock lock{mutex_};
    while (true) {
        if (const auto found = waiting_.find(name); found != waiting_.end()) {
            Bytes bytes = std::move(found->second);
            waiting_.erase(found);
            waiting_bytes_ -= bytes.size();
            mark(name, SmallStreams::State::kTaken);
            return bytes;
        }
        if (small_.state(small_.find(name).value()) != SmallStreams::State::kUnderWay) {
            const std::vector<std::string> names = claim_bundle(name);
            lock.unlock();
            fetch_bundle(names);
            lock.lock();
            continue;
        }
        arrived_.wait(lock);
    }
}

void RemotePointSource::fetch_bundle(const std::vector<std::string>& names) const {
    std::optional<Error> failure;
    run_boundary(
        [&] {
            Connection connection = begin_read(names);
            for (const std::string& name : names) {
                const postgres::StreamInfo info = jobs::parse_stream_frame(connection.next());
                if (info.spec.name != name || info.size > kSmallMax) {
                    out_of_order(name);
                }
                Bytes bytes;
                Frame frame = connection.next();
                for (; frame.kind == FrameKind::kData; frame = connection.next()) {
                    bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
                    if (bytes.size() > info.size) {
                        out_of_order(name);
                    }
                }
                if (frame.kind != FrameKind::kStreamEnd || bytes.size() != info.size) {
                    out_of_order(name);
                }
                const std::lock_guard lock{mutex_};
                waiting_bytes_ += bytes.size();
                waiting_[name] = std::move(bytes);
                mark(name, SmallStreams::State::kWaiting);
                arrived_.notify_all();
            }
            connection.expect_end(names.back());
        },
        [&](const Error& error) { failure = error; }
    );
    if (failure) {
        {
            const std::lock_guard lock{mutex_};
            for (const std::string& name : names) {
                if (small_.state(small_.find(name).value()) == SmallStreams::State::kUnderWay) {
                    mark(name, SmallStreams::State::kAtTheServer);
                }
            }
        }
        arrived_.notify_all();  // Who waits tries for itself, and hears why not.
        throw Error{*failure};
    }
}

}  // namespace holdfast::cli
