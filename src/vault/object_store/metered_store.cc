#include "vault/object_store/metered_store.h"

namespace holdfast::vault {

MeteredStore::Figures MeteredStore::figures() const noexcept {
    return {
        .puts = puts_,
        .put_bytes = put_bytes_,
        .gets = gets_,
        .get_bytes = get_bytes_,
        .lists = lists_,
        .removes = removes_,
    };
}

PutOutcome MeteredStore::put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) {
    const PutOutcome outcome = inner_.put_new(key, data, std::move(stop));
    ++puts_;
    if (outcome == PutOutcome::kCreated) {
        put_bytes_ += data.size();
    }
    return outcome;
}

std::optional<Bytes> MeteredStore::get(const ObjectKey& key, std::stop_token stop) {
    auto object = inner_.get(key, std::move(stop));
    ++gets_;
    get_bytes_ += object ? object->size() : 0;
    return object;
}

std::optional<Bytes> MeteredStore::get_range(
    const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
) {
    auto range = inner_.get_range(key, offset, length, std::move(stop));
    ++gets_;
    get_bytes_ += range ? range->size() : 0;
    return range;
}

std::optional<std::uint64_t> MeteredStore::size(const ObjectKey& key, std::stop_token stop) {
    return inner_.size(key, std::move(stop));
}

void MeteredStore::list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) {
    ++lists_;
    inner_.list(prefix, visitor, std::move(stop));
}

bool MeteredStore::remove(const ObjectKey& key, std::stop_token stop) {
    ++removes_;
    return inner_.remove(key, std::move(stop));
}

}  // namespace holdfast::vault
