#include "control/identity/identity.h"

#include "base/sealing.h"

namespace holdfast::control {
namespace {

constexpr std::string_view kTokensKey = "holdfast/1/token-hash";
constexpr std::string_view kSigningKey = "holdfast/1/token-signing";

}  // namespace

Identity::Identity(
    catalog::Catalog& catalog, const Secret& root, const IdentitySettings& settings, Clock& clock
)
    : tenant_id{settings.tenant_id},
      tokens{catalog, derive_key(root, kTokensKey), settings.tenant_id, clock},
      keys{catalog, derive_key(root, kSigningKey), clock},
      access_tokens{catalog, keys, settings.tenant_id, settings.access_token_life, clock},
      logins{
          {.catalog = catalog,
           .secrets = tokens,
           .tokens = access_tokens,
           .passwords = passwords,
           .clock = clock}
      },
      catalog_{catalog},
      clock_{clock} {}

void Identity::tick() {
    keys.tick(AccessTokens::kRefreshLife);
    const Instant now = clock_.now();
    std::vector<std::string> over;
    for (const auto& token : catalog_.list<catalog::TokenRecord>()) {
        if (token.revoked && token.expires_at && *token.expires_at < now) {
            over.push_back(token.id);
        }
    }
    if (!over.empty()) {
        catalog_.write([&](catalog::Transaction& transaction) {
            for (const std::string& id : over) {
                transaction.remove<catalog::TokenRecord>(id);
            }
        });
    }
}

}  // namespace holdfast::control
