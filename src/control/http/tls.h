#pragma once

#include "base/secret.h"

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

// OpenSSL's own names, so that its headers stay in two files.
struct ssl_ctx_st;

namespace holdfast::control {

/// The server side of TLS: 1.2 at least, one certificate chain, `http/1.1` by ALPN, buffers
/// released while a connection is idle. Immutable once made; connections keep the one that they
/// began with.
using TlsContext = std::shared_ptr<ssl_ctx_st>;

/// Throws kConfigInvalid when the PEM text is not a certificate chain and its private key.
[[nodiscard]] TlsContext make_tls_context(std::string_view chain_pem, const Secret& key_pem);

/// The context that new connections take; replaced when a certificate is renewed. Safe from any
/// thread.
class TlsSlot {
public:
    [[nodiscard]] TlsContext current() const {
        const std::lock_guard lock{mutex_};
        return context_;
    }
    void replace(TlsContext context) {
        const std::lock_guard lock{mutex_};
        context_ = std::move(context);
    }

private:
    mutable std::mutex mutex_;
    TlsContext context_;
};

}  // namespace holdfast::control
