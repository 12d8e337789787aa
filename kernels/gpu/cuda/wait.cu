// Keeps a thread busy, so that what is launched behind it is queued before the first of it begins: for timing launches.
#include "common.cuh"

KERNEL spend(unsigned long long nanoseconds) {
#ifndef EMULATED
  unsigned long long begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
#endif
}
