#include "control/http/tls.h"

#include "base/error.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

namespace holdfast::control {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

[[noreturn]] void refuse(const std::string& message) {
    const char* reason = ERR_reason_error_string(ERR_get_error());
    ERR_clear_error();
    throw Error{
        ErrorKind::kConfigInvalid,
        ErrorText{
            .message = message,
            .internal = reason != nullptr ? reason : "",
            .target = "server.tls_certificate",
            .recommended_actions = {"Give the certificate chain (leaf first) and its private key "
                                    "as PEM files, the key without a "
                                    "passphrase."},
        }
    };
}

Bio memory_bio(std::string_view text) {
    return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free};
}

// clang-format off
int select_protocol(
    SSL* /*ssl*/, const unsigned char** out, unsigned char* out_length,
    const unsigned char* in, unsigned in_length, void* /*argument*/
) {
    // clang-format on
    static constexpr unsigned char kOurs[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_length, kOurs, sizeof kOurs, in, in_length) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/// Never asks a terminal for a passphrase.
int no_passphrase(char*, int, int, void*) {
    return -1;
}

void use_chain(SSL_CTX* context, std::string_view chain_pem) {
    const Bio bio = memory_bio(chain_pem);
    const Certificate leaf{
        PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr), &X509_free
    };
    if (leaf == nullptr || SSL_CTX_use_certificate(context, leaf.get()) != 1) {
        refuse("The TLS certificate is not a PEM certificate.");
    }
    while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)) {
        if (SSL_CTX_add0_chain_cert(context, next) != 1) {
            X509_free(next);
            refuse("A certificate of the TLS chain cannot be used.");
        }
    }
    ERR_clear_error();
}

}  // namespace

TlsContext make_tls_context(std::string_view chain_pem, const Secret& key_pem) {
    TlsContext context{SSL_CTX_new(TLS_server_method()), SSL_CTX_free};
    HOLDFAST_CHECK(context != nullptr);
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_options(
        context.get(),
        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
            // Clients that drop the connection without a close_notify are the rule, not an error.
            SSL_OP_IGNORE_UNEXPECTED_EOF
    );
    SSL_CTX_set_mode(
        context.get(),
        SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
    );
    // Sessions are resumed from tickets, which cost the server no memory.
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context.get(), 1);
    SSL_CTX_set_alpn_select_cb(context.get(), select_protocol, nullptr);
    use_chain(context.get(), chain_pem);
    const Bio bio = memory_bio(key_pem.expose_text());
    const PrivateKey key{
        PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr), &EVP_PKEY_free
    };
    if (key == nullptr) {
        refuse("The TLS key is not a PEM private key without a passphrase.");
    }
    if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 ||
        SSL_CTX_check_private_key(context.get()) != 1) {
        refuse("The TLS key does not belong to the certificate.");
    }
    return context;
}

}  // namespace holdfast::control
