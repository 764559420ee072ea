#pragma once

#include "base/file.h"
#include "postgres/connection.h"

#include <string>
#include <utility>

namespace holdfast::postgres {

/// The file of trusted certificates for a connection: the one named, a memory file with the PEM
/// text given, or the system's. libpq knows `system` only from 16 on, and would look into the home
/// directory when told nothing.
class RootCertificate {
public:
    explicit RootCertificate(const ConnectionParameters& parameters);

    /// For libpq in this process; empty when there is none. Valid while this object lives.
    [[nodiscard]] std::string own_path() const;
    /// True when a child must be passed descriptor() to read it.
    [[nodiscard]] bool in_memory() const noexcept { return memory_.valid(); }
    /// Hands the memory file over.
    [[nodiscard]] FileDescriptor take() noexcept { return std::move(memory_); }

private:
    std::string path_;
    FileDescriptor memory_;
};

}  // namespace holdfast::postgres
