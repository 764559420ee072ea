#include "base/memory.h"

#include <malloc.h>

namespace holdfast {

void limit_kept_memory() noexcept {
    constexpr int kBufferBytes = 512 * 1024;
    constexpr int kArenas = 4;
    // Else each buffer freed at the end of an arena goes back to the system and comes again page by
    // page.
    constexpr int kKeptBytes = 8 * 1024 * 1024;
    // Set at all, it also stays where it is: by itself it grows with every buffer freed.
    (void)::mallopt(M_MMAP_THRESHOLD, kBufferBytes);
    (void)::mallopt(M_TRIM_THRESHOLD, kKeptBytes);
    (void)::mallopt(M_ARENA_MAX, kArenas);
}

void release_free_memory() noexcept {
    (void)::malloc_trim(0);
}

}  // namespace holdfast
