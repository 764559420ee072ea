#include "vault/detail/repository.h"

namespace holdfast::vault {

Secret RepositoryImpl::recovery_kit(const RecoveryKitContext& context) const {
    Secret line = format_key(engine_.keys.recovery_key());
    std::string text = fmt::format(
        R"(HOLDFAST RECOVERY KIT

Keep this page where the vault's storage and the backup server are not: whoever has it and the
vault's storage can read every backup in it. Without it, or the key file of the server, nobody can.

Vault           {}
Location        {}
Repository id   {}
Key fingerprint {}
Format version  {}

Recovery key (one line):

{}

To restore on an empty machine
 1. Install holdfast (Debian 12), and bring the vault's storage to this machine or mount it.
 2. Write the recovery key line to a file that only you can read:
        install -m 0600 /dev/stdin recovery.key
    (paste the line, then press Ctrl-D)
 3. See what is there:
        holdfast vault scan --path <storage> --key-file recovery.key
 4. Get a recovery point back as files, without a server:
        holdfast vault extract --path <storage> --key-file recovery.key --point <id> --to <folder>
 5. Or start a new server with this vault: see "Disaster recovery" in docs/operating.
)",
        context.vault_name.empty() ? config_.label : context.vault_name,
        context.location,
        config_.id.to_string(),
        key_fingerprint(engine_.keys.recovery_key()),
        kFormatVersion,
        line.expose_text()
    );
    Secret kit{std::string_view{text}};
    wipe(text);
    return kit;
}

}  // namespace holdfast::vault
