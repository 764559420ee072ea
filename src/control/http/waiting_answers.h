#pragma once

#include "base/clock.h"

#include <chrono>
#include <cstddef>
#include <list>
#include <optional>

namespace holdfast::control {

/// The bytes of answers that are held for clients until these take them, and a bound for their sum.
/// A client that is slow, or does not read at all, makes way when others need the room. Not safe
/// from several threads: each thread that serves sockets has its own.
class WaitingAnswers {
public:
    /// Who holds bytes for a client.
    class Holder {
    public:
        virtual ~Holder() = default;
        /// To be overridden with what releases the bytes: others need the room.
        virtual void make_way() = 0;

    protected:
        Holder() = default;
        Holder(const Holder&) = default;
        Holder& operator=(const Holder&) = default;

    private:
        friend class WaitingAnswers;
        std::size_t bytes_ = 0;
        SteadyInstant since_{};
        std::optional<std::list<Holder*>::iterator> place_ = std::nullopt;
    };

    /// Whoever holds bytes for `patience` or longer may have to make way.
    WaitingAnswers(std::size_t bytes_max, std::chrono::milliseconds patience)
        : bytes_max_{bytes_max}, patience_{patience} {}
    WaitingAnswers(const WaitingAnswers&) = delete;
    WaitingAnswers& operator=(const WaitingAnswers&) = delete;

    /// Makes room for `bytes` more, those who hold theirs longest making way. False when there is
    /// none; a single answer has room, however large it is.
    [[nodiscard]] bool make_room(std::size_t bytes, SteadyInstant now);
    /// `holder` holds so many from now on, room or not, and it is its client's turn.
    void hold(Holder& holder, std::size_t bytes, SteadyInstant now);
    /// The same for bytes that are still being made: nobody makes way for that.
    void reserve(Holder& holder, std::size_t bytes);
    /// True when it held any.
    bool release(Holder& holder);

    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

private:
    const std::size_t bytes_max_;
    const std::chrono::milliseconds patience_;
    std::size_t bytes_ = 0;
    std::list<Holder*> holders_;  // Those whose client's turn it is; the longest first.
};

}  // namespace holdfast::control
