#pragma once

#include "base/bytes.h"

namespace holdfast::postgres {

/// The system call filter of the sandbox: a program for seccomp (an array of sock_filter), for this
/// machine's architecture. PostgreSQL's own calls pass. Refused with EPERM, because a server has no
/// use for them and they are a way out or to the kernel's less travelled parts: namespaces, mounts,
/// sockets other than Unix ones, tracing, keyrings, BPF, io_uring, modules, clocks.
[[nodiscard]] Bytes sandbox_syscall_filter();

}  // namespace holdfast::postgres
