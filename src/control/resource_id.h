#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::control {

/// An ARM resource id: `/subscriptions/S[/resourceGroups/G][/providers/NS/type/name[/type/name]…]`,
/// or the same without a subscription. Written in any casing and kept so; compared without case.
/// Immutable.
class ResourceId {
public:
    /// Nothing when `text` is not a whole id (a type without its name, an empty segment, a blank,
    /// `?`, `#`, `%`, a control character). A trailing slash is dropped.
    [[nodiscard]] static std::optional<ResourceId> try_parse(std::string_view text);
    /// Throws kInvalidResourceId; `target` is the JSON path or parameter that holds the id.
    [[nodiscard]] static ResourceId parse(std::string_view text, std::string_view target);

    [[nodiscard]] static ResourceId subscription(std::string_view subscription_id);
    [[nodiscard]] static ResourceId resource_group(
        std::string_view subscription_id, std::string_view group_name
    );
    /// This id + `/providers/NAMESPACE/TYPE/NAME`.
    [[nodiscard]] ResourceId provider_child(
        std::string_view provider, std::string_view type, std::string_view name
    ) const;
    /// This id + `/TYPE/NAME`. REQUIRES: a provider resource.
    [[nodiscard]] ResourceId child(std::string_view type, std::string_view name) const;

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    /// Lower case: what the catalog indexes and compares.
    [[nodiscard]] const std::string& key() const noexcept { return key_; }

    /// Empty where the id has none.
    [[nodiscard]] const std::string& subscription_id() const noexcept { return subscription_id_; }
    [[nodiscard]] const std::string& group_name() const noexcept { return group_name_; }
    [[nodiscard]] const std::string& provider() const noexcept { return provider_; }
    /// `Microsoft.DataProtection/backupVaults/backupInstances`, in the casing written; for a
    /// subscription and a group the types that ARM gives them.
    [[nodiscard]] std::string type() const;
    /// The last name.
    [[nodiscard]] const std::string& name() const;
    /// (type, name) pairs below the provider, outermost first.
    [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& segments(
    ) const noexcept {
        return segments_;
    }
    /// The name given for `type` below the provider ("databases"), or nullptr.
    [[nodiscard]] const std::string* name_of(std::string_view type) const noexcept;
    /// True when the full type equals `type`, without case.
    [[nodiscard]] bool is_type(std::string_view type) const;
    /// The containing resource, group or subscription; nothing for a subscription.
    [[nodiscard]] std::optional<ResourceId> parent() const;

    friend bool operator==(const ResourceId& a, const ResourceId& b) noexcept {
        return a.key_ == b.key_;
    }
    friend auto operator<=>(const ResourceId& a, const ResourceId& b) noexcept {
        return a.key_ <=> b.key_;
    }

private:
    ResourceId() = default;

    std::string text_;
    std::string key_;
    std::string subscription_id_;
    std::string group_name_;
    std::string provider_;
    std::vector<std::pair<std::string, std::string>> segments_;
};

/// Throws kInvalidResourceName, saying the rule, unless `name` is 2 to 50 letters, digits and
/// hyphens that begin with a letter (backup vaults), 3 to 150 for policies and instances.
struct NameRule {
    std::string_view what;  ///< "backup vault"
    std::size_t length_min = 1;
    std::size_t length_max = 150;
    std::string_view extra_characters = "-";  ///< Allowed beside letters and digits.
    bool first_is_letter = false;
};
void require_name(std::string_view name, const NameRule& rule);

}  // namespace holdfast::control
