#include "control/http/http_server.h"

#include "base/log.h"
#include "base/threads.h"
#include "control/http/request_reader.h"
#include "control/http/serialize.h"
#include "control/http/waiting_answers.h"

#include <deque>
#include <list>
#include <set>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

// Why not asio::ssl::stream: it keeps 34 KB of buffers and a 34 KB BIO pair for each connection,
// idle or not. Here OpenSSL works on the socket itself and Asio only says when it is ready, so that
// an idle connection costs what OpenSSL keeps once its buffers are released
// (docs/decisions/0030-tls-on-the-socket.md has the figures).
//
// A session lives on one io_context, which one thread runs: nothing in it needs a lock. It is in
// one phase at a time, each phase with a deadline (but kHandling: the worker owns the request
// then).

namespace holdfast::control {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kReadBlock = 16 * 1024;   // One TLS record, as much as any socket holds.
constexpr std::size_t kFileBlock = 256 * 1024;  // Of a download, per trip to the file readers.
constexpr std::size_t kStreamThreads = 4;       // Make bodies: vault reads, decompression.
constexpr int kBacklog = 1024;
constexpr auto kLingerTime = std::chrono::seconds{5};
constexpr auto kAcceptPause = std::chrono::milliseconds{100};
constexpr auto kFullLogPause = std::chrono::minutes{1};
// Above connections_max: newcomers that wait for their lane to close another connection for them.
constexpr std::size_t kNewcomersMax = 64;

struct SslDeleter {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};

std::string describe_peer(const tcp::socket& socket) {
    ErrorCode fault;
    const auto peer = socket.remote_endpoint(fault);
    if (fault) {
        return "unknown";
    }
    const std::string address = peer.address().to_string();
    return peer.address().is_v6() ? fmt::format("[{}]:{}", address, peer.port())
                                  : fmt::format("{}:{}", address, peer.port());
}

/// OpenSSL writes to the socket itself, without MSG_NOSIGNAL. Blocked in these threads only, so
/// that child processes keep the default.
void block_broken_pipe_signal() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

/// Turns a JSON body into its text, and returns it: making the one and giving a large other's
/// memory back is work for a worker. A thread that serves sockets has other clients waiting.
Json leave_only_text(Reply& reply) {
    auto* json = std::get_if<Json>(&reply.body);
    if (json == nullptr) {
        return nullptr;
    }
    reply.encode();
    Json done = std::move(*json);
    if (!reply.headers.has("Content-Type")) {
        reply.headers.set("Content-Type", std::string{kJsonContentType});
    }
    reply.body = std::move(reply.json_text);
    return done;
}

class Session;

/// One thread's share of the sockets.
struct Lane {
    explicit Lane(const HttpSettings& settings)
        : answers{
              settings.answer_bytes_max / std::max<std::size_t>(settings.socket_threads, 1),
              settings.displace_after
          } {}

    struct Parked {
        std::shared_ptr<Session> session;
        void (Session::*next)();
    };

    asio::io_context context{1};
    std::atomic<std::size_t> answer_bytes{0};  // For others to see.
    // Touched by the lane's thread only.
    std::set<std::shared_ptr<Session>> sessions;
    std::list<Session*> waiting;  // Those whose client has to send something; the longest first.
    WaitingAnswers answers;
    std::deque<Parked> parked;  // Downloads whose next block has no room; the longest first.
    std::array<char, kReadBlock> scratch{};
};

/// What sessions share.
struct Shared {
    Shared(HttpSettings settings_in, const TlsSlot& tls_in, Clock& clock_in)
        : settings{std::move(settings_in)}, tls{tls_in}, clock{clock_in} {}

    const HttpSettings settings;
    const TlsSlot& tls;
    Clock& clock;
    RequestHandler* handler = nullptr;  // Set before the first session.
    std::atomic<std::size_t> connections{0};
    std::atomic<bool> draining{false};
    std::mutex mutex;
    std::condition_variable all_closed;
    // Set before the first session; see the order of State's members.
    ThreadPool* workers = nullptr;
    ThreadPool* file_readers =
        nullptr;                        // One block per session at a time: its queue is never full.
    ThreadPool* body_makers = nullptr;  // Likewise.
};

class Session final : public std::enable_shared_from_this<Session>, public WaitingAnswers::Holder {
public:
    Session(Shared& shared, Lane& lane, tcp::socket socket)
        : shared_{shared}, lane_{lane}, socket_{std::move(socket)}, timer_{lane.context} {
        ++shared_.connections;
    }
    ~Session() override {
        // The last one out lets stop() go on.
        const std::lock_guard lock{shared_.mutex};
        --shared_.connections;
        shared_.all_closed.notify_all();
    }

    void start() {
        if (shared_.draining) {
            return;
        }
        lane_.sessions.insert(shared_from_this());
        peer_ = describe_peer(socket_);
        ErrorCode ignored;
        socket_.native_non_blocking(true, ignored);
        socket_.set_option(tcp::no_delay{true}, ignored);
        tls_ = shared_.tls.current();
        ssl_.reset(SSL_new(tls_.get()));
        if (ssl_ == nullptr || SSL_set_fd(ssl_.get(), socket_.native_handle()) != 1) {
            close();
            return;
        }
        wait_for_client(Phase::kHandshake, shared_.settings.handshake_timeout);
        handshake();
    }

    /// Closes the connection of the lane that has waited for its client longest, when that is long
    /// enough.
    static bool close_longest_waiting(Lane& lane, const Shared& shared) {
        if (lane.waiting.empty()) {
            return false;
        }
        Session& longest = *lane.waiting.front();
        if (shared.clock.steady_now() - longest.waiting_since_ < shared.settings.displace_after) {
            return false;
        }
        longest.close();
        return true;
    }

    /// For the shutdown: leaves at once when nothing is under way.
    void drain() {
        if (phase_ == Phase::kIdle || phase_ == Phase::kHandshake) {
            close();
        }
    }

    void close() {
        if (phase_ == Phase::kClosed) {
            return;
        }
        if (ssl_ != nullptr && phase_ != Phase::kHandshake && phase_ != Phase::kLingering &&
            !broken_) {
            ERR_clear_error();
            SSL_shutdown(ssl_.get());  // Best effort; the answer is not waited for.
        }
        go_on_to(Phase::kClosed);
        drop_stream();
        let_go();
        ErrorCode ignored;
        socket_.shutdown(tcp::socket::shutdown_both, ignored);
        socket_.close(ignored);
        timer_.cancel();
        lane_.sessions.erase(shared_from_this());
    }

    /// Somebody else needs the room of what this client does not take.
    void make_way() override {
        log_info("connection closed: its client takes an answer too slowly", {{"peer", peer_}});
        broken_ = true;
        close();
    }

private:
    enum class Phase {
        kHandshake,
        kIdle,
        kHeader,
        kBody,
        kHandling,
        kWriting,
        kLingering,
        kClosed
    };
    using Step = void (Session::*)();

    /// Into a phase in which it is not the client's turn.
    void go_on_to(Phase phase) {
        phase_ = phase;
        if (place_) {
            lane_.waiting.erase(*place_);
            place_.reset();
        }
    }

    /// Into a phase in which the client has to send something until `timeout` is over.
    void wait_for_client(Phase phase, std::chrono::milliseconds timeout) {
        go_on_to(phase);
        place_ = lane_.waiting.insert(lane_.waiting.end(), this);
        waiting_since_ = shared_.clock.steady_now();
        set_deadline(timeout);
    }

    /// One timer per session, set anew only when it fires or comes too late: a deadline that moves
    /// on, as they nearly always do, costs nothing.
    void set_deadline(std::chrono::milliseconds timeout) {
        deadline_ = shared_.clock.steady_now() + timeout;
        if (deadline_ < timer_at_) {
            watch_deadline();
        }
    }

    void watch_deadline() {
        const auto left = std::max<SteadyInstant::duration>(
            deadline_ - shared_.clock.steady_now(), std::chrono::milliseconds{20}
        );
        timer_at_ = shared_.clock.steady_now() + left;
        timer_.expires_after(left);
        timer_.async_wait([self = shared_from_this()](ErrorCode fault) {
            if (fault || self->phase_ == Phase::kClosed) {
                return;
            }
            if (self->phase_ == Phase::kHandling ||
                self->shared_.clock.steady_now() < self->deadline_) {
                self->watch_deadline();
                return;
            }
            self->broken_ = true;  // No farewell to somebody who does not listen.
            self->close();
        });
    }

    void wait_for(tcp::socket::wait_type readiness, Step next) {
        socket_.async_wait(readiness, [self = shared_from_this(), next](ErrorCode fault) {
            if (self->phase_ == Phase::kClosed) {
                return;
            }
            if (fault) {
                self->close();
                return;
            }
            (self.get()->*next)();
        });
    }

    /// After an OpenSSL call that returned `result`: waits for what it wants and goes on with
    /// `next`, or closes.
    void wait_or_close(int result, Step next) {
        switch (SSL_get_error(ssl_.get(), result)) {
            case SSL_ERROR_WANT_READ:
                wait_for(tcp::socket::wait_read, next);
                return;
            case SSL_ERROR_WANT_WRITE:
                wait_for(tcp::socket::wait_write, next);
                return;
            case SSL_ERROR_ZERO_RETURN:
                break;
            default:
                broken_ = true;
                break;
        }
        ERR_clear_error();
        close();
    }

    void handshake() {
        ERR_clear_error();
        const int result = SSL_accept(ssl_.get());
        if (result == 1) {
            wait_for_client(Phase::kIdle, shared_.settings.header_timeout);
            receive();
            return;
        }
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST) {
            answer_plain_http();
            return;
        }
        wait_or_close(result, &Session::handshake);
    }

    /// Somebody typed http:// instead of https://: worth one readable sentence.
    void answer_plain_http() {
        ERR_clear_error();
        constexpr std::string_view kAnswer =
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: "
            "42\r\nConnection: close\r\n\r\n"
            "This server speaks HTTPS only: use https.\n";
        (void)::send(
            socket_.native_handle(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL | MSG_DONTWAIT
        );
        linger();
    }

    void begin_next_request() {
        reader_.reset();
        out_ = std::string{};
        if (buffer_.empty()) {
            buffer_ = std::string{};  // Gives the memory back while the connection is idle.
        }
        wait_for_client(Phase::kIdle, shared_.settings.idle_timeout);
        receive();
    }

    void receive() {
        while (true) {
            if (!buffer_.empty() && parse()) {
                return;
            }
            ERR_clear_error();
            const int got =
                SSL_read(ssl_.get(), lane_.scratch.data(), static_cast<int>(lane_.scratch.size()));
            if (got <= 0) {
                // An end in the middle of a request lands here too: there is nobody left to answer.
                wait_or_close(got, &Session::receive);
                return;
            }
            buffer_.append(lane_.scratch.data(), static_cast<std::size_t>(got));
        }
    }

    /// Feeds the reader with what was received. True when the session has gone on to something else
    /// than reading.
    bool parse() {
        if (!reader_) {
            reader_.emplace(RequestReader::Limits{
                .header_bytes_max = shared_.settings.header_bytes_max,
                .body_bytes_max = shared_.settings.body_bytes_max,
            });
            wait_for_client(Phase::kHeader, shared_.settings.header_timeout);
        }
        while (true) {
            switch (reader_->feed(buffer_)) {
                case RequestReader::State::kMore:
                    return false;
                case RequestReader::State::kHeader:
                    wait_for_client(Phase::kBody, shared_.settings.body_timeout);
                    if (reader_->expects_continue() && buffer_.empty()) {
                        out_ = "HTTP/1.1 100 Continue\r\n\r\n";
                        after_write_ = &Session::receive;
                        flush();
                        return true;
                    }
                    break;
                case RequestReader::State::kComplete:
                    dispatch();
                    return true;
                case RequestReader::State::kRefused:
                    refuse();
                    return true;
            }
        }
    }

    /// Answers without asking the handler and ends the connection: where the next request begins is
    /// unknown.
    void refuse() {
        keep_alive_ = false;
        unread_input_ = true;
        send(shared_.handler->refuse(take_request(), reader_->error()));
    }

    Request take_request() {
        Request request = reader_->take();
        request.peer_address = peer_;
        head_only_ = request.method == "HEAD";
        only_reads_ = head_only_ || request.method == "GET";
        return request;
    }

    void dispatch() {
        keep_alive_ = reader_->keep_alive();
        chunked_ = reader_->takes_chunks();
        // std::function wants to copy, a request should only move.
        auto job = std::make_shared<Request>(take_request());
        reader_.reset();
        go_on_to(Phase::kHandling);
        const bool taken = shared_.workers->try_submit([self = shared_from_this(), job] {
            auto reply = std::make_shared<Reply>(self->shared_.handler->handle(std::move(*job)));
            const Json done = leave_only_text(*reply);  // Freed when the reply is on its way.
            asio::post(self->lane_.context, [self, reply] { self->send(std::move(*reply)); });
        });
        if (!taken) {
            auto reply = std::make_shared<Reply>(shared_.handler->refuse(
                std::move(*job),
                Error{
                    ErrorKind::kTooManyRequests,
                    ErrorText{
                        .message = "The server has more requests waiting than it can hold.",
                        .recommended_actions = {"Send the request again in a second."},
                    }
                }
            ));
            // Not from here: a client that pipelines requests would make the stack as deep as it
            // likes.
            asio::post(lane_.context, [self = shared_from_this(), reply] {
                self->send(std::move(*reply));
            });
        }
    }

    void send(Reply reply) {
        if (phase_ == Phase::kClosed) {
            return;
        }
        if (shared_.draining) {
            keep_alive_ = false;
        }
        auto* stream = std::get_if<std::unique_ptr<BodySource>>(&reply.body);
        if (stream != nullptr && !chunked_) {
            keep_alive_ = false;  // Only the connection's end tells such a client of the body's.
        }
        const ReplyHead head{
            .now = shared_.clock.now(),
            .connection = keep_alive_ ? ReplyConnection::kKeepAlive : ReplyConnection::kClose,
            .body = head_only_ ? ReplyBody::kOmitted : ReplyBody::kSent,
            .coding = chunked_ ? StreamCoding::kChunked : StreamCoding::kUntilClose,
        };
        out_ = serialize(reply, head);
        if (out_.size() > kReadBlock && !has_room(out_.size())) {
            refuse_for_room();
            return;
        }
        hold(out_.size());
        if (stream != nullptr) {
            stream_ = std::move(*stream);
            if (head_only_) {
                drop_stream();
            }
        }
        if (auto* file = std::get_if<FileBody>(&reply.body); file != nullptr && !head_only_) {
            file_ = std::move(*file);
        }
        after_write_ = &Session::after_block;
        go_on_to(Phase::kWriting);
        set_deadline(shared_.settings.write_timeout);
        flush();
    }

    /// Takes the place of an answer that there is no room for.
    void refuse_for_room() {
        out_ = std::string{};
        if (!only_reads_) {
            // It has been done: an answer that says it was refused would be wrong.
            broken_ = true;
            close();
            return;
        }
        Request request;
        request.method = "GET";
        request.peer_address = peer_;
        send(shared_.handler->refuse(
            std::move(request),
            Error{
                ErrorKind::kTooManyRequests,
                ErrorText{
                    .message = "Too many large answers wait for clients who take them slowly.",
                    .recommended_actions = {"Send the request again in some seconds."},
                }
            }
        ));
    }

    [[nodiscard]] bool has_room(std::size_t bytes) {
        const bool room = lane_.answers.make_room(bytes, shared_.clock.steady_now());
        lane_.answer_bytes = lane_.answers.bytes();
        return room;
    }

    void hold(std::size_t bytes) {
        lane_.answers.hold(*this, bytes, shared_.clock.steady_now());
        lane_.answer_bytes = lane_.answers.bytes();
    }

    /// What was held has left, or never will. Whoever waits for room tries again.
    void let_go() {
        if (!lane_.answers.release(*this)) {
            return;
        }
        lane_.answer_bytes = lane_.answers.bytes();
        while (!lane_.parked.empty()) {
            const Lane::Parked first = std::move(lane_.parked.front());
            lane_.parked.pop_front();
            if (first.session->phase_ != Phase::kClosed) {
                asio::post(lane_.context, [first] {
                    if (first.session->phase_ != Phase::kClosed) {
                        (first.session.get()->*first.next)();
                    }
                });
                return;
            }
        }
    }

    /// Room for the next block of a download. False: `next` is called again when there may be some.
    bool has_room_or_waits(std::size_t bytes, Step next) {
        if (has_room(bytes)) {
            lane_.answers.reserve(*this, bytes);
            lane_.answer_bytes = lane_.answers.bytes();
            return true;
        }
        go_on_to(Phase::kHandling);  // It is not this client who is slow.
        lane_.parked.push_back({shared_from_this(), next});
        return false;
    }

    void flush() {
        while (sent_ < out_.size()) {
            ERR_clear_error();
            const std::size_t size = std::min(out_.size() - sent_, kReadBlock);
            const int put = SSL_write(ssl_.get(), out_.data() + sent_, static_cast<int>(size));
            if (put <= 0) {
                wait_or_close(put, &Session::flush);
                return;
            }
            sent_ += static_cast<std::size_t>(put);
        }
        sent_ = 0;
        out_ = std::string{};
        let_go();
        (this->*after_write_)();
    }

    /// The header, the whole body, or one block of a file is out.
    void after_block() {
        if (file_.size > 0) {
            read_block();
            return;
        }
        if (stream_) {
            make_block();
            return;
        }
        file_ = FileBody{};
        if (keep_alive_ && !shared_.draining) {
            begin_next_request();
        } else if (unread_input_) {
            ERR_clear_error();
            SSL_shutdown(ssl_.get());
            linger();
        } else {
            close();
        }
    }

    void read_block() {
        const std::size_t want = std::min<std::uint64_t>(file_.size, kFileBlock);
        if (!has_room_or_waits(want, &Session::read_block)) {
            return;
        }
        go_on_to(Phase::kWriting);
        set_deadline(shared_.settings.write_timeout);
        const bool taken = shared_.file_readers->try_submit(
            [self = shared_from_this(), fd = file_.file.get(), offset = file_.offset, want] {
                auto block = std::make_shared<std::string>(want, '\0');
                const ssize_t got = ::pread(fd, block->data(), want, static_cast<off_t>(offset));
                block->resize(got > 0 ? static_cast<std::size_t>(got) : 0);
                asio::post(self->lane_.context, [self, block] {
                    self->take_block(std::move(*block));
                });
            }
        );
        if (!taken) {
            close();
        }
    }

    void take_block(std::string block) {
        if (phase_ == Phase::kClosed) {
            return;
        }
        if (block.empty()) {
            // The file was cut short: what was promised can't be kept, and the client must see
            // that.
            broken_ = true;
            close();
            return;
        }
        file_.offset += block.size();
        file_.size -= block.size();
        out_ = std::move(block);
        hold(out_.size());
        set_deadline(shared_.settings.write_timeout);
        flush();
    }

    /// The next block of a made body: only when the one before has left, so that a slow client
    /// slows the maker and no more than a block waits.
    void make_block() {
        if (!has_room_or_waits(kFileBlock, &Session::make_block)) {
            return;
        }
        go_on_to(Phase::kHandling);  // However long the storage takes, nobody else is to blame.
        const bool taken =
            shared_.body_makers->try_submit([self = shared_from_this(), source = stream_] {
                auto block = std::make_shared<std::string>();
                const bool made = run_boundary(
                    [&] { *block = source->next(); },
                    [](const Error& error) {
                        log_warning("a body ended early", {{"reason", error.log_line()}});
                    }
                );
                asio::post(self->lane_.context, [self, block, made] {
                    self->take_made_block(std::move(*block), made);
                });
            });
        if (!taken) {
            broken_ = true;
            close();
        }
    }

    void take_made_block(std::string block, bool made) {
        if (phase_ == Phase::kClosed) {
            return;
        }
        go_on_to(Phase::kWriting);
        set_deadline(shared_.settings.write_timeout);
        if (!made) {
            broken_ = true;
            close();
            return;
        }
        if (block.empty()) {
            drop_stream();
        }
        out_ = chunked_ ? fmt::format("{:x}\r\n{}\r\n", block.size(), block) : std::move(block);
        hold(out_.size());
        flush();
    }

    /// Its end may wait for storage: not on the thread of the sockets.
    void drop_stream() {
        if (stream_) {
            (void)shared_.body_makers->try_submit([source = std::exchange(stream_, nullptr)] {});
        }
    }

    /// A close while the client still sends would reset the connection and take our answer with it:
    /// say that we are done, then read and forget for a while.
    void linger() {
        go_on_to(Phase::kLingering);
        set_deadline(kLingerTime);
        ErrorCode ignored;
        socket_.shutdown(tcp::socket::shutdown_send, ignored);
        discard();
    }

    void discard() {
        while (true) {
            const ssize_t got = ::recv(
                socket_.native_handle(), lane_.scratch.data(), lane_.scratch.size(), MSG_DONTWAIT
            );
            if (got > 0) {
                continue;
            }
            if (got < 0 && errno == EAGAIN) {
                wait_for(tcp::socket::wait_read, &Session::discard);
                return;
            }
            close();
            return;
        }
    }

    // Constant after construction.
    Shared& shared_;
    Lane& lane_;
    // Touched by the lane's thread only.
    tcp::socket socket_;
    asio::steady_timer timer_;
    TlsContext tls_;
    std::unique_ptr<SSL, SslDeleter> ssl_;
    std::string peer_;
    Phase phase_ = Phase::kHandshake;
    std::optional<std::list<Session*>::iterator> place_;  // In the lane's list of the waiting.
    SteadyInstant waiting_since_{};
    SteadyInstant deadline_{};
    SteadyInstant timer_at_ = SteadyInstant::max();
    std::string buffer_;  // Received and not yet parsed.
    std::optional<RequestReader> reader_;
    std::string out_;
    std::size_t sent_ = 0;
    FileBody file_;                       // What is left to send of a download.
    std::shared_ptr<BodySource> stream_;  // The rest of a made body; shared with who makes a block.
    Step after_write_ = nullptr;
    bool keep_alive_ = false;
    bool chunked_ = true;
    bool head_only_ = false;
    bool only_reads_ = false;
    bool unread_input_ = false;
    bool broken_ = false;
};

}  // namespace

struct HttpServer::State {
    State(HttpSettings settings, const TlsSlot& tls, Clock& clock)
        : shared{std::move(settings), tls, clock} {
        for (std::size_t i = 0; i < std::max<std::size_t>(shared.settings.socket_threads, 1); ++i) {
            lanes.push_back(std::make_unique<Lane>(shared.settings));
        }
        shared.workers = &workers;
        shared.file_readers = &file_readers;
        shared.body_makers = &body_makers;
        acceptor.emplace(lanes.front()->context);
        accept_pause.emplace(lanes.front()->context);
        listen();
    }

    void start(RequestHandler& handler) {
        HOLDFAST_CHECK(shared.handler == nullptr);
        shared.handler = &handler;
        for (auto& lane : lanes) {
            threads.emplace_back([&context = lane->context, index = threads.size()] {
                name_this_thread(fmt::format("sockets-{}", index));
                block_broken_pipe_signal();
                const auto work = asio::make_work_guard(context);
                context.run();
            });
        }
        asio::post(lanes.front()->context, [this] { accept(); });
    }

    void listen() {
        const auto& settings = shared.settings;
        ErrorCode fault;
        tcp::resolver resolver{lanes.front()->context};
        const auto found = resolver.resolve(
            settings.host,
            std::to_string(settings.port),
            tcp::resolver::passive | tcp::resolver::numeric_service,
            fault
        );
        if (!fault) {
            const tcp::endpoint endpoint = *found.begin();
            acceptor->open(endpoint.protocol(), fault);
            if (!fault) {
                ErrorCode ignored;
                acceptor->set_option(tcp::acceptor::reuse_address{true}, ignored);
                acceptor->bind(endpoint, fault);
            }
        }
        if (!fault) {
            acceptor->listen(kBacklog, fault);
        }
        if (fault) {
            throw Error{
                ErrorKind::kConfigInvalid,
                ErrorText{
                    .message = fmt::format(
                        "Cannot listen on {}:{}: {}.", settings.host, settings.port, fault.message()
                    ),
                    .target = "server.listen",
                    .recommended_actions =
                        {"Stop what uses the address, or set server.listen to another one."},
                }
            };
        }
        port = acceptor->local_endpoint().port();
    }

    void accept() {
        Lane& lane = *lanes[next_lane++ % lanes.size()];
        acceptor->async_accept(lane.context, [this, &lane](ErrorCode fault, tcp::socket socket) {
            if (!acceptor->is_open()) {
                return;
            }
            if (fault) {
                // Out of descriptors, most likely: wait for some to come back.
                accept_pause->expires_after(kAcceptPause);
                accept_pause->async_wait([this](ErrorCode stopped) {
                    if (!stopped && acceptor->is_open()) {
                        accept();
                    }
                });
                return;
            }
            take_in(lane, std::move(socket));
            accept();
        });
    }

    /// When there are connections_max already, whoever keeps the server waiting longest makes room:
    /// silent connections, however many, lock nobody out.
    void take_in(Lane& lane, tcp::socket socket) {
        const std::size_t open = shared.connections;
        const bool full = open >= shared.settings.connections_max;
        if (full) {
            say_full();
        }
        if (open >= shared.settings.connections_max + kNewcomersMax) {
            return;
        }
        auto session = std::make_shared<Session>(shared, lane, std::move(socket));
        asio::post(lane.context, [this, session, &lane, full] {
            if (!full || Session::close_longest_waiting(lane, shared)) {
                session->start();
            }
        });
    }

    void say_full() {
        const SteadyInstant now = shared.clock.steady_now();
        if (!said_full_at || now - *said_full_at >= kFullLogPause) {
            said_full_at = now;
            log_warning(
                "as many connections as allowed: the longest silent ones are closed for new ones",
                {{"connections_max", std::to_string(shared.settings.connections_max)}}
            );
        }
    }

    void each_session(void (Session::*action)()) {
        for (auto& lane : lanes) {
            asio::post(lane->context, [&lane, action] {
                const auto sessions = lane->sessions;  // The action may remove itself from the set.
                for (const auto& session : sessions) {
                    (session.get()->*action)();
                }
            });
        }
    }

    bool wait_all_closed(std::chrono::milliseconds timeout) {
        std::unique_lock lock{shared.mutex};
        return shared.all_closed.wait_for(lock, timeout, [this] {
            return shared.connections == 0;
        });
    }

    void stop() {
        if (threads.empty()) {
            return;  // Never started, or stopped already.
        }
        shared.draining = true;
        asio::post(lanes.front()->context, [this] {
            ErrorCode ignored;
            acceptor->close(ignored);
            accept_pause->cancel();
        });
        each_session(&Session::drain);
        if (!wait_all_closed(shared.settings.shutdown_timeout)) {
            log_warning(
                "connections cut at shutdown",
                {{"connections", std::to_string(shared.connections.load())}}
            );
            each_session(&Session::close);
            // Left are those whose request is with a worker; the pool's destructor waits for it.
            wait_all_closed(std::chrono::milliseconds{200});
        }
        for (auto& lane : lanes) {
            lane->context.stop();
        }
        threads.clear();
    }

    // Destroyed from the last to the first: threads, acceptor, the pools (which finish what is
    // queued and may hold sessions), the lanes with the remaining sessions, and what those refer
    // to.
    Shared shared;
    std::vector<std::unique_ptr<Lane>> lanes;
    ThreadPool workers{"http", shared.settings.workers, shared.settings.queue_max};
    ThreadPool file_readers{"http-files", 2, shared.settings.connections_max};
    ThreadPool body_makers{"http-bodies", kStreamThreads, 2 * shared.settings.connections_max};
    std::optional<tcp::acceptor> acceptor;
    std::optional<asio::steady_timer> accept_pause;
    std::optional<SteadyInstant> said_full_at;  // Touched by the accepting thread only.
    std::size_t next_lane = 0;
    int port = 0;
    std::vector<std::jthread> threads;
};

HttpServer::HttpServer(HttpSettings settings, const TlsSlot& tls, Clock& clock)
    : state_{std::make_unique<State>(std::move(settings), tls, clock)} {}

void HttpServer::start(RequestHandler& handler) {
    state_->start(handler);
}

HttpServer::~HttpServer() {
    stop();
}

int HttpServer::port() const noexcept {
    return state_->port;
}

std::size_t HttpServer::connections() const noexcept {
    return state_->shared.connections;
}

std::size_t HttpServer::answer_bytes() const noexcept {
    std::size_t bytes = 0;
    for (const auto& lane : state_->lanes) {
        bytes += lane->answer_bytes;
    }
    return bytes;
}

void HttpServer::stop() {
    state_->stop();
}

}  // namespace holdfast::control
