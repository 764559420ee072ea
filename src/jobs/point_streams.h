#pragma once

#include "postgres/streams.h"
#include "vault/vault.h"

#include <memory>
#include <stop_token>
#include <string_view>

namespace holdfast::jobs {

/// Hands the streams of a backup to a recovery point in the making. One thread at a time; `writer`
/// outlives it.
class PointSink final : public postgres::StreamSink {
public:
    explicit PointSink(vault::PointWriter& writer) : writer_{writer} {}
    void begin(const postgres::StreamSpec& spec) override;
    void write(ByteSpan bytes) override;
    void end() override;

private:
    vault::PointWriter& writer_;
    std::unique_ptr<vault::StreamWriter> stream_;  ///< Between begin() and end().
};

/// The same for a backup that writes several streams at a time.
class PointStreams final : public postgres::BackupStreams {
public:
    explicit PointStreams(vault::PointWriter& writer) : writer_{writer} {}
    [[nodiscard]] std::unique_ptr<postgres::StreamWriter> open(const postgres::StreamSpec& spec
    ) override;

private:
    vault::PointWriter& writer_;
};

/// The streams of a stored recovery point. Safe from any thread; `reader` outlives it and what it
/// opened. Once `stop` is requested, reads throw kCancelled.
class PointSource final : public postgres::StreamSource {
public:
    PointSource(vault::PointReader& reader, std::stop_token stop)
        : reader_{reader}, stop_{std::move(stop)} {}
    void list(
        std::string_view prefix, const std::function<void(const postgres::StreamInfo&)>& visit
    ) const override;
    [[nodiscard]] std::unique_ptr<postgres::StreamReader> open(std::string_view name
    ) const override;

private:
    vault::PointReader& reader_;
    const std::stop_token stop_;
};

}  // namespace holdfast::jobs
