#include "control/identity/jose.h"

#include "base/error.h"
#include "base/text.h"

#include <cjose/cjose.h>
#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::size_t kRsaBits = 2048;
constexpr std::size_t kKeyIdMax = 256;

struct Header {
    cjose_header_t* value;
    ~Header() { cjose_header_release(value); }
};

struct Signature {
    cjose_jws_t* value;
    ~Signature() { cjose_jws_release(value); }
};

[[noreturn]] void fail(std::string_view what, const cjose_err& fault) {
    throw Error{
        ErrorKind::kInternal,
        ErrorText{
            .message = fmt::format("{} failed.", what),
            .internal = fault.message == nullptr ? "" : fault.message,
        }
    };
}

std::shared_ptr<const void> own(cjose_jwk_t* key) {
    return {key, [](const void* p) {
                cjose_jwk_release(const_cast<cjose_jwk_t*>(static_cast<const cjose_jwk_t*>(p)));
            }};
}

const cjose_jwk_t* key_of(const std::shared_ptr<const void>& key) noexcept {
    return static_cast<const cjose_jwk_t*>(key.get());
}

std::string text_member(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

/// The algorithm that keys of this kind are used with, or nothing.
std::optional<std::string> algorithm_of(const Json& jwk) {
    const std::string type = text_member(jwk, "kty");
    if (type == "RSA") {
        return "RS256";
    }
    if (type == "EC" && text_member(jwk, "crv") == "P-256") {
        return "ES256";
    }
    return std::nullopt;
}

std::optional<Json> read_part(std::string_view text) {
    const auto bytes = from_base64url(text);
    if (!bytes || !is_utf8(as_text(*bytes))) {
        return std::nullopt;
    }
    std::optional<Json> part;
    run_boundary(
        [&] { part = parse_json(as_text(*bytes), ErrorKind::kAuthenticationFailed, "A token"); },
        [](const Error&) {}
    );
    return part && part->is_object() ? part : std::nullopt;
}

/// The public half: never more than these members, whatever else was imported.
Json public_members(const cjose_jwk_t* key) {
    cjose_err fault{};
    const std::unique_ptr<char, decltype(&std::free)> text{
        cjose_jwk_to_json(key, false, &fault), &std::free
    };
    if (!text) {
        fail("Writing a public key", fault);
    }
    return parse_own_json(text.get());
}

}  // namespace

std::optional<UnverifiedToken> read_unverified(std::string_view token) {
    if (token.size() > kTokenSizeMax) {
        return std::nullopt;
    }
    const std::vector<std::string> parts = split(token, '.');
    if (parts.size() != 3 || parts[2].empty() || !from_base64url(parts[2])) {
        return std::nullopt;
    }
    auto header = read_part(parts[0]);
    auto claims = read_part(parts[1]);
    if (!header || !claims) {
        return std::nullopt;
    }
    return UnverifiedToken{std::move(*header), std::move(*claims)};
}

VerificationKey::VerificationKey(
    std::shared_ptr<const void> key, std::string id, std::string algorithm
)
    : key_{std::move(key)}, id_{std::move(id)}, algorithm_{std::move(algorithm)} {}

std::optional<VerificationKey> VerificationKey::from_jwk(const Json& jwk) {
    if (!jwk.is_object()) {
        return std::nullopt;
    }
    const auto algorithm = algorithm_of(jwk);
    const std::string named = text_member(jwk, "alg");
    const std::string use = text_member(jwk, "use");
    if (!algorithm || (!named.empty() && named != *algorithm) || (!use.empty() && use != "sig")) {
        return std::nullopt;
    }
    // Only the public members reach the library, and only base64url: of anything else its decoder
    // asserts that it does not come.
    Json bare{{"kty", text_member(jwk, "kty")}};
    if (jwk.contains("crv")) {
        bare["crv"] = text_member(jwk, "crv");
    }
    for (const char* member : {"n", "e", "x", "y"}) {
        if (jwk.contains(member)) {
            const std::string number = text_member(jwk, member);
            if (number.empty() || !from_base64url(number)) {
                return std::nullopt;
            }
            bare[member] = number;
        }
    }
    const std::string text = bare.dump();
    cjose_err fault{};
    cjose_jwk_t* key = cjose_jwk_import(text.data(), text.size(), &fault);
    if (key == nullptr) {
        return std::nullopt;
    }
    auto owned = own(key);
    if (*algorithm == "RS256" && cjose_jwk_get_keysize(key, &fault) < kRsaBits) {
        return std::nullopt;
    }
    return VerificationKey{
        std::move(owned), text_member(jwk, "kid").substr(0, kKeyIdMax), *algorithm
    };
}

bool VerificationKey::verifies(std::string_view token) const {
    const auto read = read_unverified(token);
    // `crit` names what must be understood to judge the token: we understand none of it.
    if (!read || text_member(read->header, "alg") != algorithm_ || read->header.contains("crit")) {
        return false;
    }
    cjose_err fault{};
    const Signature signature{cjose_jws_import(token.data(), token.size(), &fault)};
    return signature.value != nullptr && cjose_jws_verify(signature.value, key_of(key_), &fault);
}

SigningKey SigningKey::generate(std::string id) {
    cjose_err fault{};
    constexpr std::uint8_t kExponent[] = {1, 0, 1};
    cjose_jwk_t* key = cjose_jwk_create_RSA_random(kRsaBits, kExponent, sizeof kExponent, &fault);
    if (key == nullptr) {
        fail("Making a signing key", fault);
    }
    auto owned = own(key);
    if (!cjose_jwk_set_kid(key, id.data(), id.size(), &fault)) {
        fail("Naming a signing key", fault);
    }
    return SigningKey{std::move(owned)};
}

SigningKey SigningKey::from_private_jwk(const Secret& jwk) {
    cjose_err fault{};
    const std::string_view text = jwk.expose_text();
    cjose_jwk_t* key = cjose_jwk_import(text.data(), text.size(), &fault);
    if (key == nullptr || cjose_jwk_get_kty(key, &fault) != CJOSE_JWK_KTY_RSA) {
        const auto ignored = own(key);
        throw Error{ErrorKind::kKeyWrong, "A stored signing key is damaged."};
    }
    return SigningKey{own(key)};
}

Secret SigningKey::private_jwk() const {
    cjose_err fault{};
    char* text = cjose_jwk_to_json(key_of(key_), true, &fault);
    if (text == nullptr) {
        fail("Writing a signing key", fault);
    }
    const std::size_t size = std::string_view{text}.size();
    Secret out{std::string_view{text, size}};
    wipe(MutableByteSpan{reinterpret_cast<std::byte*>(text), size});
    std::free(text);
    return out;
}

Json SigningKey::public_jwk() const {
    Json jwk = public_members(key_of(key_));
    jwk["use"] = "sig";
    jwk["alg"] = "RS256";
    return jwk;
}

std::string SigningKey::sign(const Json& claims, std::string_view type) const {
    cjose_err fault{};
    const Header header{cjose_header_new(&fault)};
    const char* id = cjose_jwk_get_kid(key_of(key_), &fault);
    const bool ready = header.value != nullptr && id != nullptr &&
                       cjose_header_set(header.value, CJOSE_HDR_ALG, "RS256", &fault) &&
                       cjose_header_set(header.value, CJOSE_HDR_KID, id, &fault) &&
                       cjose_header_set(header.value, "typ", std::string{type}.c_str(), &fault);
    if (!ready) {
        fail("Writing a token's header", fault);
    }
    const std::string text = claims.dump(-1, ' ', false, Json::error_handler_t::replace);
    const Signature signature{cjose_jws_sign(
        key_of(key_),
        header.value,
        reinterpret_cast<const std::uint8_t*>(text.data()),
        text.size(),
        &fault
    )};
    const char* compact = nullptr;
    if (signature.value == nullptr || !cjose_jws_export(signature.value, &compact, &fault)) {
        fail("Signing a token", fault);
    }
    return compact;
}

}  // namespace holdfast::control
