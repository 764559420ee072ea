#include "postgres/root_certificate.h"

#include "base/process.h"

#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::postgres {

RootCertificate::RootCertificate(const ConnectionParameters& parameters) {
    const std::string& given = parameters.ssl_root_cert;
    if (given.find("-----BEGIN ") != std::string::npos) {
        memory_ = make_memory_file("holdfast-root-certificate", as_bytes(given));
        return;
    }
    if (!given.empty() && given != "system") {
        path_ = given;
        return;
    }
    const SslMode mode = parameters.effective_ssl_mode();
    if (mode != SslMode::kVerifyCa && mode != SslMode::kVerifyFull) {
        return;
    }
    // Debian, then Fedora and its kin.
    for (const char* bundle :
         {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}) {
        if (access(bundle, R_OK) == 0) {
            path_ = bundle;
            return;
        }
    }
}

std::string RootCertificate::own_path() const {
    return in_memory() ? fmt::format("/proc/self/fd/{}", memory_.get()) : path_;
}

}  // namespace holdfast::postgres
