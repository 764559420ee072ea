#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::jobs {

/// One restore target of the configuration: what `https://<this server>/restore/<name>` means.
struct NamedContainer {
    std::string name;
    std::filesystem::path directory;
    /// Foreign URLs (a blob container of an older script) that mean this container too.
    std::vector<std::string> url_aliases = {};
};

struct ContainerSettings {
    std::vector<NamedContainer> containers;
    /// `file://` targets must lie in or beneath one of these.
    std::vector<std::filesystem::path> file_roots;
    /// Scheme, host and port under which this server is reached, e.g.
    /// `https://backup.example:8443`.
    std::vector<std::string> origins;
};

struct ContainerFile {
    std::string name;
    std::uint64_t size_bytes = 0;
    Instant modified{};
};

/// A file opened for a download. The descriptor reads from the start.
struct ContainerDownload {
    FileDescriptor fd;
    std::uint64_t size_bytes = 0;
};

/// A file being written into a container: without a name until publish(), so that neither a crash
/// nor a failure leaves a part of it under its final name. One thread at a time.
class ContainerOutput {
public:
    ContainerOutput(ContainerOutput&&) noexcept = default;
    ContainerOutput& operator=(ContainerOutput&&) = delete;
    /// Removes what was not published.
    ~ContainerOutput();

    /// Throws kStoreFull or kStoreDenied naming the file.
    void write(ByteSpan bytes);
    /// Syncs the contents; no write afterwards. When this returns, the contents survive power loss.
    void finish();
    /// Gives the file its name. Returns false when the name is taken; nothing changed then.
    /// REQUIRES: finish().
    [[nodiscard]] bool publish();
    /// Takes the name away again (a later file of the same restore failed).
    void retract() noexcept;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
    [[nodiscard]] int fd() const noexcept { return file_.get(); }

private:
    friend class ContainerDirectory;
    ContainerOutput(std::shared_ptr<const FileDescriptor> directory, std::string name);

    std::shared_ptr<const FileDescriptor> directory_;
    std::string name_;
    std::string
        temporary_name_;  ///< Empty where the file system makes files without a name (O_TMPFILE).
    FileDescriptor file_;
    std::uint64_t size_bytes_ = 0;
    bool published_ = false;
};

/// An opened restore target. Every access goes through the directory's descriptor and plain names
/// (no `/`, no `..`, never through a link), so that nothing outside can be reached, whatever is
/// renamed meanwhile.
class ContainerDirectory {
public:
    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    /// True for anything of that name: file, link (not followed), directory.
    [[nodiscard]] bool exists(std::string_view name) const;
    /// Throws kContainerNotAccessible where the server may not write.
    [[nodiscard]] ContainerOutput create(std::string_view name, unsigned mode = 0600) const;
    /// Regular files, by name. Names that begin with a dot are left out.
    [[nodiscard]] std::vector<ContainerFile> list() const;
    /// Nothing when there is no regular file of that name.
    [[nodiscard]] std::optional<ContainerDownload> open_file(std::string_view name) const;
    /// Makes published names durable.
    void sync() const;
    [[nodiscard]] std::uint64_t free_bytes() const;

private:
    friend class RestoreContainers;
    ContainerDirectory(std::shared_ptr<const FileDescriptor> fd, std::string url)
        : fd_{std::move(fd)}, url_{std::move(url)} {}

    std::shared_ptr<const FileDescriptor> fd_;
    std::string url_;
};

/// The restore targets that the configuration allows. Immutable; safe from any thread.
class RestoreContainers {
public:
    explicit RestoreContainers(ContainerSettings settings);

    [[nodiscard]] const std::vector<NamedContainer>& containers() const noexcept {
        return settings_.containers;
    }

    /// `https://<this server>/restore/<container>[/<directory>…]`, `/restore/<container>…`, an
    /// alias, or `file:///<beneath a configured root>`. The directory must exist. Throws
    /// kContainerNotAccessible, naming what is configured, for everything else.
    [[nodiscard]] ContainerDirectory open(std::string_view url) const;

    /// For listing and downloads. Throws kResourceNotFound for an unknown name.
    [[nodiscard]] ContainerDirectory open_container(std::string_view name) const;

private:
    [[nodiscard]] ContainerDirectory open_file_url(std::string_view url) const;
    [[nodiscard]] const NamedContainer* find(std::string_view name) const noexcept;

    ContainerSettings settings_;
};

/// What a restore's `filePrefix` may be: 1 to 100 bytes of UTF-8 without `/`, `\`, `..` or control
/// characters, not beginning with a dot or a hyphen. Throws kPluginInvalidInput.
void check_file_prefix(std::string_view prefix);

}  // namespace holdfast::jobs
