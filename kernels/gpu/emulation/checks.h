// What checks.cpp is told of accesses that the compiler does not see.
//
// With CHECKED, kernels are compiled with -fsanitize=thread: GCC calls a function before each access to memory that others
// may see. Those functions are checks.cpp's own, not ThreadSanitizer's, which knows no blocks and no barriers.
#pragma once
#include <cstdint>

#ifdef CHECKED
#define UNCHECKED __attribute__((no_sanitize_thread))
#else
#define UNCHECKED
#endif

namespace checks {

#ifdef CHECKED
void begin_launch(uint32_t first_block, const void* dynamic_shared, unsigned bytes);
bool end_launch();  // whether nothing was found
void begin_copy(const void* to, const void* from);
void end_copy(const void* to);
void read_row(const void* row);              // 16 bytes, for all lanes of a warp
void atomic(const void* address, int size);  // read and written at once
#else
inline void begin_launch(uint32_t, const void*, unsigned) {}
inline bool end_launch() { return true; }
inline void begin_copy(const void*, const void*) {}
inline void end_copy(const void*) {}
inline void read_row(const void*) {}
inline void atomic(const void*, int) {}
#endif

}  // namespace checks
