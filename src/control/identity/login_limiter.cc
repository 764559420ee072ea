#include "control/identity/login_limiter.h"

#include "base/bytes.h"
#include "base/text.h"

#include <array>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::size_t kAccountMax = 256;

struct Keys {
    std::string pair;
    std::string address;
    std::string account;
};

Keys keys_of(std::string_view account, std::string_view peer) {
    const std::string who = to_lower(account.substr(0, kAccountMax));
    const std::string where = address_of_peer(peer);
    return {
        .pair = fmt::format("p {} {}", where, who),
        .address = "a " + where,
        .account = "u " + who,
    };
}

}  // namespace

std::string address_of_peer(std::string_view peer) {
    if (peer.starts_with('[')) {
        const std::string text{peer.substr(1, peer.find(']') - 1)};
        std::array<std::byte, 16> bytes{};
        if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) {
            return to_hex(std::span{bytes}.first(8)) + "::/64";
        }
        return text;
    }
    return std::string{peer.substr(0, peer.rfind(':'))};
}

std::optional<std::chrono::seconds> LoginLimiter::blocked(
    std::string_view account, std::string_view peer
) {
    const Keys keys = keys_of(account, peer);
    const std::lock_guard lock{mutex_};
    const SteadyInstant now = clock_.steady_now();
    std::optional<std::chrono::seconds> wait;
    const auto look = [&](const std::string& key, std::size_t most) {
        const auto found = entries_.find(key);
        if (found == entries_.end() || found->second.failures < most ||
            now - found->second.since >= kWindow) {
            return;
        }
        const auto left =
            std::chrono::ceil<std::chrono::seconds>(found->second.since + kWindow - now);
        wait = std::max(wait.value_or(left), left);
    };
    look(keys.pair, kPairFailuresMax);
    look(keys.address, kAddressFailuresMax);
    look(keys.account, kAccountFailuresMax);
    return wait;
}

void LoginLimiter::failed(std::string_view account, std::string_view peer) {
    const Keys keys = keys_of(account, peer);
    const std::lock_guard lock{mutex_};
    const SteadyInstant now = clock_.steady_now();
    if (entries_.size() + 3 > kEntriesMax) {
        std::erase_if(entries_, [&](const auto& each) {
            return now - each.second.since >= kWindow;
        });
    }
    if (entries_.size() + 3 > kEntriesMax) {
        // Of the pairs there can be any number; addresses and accounts still count.
        std::erase_if(entries_, [](const auto& each) { return each.first.front() == 'p'; });
    }
    if (entries_.size() + 3 > kEntriesMax) {
        entries_.clear();
    }
    count(keys.pair, now);
    count(keys.address, now);
    count(keys.account, now);
}

void LoginLimiter::succeeded(std::string_view account, std::string_view peer) {
    const Keys keys = keys_of(account, peer);
    const std::lock_guard lock{mutex_};
    entries_.erase(keys.pair);
}

void LoginLimiter::count(const std::string& key, SteadyInstant now) {
    Entry& entry = entries_[key];
    if (entry.failures == 0 || now - entry.since >= kWindow) {
        entry = Entry{.since = now, .failures = 0};
    }
    ++entry.failures;
}

}  // namespace holdfast::control
