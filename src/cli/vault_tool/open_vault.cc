#include "cli/vault_tool/open_vault.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "jobs/point_metadata.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kKeyPrefix = "holdfast-key-1:";
constexpr std::size_t kKitBytesMax = 64 * 1024;  // A page of text.

}  // namespace

Secret read_key(const std::string& path) {
    const auto text = read_secret_file(path, kKitBytesMax);
    if (!text) {
        throw Error{
            ErrorKind::kKeyMissing,
            ErrorText{
                .message = fmt::format("The key file {} does not exist.", path),
                .target = "--key-file",
                .recommended_actions =
                    {"Name the server's key file, or the recovery kit of this vault."},
            }
        };
    }
    const std::string_view all = text->expose_text();
    const std::size_t begin = all.find(kKeyPrefix);
    if (begin == std::string_view::npos) {
        return vault::parse_key(all);
    }
    return vault::parse_key(all.substr(begin, all.find_first_of(" \t\r\n", begin) - begin));
}

OpenVault open_vault(const std::string& path, const Secret& key, Session& session) {
    // A store made of a mistyped path would be an empty one.
    if (!std::filesystem::is_directory(path)) {
        throw Error{
            ErrorKind::kVaultNotFound,
            ErrorText{
                .message = fmt::format("{} is not a directory.", path),
                .target = "--path",
                .recommended_actions =
                    {"Name the vault's own directory: it holds config, keys and packs."},
            }
        };
    }
    OpenVault opened;
    opened.path = path;
    opened.store = std::make_unique<vault::LocalStore>(path);
    opened.repository = vault::Repository::open(*opened.store, key, session.clock());
    return opened;
}

Json point_json(const vault::PointSummary& point) {
    Json json{
        {"recoveryPointId", point.id.to_string()},
        {"backupInstance", point.instance_id},
        {"datasource", point.datasource_id},
        {"completedAt", format_instant_seconds(point.completed_at)},
        {"sizeBytes", point.size_bytes},
        {"addedBytes", point.stored_bytes},
    };
    if (point.expires_at) {
        json["expiresAt"] = format_instant_seconds(*point.expires_at);
    }
    run_boundary(
        [&] {
            const auto metadata = jobs::point_metadata_from_json(
                parse_json(point.metadata_json, ErrorKind::kVaultCorrupt, "metadata")
            );
            json["time"] = format_instant_seconds(metadata.time);
            json["tag"] = metadata.tag;
        },
        [&](const Error& error) { json["problem"] = error.text().message; }
    );
    return json;
}

vault::PointId choose_point(const Arguments& arguments, vault::Repository& repository) {
    if (arguments.given("--point")) {
        const auto id = vault::PointId::parse(arguments.string("--point"));
        if (!id) {
            throw Error{
                ErrorKind::kUsage,
                fmt::format(
                    "--point takes the 32 digits of a recovery point, not \"{}\".",
                    arguments.string("--point")
                )
            };
        }
        return *id;
    }
    const std::string instance = arguments.string("--instance");
    const vault::PointSummary* newest = nullptr;
    const vault::PointList list = repository.list_points({});
    for (const vault::PointSummary& point : list.points) {
        const bool wanted = instance.empty() || equal_ignoring_case(point.instance_id, instance) ||
                            equal_ignoring_case(
                                point.instance_id.substr(point.instance_id.rfind('/') + 1), instance
                            );
        if (wanted && (newest == nullptr || newest->completed_at < point.completed_at)) {
            newest = &point;
        }
    }
    if (newest == nullptr) {
        throw Error{
            ErrorKind::kRecoveryPointNotFound,
            ErrorText{
                .message =
                    instance.empty()
                        ? std::string{"The vault holds no recovery point."}
                        : fmt::format("The vault holds no recovery point of \"{}\".", instance),
                .target = "--instance",
                .recommended_actions = {"List them: holdfast vault scan."},
            }
        };
    }
    return newest->id;
}

Option path_option() {
    return required({"--path"}, "The vault's own directory.");
}

Option key_option() {
    return required(
        {"--key-file"}, "The server's key file, or the vault's recovery kit (mode 0600)."
    );
}

Option point_option() {
    return optional({"--point"}, "The recovery point; default: the newest.");
}

Option instance_option() {
    return optional({"--instance"}, "The newest point of this backup instance (id or name).");
}

}  // namespace holdfast::cli
