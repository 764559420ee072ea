#pragma once

#include "base/clock.h"
#include "base/secret.h"
#include "control/http/certificates.h"
#include "control/http/tls.h"

#include <filesystem>
#include <string>
#include <vector>

namespace holdfast::control {

struct TlsMaterialSettings {
    std::filesystem::path
        directory;  ///< Where the self-made authority is kept; made when it does not exist.
    std::vector<std::string> names;          ///< What clients call this server.
    std::filesystem::path certificate = {};  ///< Given chain and key instead of the self-made ones.
    std::filesystem::path key = {};
};

/// The server's certificate: given as files, or issued here by a self-made authority. The
/// authority's key is on disk sealed only, the leaf's key in memory only: a new leaf at every
/// start, and whenever two thirds of its life are over.
class TlsMaterial {
public:
    /// Opens the authority, or makes it: at the first start, and when `names` has one that it may
    /// not sign for (logged: clients then need the new ca.pem). `sealing_key`: 32 bytes, used for
    /// nothing else. Throws kConfigInvalid, kKeyWrong.
    TlsMaterial(TlsMaterialSettings settings, Secret sealing_key, Clock& clock);

    [[nodiscard]] const TlsSlot& slot() const noexcept { return slot_; }
    /// What clients have to trust; empty with given files.
    [[nodiscard]] std::filesystem::path ca_file() const;
    [[nodiscard]] Instant leaf_end() const noexcept { return leaf_end_; }

    /// Issues a new leaf when it is time, or reads changed files again. New connections get it.
    /// Returns true when something changed. One thread at a time.
    bool renew_if_due();
    /// As renew_if_due, whatever the time.
    void renew();

private:
    void open_authority();
    void make_new_authority();
    void load_given();

    const TlsMaterialSettings settings_;
    const Secret sealing_key_;
    Clock& clock_;
    KeyedCertificate authority_;
    TlsSlot slot_;
    Instant renew_at_{};
    Instant leaf_end_{};
    std::filesystem::file_time_type given_changed_{};
};

}  // namespace holdfast::control
