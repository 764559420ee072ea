#include "protection/date_time.h"

namespace holdfast::protection {
namespace {

/// Takes fixed-width fields off the front of a text; any fault sticks.
class FieldReader {
public:
    explicit FieldReader(std::string_view text) : rest_{text} {}

    int number(std::size_t width) noexcept {
        int value = 0;
        for (std::size_t i = 0; i < width; ++i) {
            value = value * 10 + digit();
        }
        return value;
    }

    void literal(char expected) noexcept {
        if (!take(expected)) {
            ok_ = false;
        }
    }

    bool take(char wanted) noexcept {
        if (rest_.empty() || rest_.front() != wanted) {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }

    /// One to nine digits after the point, as microseconds.
    std::chrono::microseconds fraction() noexcept {
        std::int64_t value = 0;
        std::size_t count = 0;
        while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
            const int next = digit();
            if (++count <= 6) {
                value = value * 10 + next;
            }
        }
        if (count == 0 || count > 9) {
            ok_ = false;
        }
        for (std::size_t i = count; i < 6; ++i) {
            value *= 10;
        }
        return std::chrono::microseconds{value};
    }

    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }
    [[nodiscard]] bool ok() const noexcept { return ok_; }

private:
    int digit() noexcept {
        if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') {
            ok_ = false;
            return 0;
        }
        const int value = rest_.front() - '0';
        rest_.remove_prefix(1);
        return value;
    }

    std::string_view rest_;
    bool ok_ = true;
};

std::optional<std::chrono::minutes> read_offset(FieldReader& in, bool& ok) noexcept {
    using std::chrono::hours;
    using std::chrono::minutes;
    if (in.take('Z')) {
        return minutes{0};
    }
    const bool east = in.take('+');
    if (!east && !in.take('-')) {
        return std::nullopt;
    }
    const hours hour{in.number(2)};
    in.literal(':');
    const minutes minute{in.number(2)};
    ok = minute < hours{1} && hour + minute <= hours{14};
    return east ? hour + minute : -(hour + minute);
}

}  // namespace

std::optional<WrittenDateTime> parse_date_time(std::string_view text) noexcept {
    using std::chrono::hours;
    using std::chrono::minutes;
    using std::chrono::seconds;
    using std::chrono::year_month_day;
    FieldReader in{text};
    const int year_number = in.number(4);
    in.literal('-');
    const int month_number = in.number(2);
    in.literal('-');
    const int day_number = in.number(2);
    in.literal('T');
    const int hour = in.number(2);
    in.literal(':');
    const int minute = in.number(2);
    int second = 0;
    std::chrono::microseconds fraction{0};
    if (in.take(':')) {
        second = in.number(2);
        if (in.take('.')) {
            fraction = in.fraction();
        }
    }
    bool offset_ok = true;
    const auto offset = read_offset(in, offset_ok);
    const year_month_day date{
        std::chrono::year{year_number},
        std::chrono::month{static_cast<unsigned>(month_number)},
        std::chrono::day{static_cast<unsigned>(day_number)}
    };
    if (!in.ok() || !in.at_end() || !offset_ok || !date.ok() || year_number < 1970 ||
        year_number > 2999 || hour > 23 || minute > 59 || second > 59) {
        return std::nullopt;
    }
    const LocalTime local =
        std::chrono::local_days{date} + hours{hour} + minutes{minute} + seconds{second} + fraction;
    return WrittenDateTime{local, offset};
}

std::string clipped(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, 80)) {
        // Foreign bytes need not be UTF-8 after the cut, and control characters garble a terminal.
        const auto byte = static_cast<unsigned char>(c);
        out += byte < 0x20 || byte > 0x7e ? '?' : c;
    }
    return out;
}

}  // namespace holdfast::protection
