#include "control/http/certificates.h"

#include "base/error.h"
#include "base/log.h"
#include "control/http/tls_material.h"
#include "control/testing/https_client.h"

#include <filesystem>
#include <memory>

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

namespace holdfast::control {
namespace {

using std::chrono::days;

template <typename T, void (*Release)(T*)>
struct Releaser {
    void operator()(T* object) const noexcept { Release(object); }
};
using CertificatePtr = std::unique_ptr<X509, Releaser<X509, X509_free>>;

CertificatePtr read_pem(const std::string& pem) {
    BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    CertificatePtr certificate{PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)};
    BIO_free(bio);
    return certificate;
}

/// What a strict client says of `leaf` under `authority` at `at`; X509_V_OK when it trusts it.
int verify(const std::string& leaf, const std::string& authority, Instant at) {
    const CertificatePtr certificate = read_pem(leaf);
    const CertificatePtr root = read_pem(authority);
    X509_STORE* store = X509_STORE_new();
    X509_STORE_add_cert(store, root.get());
    X509_STORE_CTX* context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, store, certificate.get(), nullptr);
    X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_time(
        parameters, std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count()
    );
    X509_verify_cert(context);
    const int result = X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return result;
}

const Instant kNow = *parse_instant("2026-05-01T12:00:00Z");

KeyedCertificate authority_for(std::vector<std::string> names) {
    return make_authority(
        {.common_name = "Test CA",
         .names = std::move(names),
         .not_before = kNow - days{1},
         .not_after = kNow + days{3650}}
    );
}

std::string leaf_for(std::vector<std::string> names, const KeyedCertificate& authority) {
    return make_leaf(
               {.common_name = "Test server",
                .names = std::move(names),
                .not_before = kNow - days{1},
                .not_after = kNow + days{90}},
               authority
    )
        .certificate_pem;
}

TEST(Certificates, a_strict_client_trusts_the_leaf) {
    const KeyedCertificate authority =
        authority_for({"backup.example.org", "192.0.2.7", "2001:db8::7", "*.vault.example.org"});
    const std::string leaf = leaf_for(
        {"backup.example.org", "192.0.2.7", "2001:db8::7", "*.vault.example.org"}, authority
    );
    EXPECT_EQ(verify(leaf, authority.certificate_pem, kNow), X509_V_OK);
    EXPECT_EQ(
        verify(leaf, authority.certificate_pem, kNow + days{91}), X509_V_ERR_CERT_HAS_EXPIRED
    );
    const CertificatePtr certificate = read_pem(leaf);
    EXPECT_EQ(X509_check_host(certificate.get(), "backup.example.org", 0, 0, nullptr), 1);
    EXPECT_EQ(X509_check_host(certificate.get(), "kv1.vault.example.org", 0, 0, nullptr), 1);
    EXPECT_EQ(X509_check_host(certificate.get(), "evil.example.org", 0, 0, nullptr), 0);
    EXPECT_EQ(X509_check_ip_asc(certificate.get(), "192.0.2.7", 0), 1);
    EXPECT_EQ(X509_check_ip_asc(certificate.get(), "2001:db8::7", 0), 1);
    EXPECT_EQ(certificate_end(leaf), kNow + days{90});
}

TEST(Certificates, the_authority_signs_for_nothing_else) {
    struct Case {
        std::vector<std::string> allowed;
        std::string wanted;
        int result;
    };
    const std::vector<Case> cases{
        {{"a.example"}, "b.example", X509_V_ERR_PERMITTED_VIOLATION},
        {{"a.example"}, "192.0.2.1", X509_V_ERR_EXCLUDED_VIOLATION},
        {{"a.example"}, "2001:db8::1", X509_V_ERR_EXCLUDED_VIOLATION},
        {{"192.0.2.1"}, "a.example", X509_V_ERR_EXCLUDED_VIOLATION},
        {{"192.0.2.1"}, "192.0.2.2", X509_V_ERR_PERMITTED_VIOLATION},
        {{"192.0.2.1"}, "2001:db8::1", X509_V_ERR_PERMITTED_VIOLATION},
        {{"a.example", "192.0.2.1"}, "a.example", X509_V_OK},
        {{"a.example", "192.0.2.1"}, "192.0.2.1", X509_V_OK},
    };
    for (const Case& row : cases) {
        const KeyedCertificate authority = authority_for(row.allowed);
        EXPECT_EQ(
            verify(leaf_for({row.wanted}, authority), authority.certificate_pem, kNow), row.result
        ) << row.wanted;
    }
}

TEST(Certificates, the_authority_has_no_room_for_another_below) {
    const KeyedCertificate authority = authority_for({"a.example"});
    const CertificatePtr certificate = read_pem(authority.certificate_pem);
    EXPECT_EQ(X509_get_pathlen(certificate.get()), 0);
    EXPECT_NE(X509_check_ca(certificate.get()), 0);
    // Two authorities never share a name, so that a client with both finds the right one.
    EXPECT_NE(
        certificate_fingerprint(authority.certificate_pem),
        certificate_fingerprint(authority_for({"a.example"}).certificate_pem)
    );
}

TEST(Certificates, refuses_names_that_are_none) {
    for (const std::string_view name :
         {"", "a b", "-a.example", "a..b", "http://x", "a/24", "*", "*.*.x", "1.2.3.4:5"}) {
        EXPECT_THROW((void)authority_for({std::string{name}}), Error) << name;
    }
}

class TlsMaterialTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { set_log_level(LogLevel::kError); }

    std::unique_ptr<TlsMaterial> open(std::vector<std::string> names = {"localhost", "127.0.0.1"}) {
        return std::make_unique<TlsMaterial>(
            TlsMaterialSettings{.directory = directory.path() / "tls", .names = std::move(names)},
            key.clone(),
            clock
        );
    }
    std::string ca_of(const TlsMaterial& material) {
        return *read_file(material.ca_file(), 100000);
    }

    TemporaryDirectory directory{"holdfast-tls"};
    Secret key = Secret::random(32);
    FakeClock clock{kNow};
};

TEST_F(TlsMaterialTest, keeps_its_authority) {
    const std::string first = ca_of(*open());
    EXPECT_EQ(ca_of(*open()), first);
    EXPECT_EQ(ca_of(*open({"localhost"})), first);
    EXPECT_NE(ca_of(*open({"localhost", "backup.example.org"})), first);
}

TEST_F(TlsMaterialTest, keeps_no_key_in_clear) {
    const auto material = open();
    for (const auto& entry : std::filesystem::recursive_directory_iterator{directory.path()}) {
        if (entry.is_regular_file()) {
            EXPECT_EQ(read_file(entry.path(), 1000000)->find("PRIVATE KEY"), std::string::npos)
                << entry.path();
        }
    }
    struct stat status{};
    ASSERT_EQ(::stat((directory.path() / "tls/authority.sealed").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(TlsMaterialTest, refuses_a_sealed_authority_of_another_key) {
    (void)open();
    key = Secret::random(32);
    try {
        (void)open();
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kKeyWrong);
        EXPECT_TRUE(error.text().target.ends_with("authority.sealed")) << error.text().target;
        EXPECT_EQ(error.text().recommended_actions.size(), 2U);
    }
}

TEST_F(TlsMaterialTest, renews_the_leaf_in_time) {
    const auto material = open();
    const Instant first_end = material->leaf_end();
    clock.advance(days{59});
    EXPECT_FALSE(material->renew_if_due());
    const TlsContext before = material->slot().current();
    clock.advance(days{2});
    EXPECT_TRUE(material->renew_if_due());
    EXPECT_GT(material->leaf_end(), first_end);
    EXPECT_NE(material->slot().current(), before);
    EXPECT_FALSE(material->renew_if_due());
}

TEST_F(TlsMaterialTest, makes_a_new_authority_before_the_old_one_ends) {
    const auto material = open();
    const std::string first = ca_of(*material);
    clock.advance(days{3600});
    EXPECT_TRUE(material->renew_if_due());
    EXPECT_NE(ca_of(*material), first);
}

TEST_F(TlsMaterialTest, takes_given_files_and_sees_them_change) {
    const KeyedCertificate authority = authority_for({"localhost"});
    const auto write_leaf = [&](days life) {
        const KeyedCertificate leaf = make_leaf(
            {.common_name = "localhost",
             .names = {"localhost"},
             .not_before = kNow - days{1},
             .not_after = kNow + life},
            authority
        );
        write_file_durably(
            directory.path() / "chain.pem", as_bytes(leaf.certificate_pem), 0644, Overwrite::kYes
        );
        write_file_durably(
            directory.path() / "key.pem", leaf.key_pem.expose(), 0640, Overwrite::kYes
        );
    };
    write_leaf(days{10});
    const TlsMaterialSettings settings{
        .directory = directory.path() / "tls",
        .names = {"localhost"},
        .certificate = directory.path() / "chain.pem",
        .key = directory.path() / "key.pem",
    };
    TlsMaterial material{settings, key.clone(), clock};
    EXPECT_TRUE(material.ca_file().empty());
    EXPECT_EQ(material.leaf_end(), kNow + days{10});
    EXPECT_FALSE(material.renew_if_due());
    write_leaf(days{20});
    std::filesystem::last_write_time(
        settings.certificate,
        std::filesystem::last_write_time(settings.certificate) + std::chrono::seconds{5}
    );
    EXPECT_TRUE(material.renew_if_due());
    EXPECT_EQ(material.leaf_end(), kNow + days{20});

    std::filesystem::permissions(settings.key, std::filesystem::perms{0644});
    EXPECT_THROW((TlsMaterial{settings, key.clone(), clock}), Error);
    std::filesystem::permissions(settings.key, std::filesystem::perms{0600});
    write_file_durably(settings.key, authority.key_pem.expose(), 0600, Overwrite::kYes);
    try {
        TlsMaterial{settings, key.clone(), clock};
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kConfigInvalid);
        EXPECT_STREQ(error.what(), "The TLS key does not belong to the certificate.");
    }
}

}  // namespace
}  // namespace holdfast::control
