#include "base/error.h"
#include "vault/detail/repository.h"
#include "vault/detail/sealed.h"

#include <algorithm>

// Creating and opening: finding the key set that a key opens, and proving that it is the right one.

namespace holdfast::vault {

namespace {

constexpr std::string_view kKnownAnswer = "holdfast/1 known answer";

struct KeySetObject {
    ObjectKey key;
    std::uint32_t epoch = 0;
    std::uint32_t number = 0;
};

std::optional<KeySetObject> parse_key_set_key(const ObjectKey& key) {
    // keys/EEEEEEEE-NNNN
    const std::string_view text = key.text();
    constexpr std::size_t kDash = kKeysPrefix.size() + 8;
    if (text.size() != kDash + 5 || text[kDash] != '-') {
        return std::nullopt;
    }
    const auto number = [](std::string_view digits) -> std::optional<std::uint32_t> {
        std::uint32_t value = 0;
        for (const char c : digits) {
            if (c < '0' || c > '9') {
                return std::nullopt;
            }
            value = value * 10 + static_cast<std::uint32_t>(c - '0');
        }
        return value;
    };
    const auto epoch = number(text.substr(kKeysPrefix.size(), 8));
    const auto ordinal = number(text.substr(kDash + 1));
    if (!epoch || !ordinal) {
        return std::nullopt;
    }
    return KeySetObject{.key = key, .epoch = *epoch, .number = *ordinal};
}

std::vector<KeySetObject> list_key_sets(ObjectStore& store, const std::stop_token& stop) {
    std::vector<KeySetObject> found;
    store.list(
        kKeysPrefix,
        [&](const ObjectInfo& info) {
            if (auto object = parse_key_set_key(info.key)) {
                found.push_back(std::move(*object));
            }
            return true;
        },
        stop
    );
    std::sort(found.begin(), found.end(), [](const KeySetObject& a, const KeySetObject& b) {
        return std::tie(a.epoch, a.number) < std::tie(b.epoch, b.number);
    });
    return found;
}

/// The newest key set that `key` unwraps; nothing when none is for this key. Throws kVaultCorrupt
/// when none is and one could not be read: it may have been the one.
std::optional<KeyRing> unwrap_newest(
    ObjectStore& store, const Secret& key, const std::stop_token& stop
) {
    const auto sets = list_key_sets(store, stop);
    const std::string wanted = key_fingerprint(key);
    const KeySetObject* unreadable = nullptr;
    for (auto set = sets.rbegin(); set != sets.rend(); ++set) {
        if (set->epoch != sets.back().epoch) {
            break;  // A key that was left out of the newest epoch is no key any more.
        }
        const auto object = store.get(set->key, stop);
        const auto fingerprint =
            object ? KeyRing::wrapping_fingerprint(*object) : std::optional<std::string>{};
        if (!fingerprint) {
            unreadable = &*set;
        } else if (*fingerprint == wanted) {
            return KeyRing::unwrap(*object, key, set->key);
        }
    }
    if (unreadable != nullptr) {
        throw_corrupt(unreadable->key, "it does not hold a wrapped key set.");
    }
    return std::nullopt;
}

void require_known_answer(ObjectStore& store, const KeyRing& keys, const std::stop_token& stop) {
    const ObjectKey key = known_answer_key(keys.epoch());
    const auto object = store.get(key, stop);
    if (!object) {
        throw_corrupt(key, "it is missing.");
    }
    if (as_text(open_object(keys, ObjectKind::kKnownAnswer, key, *object)) != kKnownAnswer) {
        throw_corrupt(key, "it does not hold the known answer.");
    }
}

[[noreturn]] void throw_exists(std::string message) {
    throw Error{
        ErrorKind::kVaultExists,
        ErrorText{
            .message = std::move(message),
            .recommended_actions = {"Choose an empty place for the new vault's repository."},
        }
    };
}

/// Puts the key set for `key` in the store unless one is there already; gives back the one that
/// counts.
KeyRing settle_keys(ObjectStore& store, const Secret& key, const std::stop_token& stop) {
    if (auto interrupted = unwrap_newest(store, key, stop)) {
        return std::move(*interrupted);  // A creation that did not get as far as its config.
    }
    if (!list_key_sets(store, stop).empty()) {
        throw_exists(
            "The place holds the keys of a repository that was never finished, made with another "
            "key."
        );
    }
    const ObjectKey first = key_set_key(1, 1);
    const KeyRing fresh = KeyRing::generate(RepositoryId::random());
    store.put_new(first, fresh.wrap(key, random_array<32>(), first), stop);
    // Not the ring above: of two creators at a time, the one whose object is there wins.
    if (auto stored = unwrap_newest(store, key, stop)) {
        return std::move(*stored);
    }
    throw_exists("Another process is making a repository in the same place.");
}

}  // namespace

RepositoryId Repository::create(
    ObjectStore& store,
    const Secret& key,
    const CreateOptions& options,
    Clock& clock,
    std::stop_token stop
) {
    if (exists(store, stop)) {
        throw_exists("There is a repository in this place already.");
    }
    const KeyRing keys = settle_keys(store, key, stop);
    // Keys are durable before the config is there, and without a config nothing is ever sealed with
    // them.
    const ObjectKey second = key_set_key(1, 2);
    store.put_new(second, keys.wrap(keys.recovery_key(), random_array<32>(), second), stop);
    const ObjectKey answer = known_answer_key(keys.epoch());
    store.put_new(
        answer,
        seal_object(
            keys, ObjectKind::kKnownAnswer, answer, random_array<32>(), as_bytes(kKnownAnswer)
        ),
        stop
    );
    const ObjectKey config = config_key(1);
    const Bytes object = encode_config(keys, config, options, clock.now());
    if (store.put_new(config, object, stop) == PutOutcome::kAlreadyExists &&
        store.get(config, stop) != object) {
        throw_exists("Another process made a repository in the same place.");
    }
    return keys.repository_id();
}

bool Repository::exists(ObjectStore& store, std::stop_token stop) {
    bool found = false;
    store.list(
        kConfigPrefix,
        [&found](const ObjectInfo&) {
            found = true;
            return false;
        },
        std::move(stop)
    );
    return found;
}

std::unique_ptr<Repository> Repository::open(
    ObjectStore& store,
    const Secret& key,
    Clock& clock,
    const OpenOptions& options,
    std::stop_token stop
) {
    auto config = read_stored_config(store, stop);
    if (!config) {
        throw Error{
            ErrorKind::kVaultNotFound,
            ErrorText{
                .message = "There is no repository in this place: it has no config object.",
                .recommended_actions = {"Check the location of the vault's storage."},
            }
        };
    }
    auto keys = unwrap_newest(store, key, stop);
    if (!keys) {
        throw Error{
            ErrorKind::kKeyWrong,
            ErrorText{
                .message = fmt::format(
                    "The key given (fingerprint {}) does not open the repository {}.",
                    key_fingerprint(key),
                    config->config.id.to_string()
                ),
                .recommended_actions =
                    {"Give the key file that the vault was created with, or the recovery key of "
                     "its recovery kit."},
            }
        };
    }
    if (keys->repository_id() != config->config.id) {
        throw_corrupt(config->key, "it belongs to another repository than the keys.");
    }
    require_authentic_config(*keys, config->key, config->object);
    require_known_answer(store, *keys, stop);
    auto repository = std::make_unique<RepositoryImpl>(
        store, clock, std::move(*keys), std::move(config->config), options
    );
    repository->load_index(stop);
    return repository;
}

void RepositoryImpl::add_key(const Secret& new_key, std::stop_token stop) {
    const std::string wanted = key_fingerprint(new_key);
    for (;;) {
        std::uint32_t number = 0;
        for (const KeySetObject& set : list_key_sets(store_, stop)) {
            const auto object = store_.get(set.key, stop);
            if (set.epoch != engine_.keys.epoch()) {
                continue;
            }
            if (object && KeyRing::wrapping_fingerprint(*object) == wanted) {
                return;
            }
            number = std::max(number, set.number);
        }
        const ObjectKey key = key_set_key(engine_.keys.epoch(), number + 1);
        const Bytes object = engine_.keys.wrap(new_key, random_array<32>(), key);
        if (store_.put_new(key, object, stop) == PutOutcome::kCreated) {
            return;
        }
    }
}

}  // namespace holdfast::vault
