// Any bytes as a bearer token, and as another issuer's key. A token that was not signed must never
// be found to be.

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "control/identity/jose.h"

#include <cstdint>

namespace {

using namespace holdfast;
using control::VerificationKey;

// RFC 7515, appendix A.3.
constexpr std::string_view kJwk =
    R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
    R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})";
constexpr std::string_view kHeader = "eyJhbGciOiJFUzI1NiJ9";
constexpr std::string_view kClaims =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlf"
    "Q";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto key = VerificationKey::from_jwk(Json::parse(kJwk));
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    const auto read = control::read_unverified(text);
    if (read) {
        HOLDFAST_CHECK(read->header.is_object() && read->claims.is_object());
    }
    if (key->verifies(text)) {
        // The one token whose signature is in the corpus.
        HOLDFAST_CHECK(text.starts_with(std::string{kHeader} + "." + std::string{kClaims} + "."));
    }
    try {
        const Json jwk = parse_json(text, ErrorKind::kAuthenticationFailed, "A key");
        if (const auto other = VerificationKey::from_jwk(jwk)) {
            static_cast<void>(
                other->verifies(std::string{kHeader} + "." + std::string{kClaims} + ".AAAA")
            );
        }
    } catch (const Error&) {
        return 0;
    }
    return 0;
}
