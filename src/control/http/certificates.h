#pragma once

#include "base/clock.h"
#include "base/secret.h"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

// Making X.509 certificates: a certificate authority that can sign for nothing but the names it was
// made for, and leaves below it. ECDSA P-256, SHA-256.
namespace holdfast::control {

struct KeyedCertificate {
    std::string certificate_pem;
    Secret key_pem;  ///< PKCS#8, unencrypted.
};

struct CertificateSpec {
    std::string common_name;
    /// DNS names and IP addresses. In an authority: the permitted subtrees (`*.` is dropped),
    /// everything else is excluded. In a leaf: the subject alternative names.
    std::vector<std::string> names;
    Instant not_before;
    Instant not_after;
};

/// Self-signed, path length 0, name-constrained (critical). Throws kConfigInvalid for a name that
/// is neither a DNS name nor an IP address.
[[nodiscard]] KeyedCertificate make_authority(const CertificateSpec& spec);
/// For TLS servers, signed by `authority`.
[[nodiscard]] KeyedCertificate make_leaf(
    const CertificateSpec& spec, const KeyedCertificate& authority
);

/// When a PEM certificate (the first of a chain) ends. Throws kConfigInvalid when it is none.
[[nodiscard]] Instant certificate_end(std::string_view pem);
/// SHA-256 of the certificate: `AB:CD:…`, for people to compare.
[[nodiscard]] std::string certificate_fingerprint(std::string_view pem);

}  // namespace holdfast::control
