#include "postgres/cluster_settings.h"

#include "base/error.h"
#include "base/text.h"
#include "postgres/streams.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kConfigurationBytesMax = 8 * kMiB;
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;

/// `include_dir 'conf.d'`, `include = x`: what it includes; empty for any other line.
std::string included_by(std::string_view line) {
    line = trim(line);
    for (const std::string_view word : {"include_if_exists", "include_dir", "include"}) {
        if (!starts_with_ignoring_case(line, word)) {
            continue;
        }
        std::string_view rest = line.substr(word.size());
        if (rest.empty() || (rest.front() != ' ' && rest.front() != '\t' && rest.front() != '=' &&
                             rest.front() != '\'')) {
            continue;
        }
        rest = trim(rest);
        if (rest.starts_with('=')) {
            rest = trim(rest.substr(1));
        }
        if (rest.starts_with('\'')) {
            rest.remove_prefix(1);
            return std::string{rest.substr(0, rest.find('\''))};
        }
        return std::string{rest.substr(0, rest.find_first_of(" \t#"))};
    }
    return {};
}

void make_parents(const TargetTree& tree, const std::string& path) {
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
        tree.make_directory(path.substr(0, slash), kDirectoryMode);
    }
}

/// The last word: what stands in this file overrides postgresql.conf.
void append_settings(const TargetTree& data, const std::string& lines) {
    constexpr const char* kFile = "postgresql.auto.conf";
    if (lines.empty()) {
        return;
    }
    std::string text = data.read_file(kFile).value_or("");
    if (!text.empty() && !text.ends_with('\n')) {
        text += '\n';
    }
    text += "# Added by the restore.\n" + lines;
    data.write_file(kFile, as_bytes(text), kFileMode);
}

/// Where the data directory has no such file itself, it gets the one that lay outside.
void bring_configuration(
    const StreamSource& source, const ClusterLayout& layout, RestoredCluster& restored
) {
    const TargetTree& data = layout.data();
    if (restored.cluster.configuration.empty()) {
        if (!data.look("postgresql.conf")) {
            restored.warnings.push_back(
                "The recovery point has no postgresql.conf: the server kept it outside its data "
                "directory, where the backup's role could not read it."
            );
            restored.next_steps.push_back(fmt::format(
                "Put postgresql.conf, pg_hba.conf and pg_ident.conf into {}, or name them when "
                "starting the server (postgres -c config_file=…).",
                restored.data_directory.string()
            ));
        }
        return;
    }
    std::vector<std::string> brought;
    for (const SavedConfiguration& one : restored.cluster.configuration) {
        const Bytes bytes = read_stream(
            source, stream_name_of_path(kConfigurationPrefix, one.name), kConfigurationBytesMax
        );
        if (data.look(one.name)) {
            continue;
        }
        make_parents(data, one.name);
        data.write_file(one.name, bytes, kFileMode);
        brought.push_back(fmt::format("{} (was {})", one.name, one.path));
    }
    for (const SavedConfiguration& one : restored.cluster.configuration) {
        if (!one.name.ends_with(".conf") || one.name == "pg_hba.conf" ||
            one.name == "pg_ident.conf") {
            continue;
        }
        if (const auto text = data.read_file(one.name)) {
            const std::string home = fs::path{one.name}.parent_path().string();
            const std::string adapted = adapt_configuration(*text, [&](const std::string& path) {
                return !path.starts_with('/') &&
                       data.look(home.empty() ? path : home + '/' + path).has_value();
            });
            if (adapted != *text) {
                data.write_file(one.name, as_bytes(adapted), kFileMode);
            }
        }
    }
    std::string places;
    for (const auto& [name, setting] :
         {std::pair{"pg_hba.conf", "hba_file"}, {"pg_ident.conf", "ident_file"}}) {
        const bool was_elsewhere = std::any_of(
            restored.cluster.configuration.begin(),
            restored.cluster.configuration.end(),
            [&](const SavedConfiguration& one) { return one.name == name; }
        );
        if (was_elsewhere) {
            places += fmt::format(
                "{} = {}\n", setting, quote_setting((restored.data_directory / name).string())
            );
        }
    }
    append_settings(data, places);
    if (!brought.empty()) {
        restored.next_steps.push_back(fmt::format(
            "Read the configuration that lay outside the data directory and is in it now: {}. "
            "Settings that name files of the old machine (ssl_cert_file, …) are as they were.",
            join(brought, ", ")
        ));
    }
}

void set_recovery(
    const TargetTree& data, const RestoreClusterOptions& options, RestoredCluster& restored
) {
    if (options.restore_command.empty()) {
        return;
    }
    append_settings(
        data,
        fmt::format(
            "restore_command = {}\nrecovery_target_timeline = 'latest'\n",
            quote_setting(options.restore_command)
        )
    );
    data.write_file("recovery.signal", {}, kFileMode);
    restored.next_steps.push_back(
        "Recovery goes on to the end of the log that restore_command fetches, then the server "
        "opens on a new timeline."
    );
}

}  // namespace

std::string quote_setting(std::string_view value) {
    std::string quoted = "'";
    for (const char c : value) {
        if (c == '\'' || c == '\\') {
            quoted += c;
        }
        quoted += c;
    }
    return quoted + '\'';
}

std::string tablespace_map(const ClusterLayout& layout) {
    std::string text;
    for (const auto& [oid, tree] : layout.tablespaces()) {
        text += oid + ' ';
        for (const char c : tree.root().string()) {
            if (c == '\n' || c == '\r' || c == '\\') {
                text += '\\';
            }
            text += c;
        }
        text += '\n';
    }
    return text;
}

std::string adapt_configuration(
    std::string_view text, const std::function<bool(const std::string&)>& exists
) {
    // Files beside postgresql.conf are what the server takes when nothing is said.
    constexpr std::array<std::string_view, 5> kPlaces{
        "data_directory", "config_file", "hba_file", "ident_file", "external_pid_file"};
    std::string out;
    for (const std::string& line : split(text, '\n')) {
        const std::string_view plain = trim(line);
        const bool place = std::any_of(kPlaces.begin(), kPlaces.end(), [&](std::string_view name) {
            return starts_with_ignoring_case(plain, name) && plain.size() > name.size() &&
                   std::string_view{" \t='"}.find(plain[name.size()]) != std::string_view::npos;
        });
        const std::string included = included_by(line);
        if (place || (!included.empty() && !exists(included))) {
            out += "# Of the old place, switched off by the restore: ";
        }
        out += line;
        out += '\n';
    }
    out.pop_back();
    return out;
}

void write_settings(
    const StreamSource& source,
    const ClusterLayout& layout,
    const RestoreClusterOptions& options,
    RestoredCluster& restored
) {
    const TargetTree& data = layout.data();
    if (data.look("tablespace_map")) {
        data.write_file("tablespace_map", as_bytes(tablespace_map(layout)), kFileMode);
    }
    bring_configuration(source, layout, restored);
    set_recovery(data, options, restored);
}

}  // namespace holdfast::postgres
