#include "control/http/tls_material.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sealing.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr auto kAuthorityLife = std::chrono::days{3650};
// Short enough that a stolen leaf key is of little use, long enough for a rarely restarted server.
constexpr auto kLeafLife = std::chrono::days{90};
// Clients whose clock is behind must not refuse a certificate made a moment ago.
constexpr auto kClockTolerance = std::chrono::hours{24};
constexpr std::string_view kSealContext = "holdfast/1/tls-authority";
constexpr std::size_t kFileSizeMax = 256 * 1024;

std::vector<std::string> normalized(std::vector<std::string> names) {
    for (std::string& name : names) {
        name = to_lower(name);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

std::string require_file(const std::filesystem::path& path, std::string_view key) {
    auto text = read_file(path, kFileSizeMax);
    if (!text) {
        throw Error{
            ErrorKind::kConfigInvalid,
            ErrorText{
                .message = fmt::format("The file {} ({}) does not exist.", path.string(), key),
                .target = std::string{key},
                .recommended_actions = {fmt::format("Correct {} in the configuration.", key)},
            }
        };
    }
    return std::move(*text);
}

/// The group may read it: that is how distributions give TLS keys to services.
Secret require_key(const std::filesystem::path& path) {
    std::string text = require_file(path, "server.tls_key");
    Secret key{std::string_view{text}};
    wipe(text);
    using std::filesystem::perms;
    const auto rights = std::filesystem::status(path).permissions();
    if ((rights & perms::others_all) != perms::none) {
        throw Error{
            ErrorKind::kKeyPermissions,
            ErrorText{
                .message = fmt::format("The TLS key {} is open to every user.", path.string()),
                .target = "server.tls_key",
                .recommended_actions = {fmt::format("Run: chmod o= {}", path.string())},
            }
        };
    }
    return key;
}

}  // namespace

TlsMaterial::TlsMaterial(TlsMaterialSettings settings, Secret sealing_key, Clock& clock)
    : settings_{std::move(settings)}, sealing_key_{std::move(sealing_key)}, clock_{clock} {
    if (settings_.certificate.empty()) {
        open_authority();
    }
    renew();
}

std::filesystem::path TlsMaterial::ca_file() const {
    return settings_.certificate.empty() ? settings_.directory / "ca.pem" : std::filesystem::path{};
}

bool TlsMaterial::renew_if_due() {
    if (settings_.certificate.empty()) {
        if (clock_.now() < renew_at_ && names_of_leaf() == leaf_names_) {
            return false;
        }
        renew();
        return true;
    }
    std::error_code fault;
    const auto changed = std::filesystem::last_write_time(settings_.certificate, fault);
    if (fault || changed == given_changed_) {
        return false;
    }
    renew();
    return true;
}

void TlsMaterial::renew() {
    if (!settings_.certificate.empty()) {
        load_given();
        return;
    }
    const Instant now = clock_.now();
    if (certificate_end(authority_.certificate_pem) < now + kLeafLife) {
        log_warning(
            "the certificate authority is near its end; a new one is made, clients need its ca.pem"
        );
        make_new_authority();
    }
    leaf_names_ = names_of_leaf();
    const KeyedCertificate leaf = make_leaf(
        CertificateSpec{
            // Not a name: an address here would be judged by the constraints on DNS names.
            .common_name = "Holdfast server",
            .names = leaf_names_,
            .not_before = now - kClockTolerance,
            .not_after = now + kLeafLife,
        },
        authority_
    );
    slot_.replace(make_tls_context(leaf.certificate_pem, leaf.key_pem));
    leaf_end_ = now + kLeafLife;
    renew_at_ = now + kLeafLife * 2 / 3;
    log_info("TLS certificate issued", {{"until", format_instant_seconds(leaf_end_)}});
}

std::vector<std::string> TlsMaterial::names_of_leaf() const {
    std::vector<std::string> names = settings_.names;
    if (settings_.more_names) {
        for (std::string& name : settings_.more_names()) {
            names.push_back(std::move(name));
        }
    }
    return names;
}

/// authority.sealed holds what belongs together in one file, so that no crash can part it: a line
/// of JSON with the certificate and the names it may sign for, then the key. ca.pem is a copy of
/// the certificate for clients.
void TlsMaterial::open_authority() {
    make_directory_durably(settings_.directory, 0755);
    const auto sealed = read_file(settings_.directory / "authority.sealed", kFileSizeMax);
    if (!sealed) {
        make_new_authority();
        return;
    }
    const Secret opened = [&] {
        try {
            return open_small(sealing_key_, kSealContext, as_bytes(*sealed));
        } catch (const Error& error) {
            const std::string file = (settings_.directory / "authority.sealed").string();
            throw Error{
                error.kind(),
                ErrorText{
                    .message = fmt::format(
                        "The certificate authority in {} is damaged or was sealed under another "
                        "key.",
                        file
                    ),
                    .target = file,
                    .recommended_actions =
                        {"Give the service the key file that it was set up with.",
                         "When that is lost, remove the file: a new authority is made, and clients "
                         "need its ca.pem."},
                }
            };
        }
    }();
    const std::string_view text = opened.expose_text();
    const std::size_t end_of_line = text.find('\n');
    HOLDFAST_CHECK(end_of_line != std::string_view::npos);  // It was authenticated: we wrote it.
    const Json stored = parse_own_json(text.substr(0, end_of_line));
    authority_.certificate_pem = stored.at("certificate").get<std::string>();
    authority_.key_pem = Secret{text.substr(end_of_line + 1)};
    const auto allowed = stored.at("names").get<std::vector<std::string>>();
    const auto wanted = normalized(settings_.names);
    if (!std::includes(allowed.begin(), allowed.end(), wanted.begin(), wanted.end())) {
        log_warning(
            "server.names has a name that the certificate authority may not sign for; a new "
            "authority is made, clients need its ca.pem",
            {{"names", join(wanted, " ")}}
        );
        make_new_authority();
        return;
    }
    write_file_durably(ca_file(), as_bytes(authority_.certificate_pem), 0644, Overwrite::kYes);
}

void TlsMaterial::make_new_authority() {
    const Instant now = clock_.now();
    authority_ = make_authority(CertificateSpec{
        .common_name = fmt::format("Holdfast CA {}", to_hex(random_array<4>())),
        .names = settings_.names,
        .not_before = now - kClockTolerance,
        .not_after = now + kAuthorityLife,
    });
    const Json facts{
        {"certificate", authority_.certificate_pem}, {"names", normalized(settings_.names)}
    };
    std::string text = facts.dump() + "\n";
    text += authority_.key_pem.expose_text();
    const Bytes sealed = seal_small(sealing_key_, kSealContext, as_bytes(text));
    wipe(text);
    write_file_durably(settings_.directory / "authority.sealed", sealed, 0600, Overwrite::kYes);
    write_file_durably(ca_file(), as_bytes(authority_.certificate_pem), 0644, Overwrite::kYes);
    log_info(
        "certificate authority made",
        {{"file", ca_file().string()},
         {"sha256", certificate_fingerprint(authority_.certificate_pem)}}
    );
}

void TlsMaterial::load_given() {
    const std::string chain = require_file(settings_.certificate, "server.tls_certificate");
    const Secret key = require_key(settings_.key);
    leaf_end_ = certificate_end(chain);
    if (leaf_end_ < clock_.now()) {
        log_warning(
            "the TLS certificate has expired",
            {{"file", settings_.certificate.string()}, {"ended", format_instant_seconds(leaf_end_)}}
        );
    }
    slot_.replace(make_tls_context(chain, key));
    std::error_code ignored;
    given_changed_ = std::filesystem::last_write_time(settings_.certificate, ignored);
    renew_at_ = leaf_end_;
}

}  // namespace holdfast::control
