#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

/// The small streams of a recovery point by name, and what became of each. A data directory may
/// have millions: 16 bytes and its name for each. Not safe from several threads.
class SmallStreams {
public:
    enum class State : std::uint8_t {
        kAtTheServer,
        kUnderWay,
        kWaiting,  ///< Here; nobody asked for it yet.
        kTaken,    ///< Given to a reader.
    };
    static constexpr std::size_t kNameBytesMax = UINT16_MAX;

    /// To be sorted before anything else. REQUIRES: name.size() <= kNameBytesMax.
    void add(std::string_view name, std::uint32_t size);
    /// Of equal names the one that was added first stays.
    void sort();

    [[nodiscard]] std::size_t count() const noexcept { return streams_.size(); }
    /// Its position, until the next sort().
    [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;
    /// Valid until the next add().
    [[nodiscard]] std::string_view name(std::size_t at) const { return name_of(streams_.at(at)); }
    [[nodiscard]] std::uint32_t size(std::size_t at) const { return streams_.at(at).size; }
    [[nodiscard]] State state(std::size_t at) const { return streams_.at(at).state; }
    void set_state(std::size_t at, State state) { streams_.at(at).state = state; }

private:
    struct Stream {
        std::uint64_t name_at = 0;  ///< In names_.
        std::uint32_t size = 0;
        std::uint16_t name_bytes = 0;
        State state = State::kAtTheServer;
    };
    [[nodiscard]] std::string_view name_of(const Stream& stream) const {
        return std::string_view{names_}.substr(stream.name_at, stream.name_bytes);
    }
    std::string names_;
    std::vector<Stream> streams_;
};

}  // namespace holdfast::cli
