#include "control/http/certificates.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

#include <array>
#include <memory>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace holdfast::control {
namespace {

template <auto Free>
struct Deleter {
    template <typename T>
    void operator()(T* object) const noexcept {
        Free(object);
    }
};
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;
using Constraints = std::unique_ptr<NAME_CONSTRAINTS, Deleter<NAME_CONSTRAINTS_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES_free>>;

/// What cannot fail with good arguments: OpenSSL then is out of memory or broken.
void must(bool done) {
    if (!done) {
        const char* reason = ERR_reason_error_string(ERR_peek_last_error());
        ERR_clear_error();
        throw Error{
            ErrorKind::kInternal,
            ErrorText{
                .message = "Making a certificate failed.",
                .internal = reason != nullptr ? reason : ""
            }
        };
    }
}

struct ParsedName {
    std::string text;  // DNS name, lower case, `*.` kept.
    Bytes address;     // 4 or 16 bytes; empty for a DNS name.
};

bool is_dns_name(std::string_view name) {
    if (name.starts_with("*.")) {
        name.remove_prefix(2);
    }
    if (name.empty() || name.size() > 253) {
        return false;
    }
    for (const std::string& label : split(name, '.')) {
        const bool good =
            !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
            std::all_of(label.begin(), label.end(), [](char c) {
                return c == '-' || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
            });
        if (!good) {
            return false;
        }
    }
    return true;
}

ParsedName parse_name(const std::string& name) {
    std::array<std::byte, 16> buffer{};
    if (inet_pton(AF_INET, name.c_str(), buffer.data()) == 1) {
        return {name, Bytes{buffer.begin(), buffer.begin() + 4}};
    }
    if (inet_pton(AF_INET6, name.c_str(), buffer.data()) == 1) {
        return {name, Bytes{buffer.begin(), buffer.end()}};
    }
    ParsedName parsed{to_lower(name), {}};
    if (!is_dns_name(parsed.text)) {
        throw Error{
            ErrorKind::kConfigInvalid,
            ErrorText{
                .message = fmt::format(
                    "'{}' is neither a DNS name nor an IP address.", name.substr(0, 100)
                ),
                .target = "server.names",
                .recommended_actions =
                    {"Give server.names as a list like [\"backup.example.org\", \"192.0.2.7\"]."},
            }
        };
    }
    return parsed;
}

Key new_key() {
    Key key{EVP_EC_gen("P-256")};
    must(key != nullptr);
    return key;
}

void set_time(ASN1_TIME* field, Instant instant) {
    const auto seconds =
        std::chrono::floor<std::chrono::seconds>(instant).time_since_epoch().count();
    must(ASN1_TIME_set(field, static_cast<time_t>(seconds)) != nullptr);
}

Certificate new_certificate(const CertificateSpec& spec, EVP_PKEY* key) {
    Certificate certificate{X509_new()};
    must(certificate != nullptr);
    must(X509_set_version(certificate.get(), X509_VERSION_3) == 1);
    std::array<std::byte, 16> serial = random_array<16>();
    serial[0] &= std::byte{0x7f};  // Positive.
    serial[0] |= std::byte{0x40};  // Of full length.
    std::unique_ptr<BIGNUM, Deleter<BN_free>> number{BN_bin2bn(
        reinterpret_cast<const unsigned char*>(serial.data()),
        static_cast<int>(serial.size()),
        nullptr
    )};
    must(
        number != nullptr &&
        BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) != nullptr
    );
    set_time(X509_getm_notBefore(certificate.get()), spec.not_before);
    set_time(X509_getm_notAfter(certificate.get()), spec.not_after);
    must(X509_set_pubkey(certificate.get(), key) == 1);
    X509_NAME* subject = X509_get_subject_name(certificate.get());
    const std::string common_name = spec.common_name.substr(0, 64);
    must(
        X509_NAME_add_entry_by_txt(
            subject,
            "CN",
            MBSTRING_UTF8,
            reinterpret_cast<const unsigned char*>(common_name.data()),
            static_cast<int>(common_name.size()),
            -1,
            0
        ) == 1
    );
    return certificate;
}

void add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    const Extension extension{X509V3_EXT_conf_nid(nullptr, &context, kind, value)};
    must(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1);
}

GENERAL_NAME* dns_name(std::string_view text) {
    ASN1_IA5STRING* string = ASN1_IA5STRING_new();
    GENERAL_NAME* name = GENERAL_NAME_new();
    must(string != nullptr && name != nullptr);
    must(ASN1_STRING_set(string, text.data(), static_cast<int>(text.size())) == 1);
    GENERAL_NAME_set0_value(name, GEN_DNS, string);
    return name;
}

GENERAL_NAME* address_name(ByteSpan address) {
    ASN1_OCTET_STRING* string = ASN1_OCTET_STRING_new();
    GENERAL_NAME* name = GENERAL_NAME_new();
    must(string != nullptr && name != nullptr);
    must(
        ASN1_OCTET_STRING_set(
            string,
            reinterpret_cast<const unsigned char*>(address.data()),
            static_cast<int>(address.size())
        ) == 1
    );
    GENERAL_NAME_set0_value(name, GEN_IPADD, string);
    return name;
}

void add_subtree(STACK_OF(GENERAL_SUBTREE) * &trees, GENERAL_NAME* base) {
    if (trees == nullptr) {
        trees = sk_GENERAL_SUBTREE_new_null();
    }
    GENERAL_SUBTREE* tree = GENERAL_SUBTREE_new();
    must(trees != nullptr && tree != nullptr);
    GENERAL_NAME_free(tree->base);
    tree->base = base;
    must(sk_GENERAL_SUBTREE_push(trees, tree) > 0);
}

/// A kind of name without a permitted subtree would be unconstrained, so it is excluded as a whole.
void add_constraints(X509* certificate, const std::vector<std::string>& names) {
    const Constraints constraints{NAME_CONSTRAINTS_new()};
    must(constraints != nullptr);
    bool any_dns = false;
    bool any_address = false;
    for (const std::string& text : names) {
        const ParsedName name = parse_name(text);
        if (name.address.empty()) {
            any_dns = true;
            const std::string_view base = name.text;
            add_subtree(
                constraints->permittedSubtrees,
                dns_name(base.starts_with("*.") ? base.substr(2) : base)
            );
            continue;
        }
        any_address = true;
        Bytes with_mask = name.address;
        with_mask.resize(2 * name.address.size(), std::byte{0xff});
        add_subtree(constraints->permittedSubtrees, address_name(with_mask));
    }
    if (!any_dns) {
        add_subtree(constraints->excludedSubtrees, dns_name(""));
    }
    if (!any_address) {
        add_subtree(constraints->excludedSubtrees, address_name(Bytes(8)));
        add_subtree(constraints->excludedSubtrees, address_name(Bytes(32)));
    }
    must(
        X509_add1_ext_i2d(
            certificate, NID_name_constraints, constraints.get(), 1, X509V3_ADD_DEFAULT
        ) == 1
    );
}

void add_alternative_names(X509* certificate, const std::vector<std::string>& names) {
    const Names all{GENERAL_NAMES_new()};
    must(all != nullptr);
    for (const std::string& text : names) {
        const ParsedName name = parse_name(text);
        GENERAL_NAME* entry =
            name.address.empty() ? dns_name(name.text) : address_name(name.address);
        must(sk_GENERAL_NAME_push(all.get(), entry) > 0);
    }
    must(
        X509_add1_ext_i2d(certificate, NID_subject_alt_name, all.get(), 0, X509V3_ADD_DEFAULT) == 1
    );
}

KeyedCertificate to_pem(X509* certificate, EVP_PKEY* key) {
    const Bio public_part{BIO_new(BIO_s_mem())};
    const Bio private_part{BIO_new(BIO_s_secmem())};
    must(PEM_write_bio_X509(public_part.get(), certificate) == 1);
    must(
        PEM_write_bio_PKCS8PrivateKey(
            private_part.get(), key, nullptr, nullptr, 0, nullptr, nullptr
        ) == 1
    );
    const auto text_of = [](BIO* bio) {
        char* data = nullptr;
        const long size = BIO_get_mem_data(bio, &data);
        return std::string_view{data, static_cast<std::size_t>(size)};
    };
    return {std::string{text_of(public_part.get())}, Secret{text_of(private_part.get())}};
}

Certificate read_certificate(std::string_view pem) {
    const Bio bio{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
    Certificate certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)};
    if (certificate == nullptr) {
        ERR_clear_error();
        throw Error{ErrorKind::kConfigInvalid, "The certificate is not in PEM form."};
    }
    return certificate;
}

}  // namespace

KeyedCertificate make_authority(const CertificateSpec& spec) {
    const Key key = new_key();
    const Certificate certificate = new_certificate(spec, key.get());
    must(X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get())) == 1);
    add_extension(
        certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0"
    );
    add_extension(
        certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign"
    );
    add_extension(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash");
    add_constraints(certificate.get(), spec.names);
    must(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
    return to_pem(certificate.get(), key.get());
}

KeyedCertificate make_leaf(const CertificateSpec& spec, const KeyedCertificate& authority) {
    const Certificate issuer = read_certificate(authority.certificate_pem);
    const std::string_view issuer_key_pem = authority.key_pem.expose_text();
    const Bio bio{BIO_new_mem_buf(issuer_key_pem.data(), static_cast<int>(issuer_key_pem.size()))};
    const Key issuer_key{PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr)};
    must(issuer_key != nullptr);
    const Key key = new_key();
    const Certificate certificate = new_certificate(spec, key.get());
    must(X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get())) == 1);
    add_extension(certificate.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE");
    add_extension(certificate.get(), issuer.get(), NID_key_usage, "critical,digitalSignature");
    add_extension(certificate.get(), issuer.get(), NID_ext_key_usage, "serverAuth");
    add_extension(certificate.get(), issuer.get(), NID_subject_key_identifier, "hash");
    add_extension(certificate.get(), issuer.get(), NID_authority_key_identifier, "keyid:always");
    add_alternative_names(certificate.get(), spec.names);
    must(X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()) > 0);
    return to_pem(certificate.get(), key.get());
}

Instant certificate_end(std::string_view pem) {
    const Certificate certificate = read_certificate(pem);
    struct tm fields{};
    must(ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &fields) == 1);
    return Instant{std::chrono::seconds{timegm(&fields)}};
}

std::string certificate_fingerprint(std::string_view pem) {
    const Certificate certificate = read_certificate(pem);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    must(X509_digest(certificate.get(), EVP_sha256(), digest.data(), &size) == 1);
    std::string out;
    for (unsigned i = 0; i < size; ++i) {
        out += fmt::format("{}{:02X}", i == 0 ? "" : ":", digest[i]);
    }
    return out;
}

}  // namespace holdfast::control
