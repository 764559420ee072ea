#include "postgres/syscall_filter.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

namespace holdfast::postgres {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
/// Numbers from here on are the x32 ABI's second names for the same calls.
constexpr std::uint32_t kForeignNumbers = 0x40000000;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
constexpr std::uint32_t kForeignNumbers = 0x80000000;
#else
#error "The sandbox's system call filter does not know this architecture."
#endif

constexpr std::array kRefused{
    // Other namespaces and file systems.
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_open_tree,
    SYS_move_mount,
#ifdef SYS_mount_setattr
    SYS_mount_setattr,
#endif
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    // Other processes.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_move_pages,
    SYS_migrate_pages,
    // The kernel's keyrings belong to the uid, which the service may share.
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    // Where most ways into the kernel have been found.
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_fanotify_init,
    SYS_personality,
    // The machine.
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_syslog,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
#if defined(__x86_64__)
    SYS_kexec_file_load,
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
};

constexpr std::uint32_t refuse_with(int error_number) {
    return SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(error_number) & SECCOMP_RET_DATA);
}

class Program {
public:
    void load(std::size_t offset) {
        add(BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset));
    }
    void give(std::uint32_t verdict) { add(BPF_RET | BPF_K, 0, 0, verdict); }
    /// When the loaded word is `value`: that verdict.
    void give_if_equal(std::uint32_t value, std::uint32_t verdict) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
        give(verdict);
    }
    void give_unless_equal(std::uint32_t value, std::uint32_t verdict) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
        give(verdict);
    }
    void give_from(std::uint32_t least, std::uint32_t verdict) {
        add(BPF_JMP | BPF_JGE | BPF_K, 0, 1, least);
        give(verdict);
    }
    void give_if_any_bit(std::uint32_t bits, std::uint32_t verdict) {
        add(BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
        give(verdict);
    }
    /// When the loaded word is not `value`: the next `count` instructions are passed over.
    void skip_unless_equal(std::uint32_t value, std::uint8_t count) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, count, value);
    }
    [[nodiscard]] Bytes bytes() const {
        Bytes out(code_.size() * sizeof(sock_filter));
        std::memcpy(out.data(), code_.data(), out.size());
        return out;
    }

private:
    void add(int code, std::uint8_t if_true, std::uint8_t if_false, std::uint32_t operand) {
        code_.push_back({static_cast<std::uint16_t>(code), if_true, if_false, operand});
    }
    std::vector<sock_filter> code_;
};

constexpr std::size_t kFirstArgument = offsetof(seccomp_data, args);

}  // namespace

Bytes sandbox_syscall_filter() {
    const std::uint32_t refused = refuse_with(EPERM);
    Program program;
    program.load(offsetof(seccomp_data, arch));
    program.give_unless_equal(kArchitecture, SECCOMP_RET_KILL_PROCESS);
    program.load(offsetof(seccomp_data, nr));
    program.give_from(kForeignNumbers, refused);
    for (const long number : kRefused) {
        program.give_if_equal(static_cast<std::uint32_t>(number), refused);
    }
    // Its flags lie in memory, out of a filter's reach; the C library falls back to clone.
    program.give_if_equal(SYS_clone3, refuse_with(ENOSYS));
    // The low half of an argument comes first on both architectures.
    program.skip_unless_equal(SYS_clone, 4);
    program.load(kFirstArgument);
    program.give_if_any_bit(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID, refused);
    program.give(SECCOMP_RET_ALLOW);
    program.skip_unless_equal(SYS_socket, 3);
    program.load(kFirstArgument);
    program.give_unless_equal(AF_UNIX, refuse_with(EAFNOSUPPORT));
    program.give(SECCOMP_RET_ALLOW);
    return program.bytes();
}

}  // namespace holdfast::postgres
