#include "vault/detail/condemned.h"

#include "vault/detail/format.pb.h"
#include "vault/detail/sealed.h"

#include <algorithm>

namespace holdfast::vault {

bool CondemnedView::contains(const Sha256& pack) const {
    return std::any_of(lists_.begin(), lists_.end(), [&](const CondemnedList& list) {
        return std::binary_search(list.packs->begin(), list.packs->end(), pack);
    });
}

void CondemnedView::add(const CondemnedView& other) {
    for (const CondemnedList& list : other.lists_) {
        if (std::none_of(lists_.begin(), lists_.end(), [&](const CondemnedList& mine) {
                return mine.id == list.id;
            })) {
            lists_.push_back(list);
        }
    }
}

std::string join_pack_names(const PackNames& packs) {
    std::string out;
    out.reserve(packs.size() * kHashBytes);
    for (const Sha256& name : packs) {
        out += as_text(name);
    }
    return out;
}

std::optional<PackNames> parse_pack_names(std::string_view bytes) {
    if (bytes.size() % kHashBytes != 0) {
        return std::nullopt;
    }
    PackNames packs(bytes.size() / kHashBytes);
    for (std::size_t i = 0; i < packs.size(); ++i) {
        std::copy_n(as_bytes(bytes.substr(i * kHashBytes)).begin(), kHashBytes, packs[i].begin());
        if (i > 0 && packs[i] <= packs[i - 1]) {
            return std::nullopt;
        }
    }
    return packs;
}

CondemnedView CondemnedStore::load(std::stop_token stop) {
    std::vector<CondemnedId> ids;
    store_.list(
        kCondemnedPrefix,
        [&](const ObjectInfo& info) {
            if (const auto id = parse_condemned_key(info.key)) {
                ids.push_back(*id);
            }
            return true;
        },
        stop
    );
    std::vector<CondemnedList> lists;
    for (const CondemnedId& id : ids) {
        {
            const std::lock_guard lock{mutex_};
            if (const auto found = known_.find(id); found != known_.end()) {
                lists.push_back(found->second);
                continue;
            }
        }
        const auto object = store_.get(condemned_key(id), stop);
        if (!object) {
            continue;  // Every pack of it is gone.
        }
        lists.push_back(read(id, *object));
        const std::lock_guard lock{mutex_};
        known_.emplace(id, lists.back());
    }
    const std::lock_guard lock{mutex_};
    std::erase_if(known_, [&](const auto& one) {
        return std::find(ids.begin(), ids.end(), one.first) == ids.end();
    });
    return CondemnedView{std::move(lists)};
}

CondemnedList CondemnedStore::read(const CondemnedId& id, ByteSpan object) const {
    const ObjectKey key = condemned_key(id);
    const Bytes plain = open_object(keys_, ObjectKind::kCondemned, key, object);
    format::Condemned condemned;
    std::optional<PackNames> packs;
    if (condemned.ParseFromArray(plain.data(), static_cast<int>(plain.size())) &&
        condemned.list_id() == as_text(id.bytes())) {
        packs = parse_pack_names(condemned.packs());
    }
    if (!packs) {
        throw_corrupt(key, "it is not a list of condemned packs.");
    }
    return {.id = id, .packs = std::make_shared<const PackNames>(std::move(*packs))};
}

CondemnedId CondemnedStore::put(
    const PackNames& packs, std::uint64_t generation, Instant now, std::stop_token stop
) {
    const auto id = CondemnedId::random();
    format::Condemned condemned;
    condemned.set_list_id(std::string{as_text(id.bytes())});
    condemned.set_generation(generation);
    condemned.set_condemned_at(now.time_since_epoch().count());
    condemned.set_packs(join_pack_names(packs));
    const ObjectKey key = condemned_key(id);
    store_.put_new(
        key,
        seal_object(
            keys_,
            ObjectKind::kCondemned,
            key,
            random_array<32>(),
            as_bytes(condemned.SerializeAsString())
        ),
        std::move(stop)
    );
    return id;
}

}  // namespace holdfast::vault
