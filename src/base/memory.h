#pragma once

namespace holdfast {

/// Has the allocator keep less of what was freed: call once, before the first thread. Buffers of
/// half a MiB and more go back to the system when freed, and threads share a few arenas: a server
/// that had a dozen jobs at work would otherwise keep the most that each thread ever needed.
void limit_kept_memory() noexcept;

/// Gives free pages back to the system. After work that needed much memory; takes milliseconds.
void release_free_memory() noexcept;

}  // namespace holdfast
