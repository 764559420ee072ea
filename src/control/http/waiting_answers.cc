#include "control/http/waiting_answers.h"

#include <utility>

namespace holdfast::control {

bool WaitingAnswers::make_room(std::size_t bytes, SteadyInstant now) {
    while (bytes_ > 0 && bytes_ + bytes > bytes_max_) {
        if (holders_.empty() || now - holders_.front()->since_ < patience_) {
            return false;
        }
        Holder& longest = *holders_.front();
        release(longest);
        longest.make_way();
    }
    return true;
}

void WaitingAnswers::hold(Holder& holder, std::size_t bytes, SteadyInstant now) {
    reserve(holder, bytes);
    holder.since_ = now;
    holder.place_ = holders_.insert(holders_.end(), &holder);
}

void WaitingAnswers::reserve(Holder& holder, std::size_t bytes) {
    release(holder);
    holder.bytes_ = bytes;
    bytes_ += bytes;
}

bool WaitingAnswers::release(Holder& holder) {
    if (holder.place_) {
        holders_.erase(*holder.place_);
        holder.place_.reset();
    }
    bytes_ -= holder.bytes_;
    return std::exchange(holder.bytes_, 0) > 0;
}

}  // namespace holdfast::control
