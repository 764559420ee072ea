// /restore/{container}: what restores have written, to list and to fetch.
#include "jobs/containers.h"

#include "base/clock.h"
#include "base/text.h"
#include "control/arm.h"
#include "control/identity/authorize.h"
#include "control/key_vault_names.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/authorization/role_scope.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::string_view kReadFile =
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";

/// The container as an ARM scope: restored data is given to people like any other resource.
std::string container_scope(const Services& services, const std::string& container) {
    std::string subscription;
    services.catalog.read([&](const catalog::View& view) {
        subscription = first_subscription(view);
    });
    return restore_container_id(services.config, subscription, container);
}

std::string scope_of_request(
    const Services& services, const Request& /*request*/, const PathParameters& path
) {
    return container_scope(services, path.has("container") ? path.at("container") : "");
}

Reply list_containers(const RequestContext& context) {
    std::vector<Json> items;
    for (const jobs::NamedContainer& container : context.services.containers.containers()) {
        const std::string path = "/restore/" + container.name;
        const std::string scope = container_scope(context.services, container.name);
        if (context.services.authorizer.allows(context.principal, kReadFile, scope)) {
            items.push_back(
                Json{{"id", path}, {"name", container.name}, {"url", context.base_url + path}}
            );
        }
    }
    return list_reply(context, std::move(items));
}

Reply list_files(const RequestContext& context) {
    const std::string& container = context.path.at("container");
    std::vector<Json> items;
    for (const jobs::ContainerFile& file :
         context.services.containers.open_container(container).list()) {
        const std::string path =
            fmt::format("/restore/{}/{}", container, percent_encode(file.name));
        items.push_back(Json{
            {"id", path},
            {"name", file.name},
            {"url", context.base_url + path},
            {"sizeInBytes", file.size_bytes},
            {"lastModified", format_instant(file.modified)}
        });
    }
    return list_reply(context, std::move(items));
}

Reply get_file(const RequestContext& context) {
    const std::string& container = context.path.at("container");
    const std::string& name = context.path.at("fileName");
    auto download = context.services.containers.open_container(container).open_file(name);
    if (!download) {
        throw not_found(
            ErrorKind::kResourceNotFound,
            "restore",
            fmt::format("{}/{}", container, name),
            fmt::format("/restore/{}/{}", container, name)
        );
    }
    // Written once and never changed: name and size tell one content from another.
    const std::string etag = fmt::format("\"{:x}\"", download->size_bytes);
    Reply reply = file_reply(context.request, std::move(download->fd), download->size_bytes, etag);
    reply.headers.set("Content-Type", "application/octet-stream");
    reply.headers.set("ETag", etag);
    return reply;
}

}  // namespace

void add_restore_container_routes(std::vector<Route>& routes) {
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/restore",
        .action = std::string{kReadFile},
        .summary = "Lists the configured restore containers that the caller may read.",
        .handler = list_containers,
        .access = Access::kAuthenticated,
        .api_version = ApiVersion::kExempt,
        .scope = scope_of_request,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/restore/{container}",
        .action = std::string{kReadFile},
        .summary = "Lists the files of a restore container.",
        .handler = list_files,
        .api_version = ApiVersion::kExempt,
        .scope = scope_of_request,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/restore/{container}/{fileName}",
        .action = std::string{kReadFile},
        .summary = "Fetches a restored file; ranges are honoured.",
        .handler = get_file,
        .api_version = ApiVersion::kExempt,
        .auditing = Auditing::kAlways,
        .scope = scope_of_request,
    });
}

}  // namespace holdfast::control
