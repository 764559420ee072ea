#pragma once

#include "base/clock.h"
#include "base/secret.h"
#include "control/http/certificates.h"
#include "control/http/tls.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace holdfast::control {

struct TlsMaterialSettings {
    std::filesystem::path
        directory;  ///< Where the self-made authority is kept; made when it does not exist.
    std::vector<std::string> names;  ///< What clients call this server.
    /// Names below those, for the self-made leaf; asked for whenever one is issued, and now and
    /// then whether one has to be.
    std::function<std::vector<std::string>()> more_names = {};
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

    /// Issues a new leaf when it is time or there are more names, or reads changed files again. New
    /// connections get it. Returns true when something changed. One thread at a time.
    bool renew_if_due();
    /// As renew_if_due, whatever the time.
    void renew();

private:
    void open_authority();
    void make_new_authority();
    void load_given();
    [[nodiscard]] std::vector<std::string> names_of_leaf() const;

    const TlsMaterialSettings settings_;
    const Secret sealing_key_;
    Clock& clock_;
    KeyedCertificate authority_;
    TlsSlot slot_;
    std::vector<std::string> leaf_names_;
    Instant renew_at_{};
    Instant leaf_end_{};
    std::filesystem::file_time_type given_changed_{};
};

}  // namespace holdfast::control
