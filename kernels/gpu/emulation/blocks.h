// Blocks of threads on a processor: where they stand, and where they wait for each other (blocks.cpp).
#pragma once
#include <cstddef>
#include <cstdint>

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace emulation {

constexpr int WARP = 32, MAX_THREADS = 1024;

enum class Barrier { block, warp, exchange };  // the last orders no memory: lanes of a warp only meet

// The thread that runs, and what orders its accesses: the count of its block, and of the barriers that it has come to.
struct Moment {
  uint32_t block, block_barriers, warp_barriers, exchanges, thread;
  const char *stack, *stack_end;
};
extern Moment now;

void wait(Barrier where);
void* dynamic_shared();

// Sixteen bytes to shared memory that arrive when they are waited for; zeros in place of nullptr.
void begin_copy(void* to, const void* from);
void commit_copies();
void wait_copies(int left);

enum Outcome { FINISHED, DIVERGED, FAILED_CHECK };

// Run all blocks of a launch; `kernel` takes pointers to its arguments.
Outcome launch(dim3 grid, dim3 block, unsigned shared, bool barriers, bool reversed, void (*kernel)(void**),
               void** values);
[[noreturn]] void abandon();  // the launch, from inside one of its threads

}  // namespace emulation
