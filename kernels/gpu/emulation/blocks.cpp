// Blocks run one after the other. The threads of a block are fibers that run in turn until they reach a barrier; a block
// whose threads wait at different barriers can never go on and is reported. Run in both orders (`reversed`), threads that
// depend on each other without a barrier between them may give different results; checks.cpp finds them in either order.
#include "blocks.h"

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <memory>
#include <vector>

#include "checks.h"
#include "fibers.h"

dim3 blockIdx, threadIdx, blockDim, gridDim;

namespace emulation {

namespace {

const Moment NOBODY = {0, 0, 0, 0, 0, nullptr, (const char*)UINTPTR_MAX};  // between launches all memory is private

}  // namespace

Moment now = NOBODY;

namespace {

enum class State { ready, at_block, at_warp, at_exchange, done };

struct Copy {
  void* to;
  const void* from;
};

struct Thread {
  Fiber fiber;
  dim3 index;
  State state;
  Moment moment;
  std::vector<std::vector<Copy>> copies;  // under way, by groups; the last one is still open
};

constexpr int DIRECT_STACK = 1 << 20;  // of threads that need no fiber

std::vector<Thread> threads;
Fiber scheduler;
uint32_t blocks_run;
void (*body)(void**);
void** arguments;
std::vector<char> shared_bytes;
std::jmp_buf outside;

void start() {
  body(arguments);
  Thread& self = threads[now.thread];
  self.state = State::done;
  self.fiber.switch_to(scheduler);
}

// Let go on whoever waits where all others of the group have arrived; those that have ended count as arrived.
bool release(int first, int last, State where) {
  bool waiting = false;
  for (int i = first; i < last; i++) {
    if (threads[i].state == where) waiting = true;
    else if (threads[i].state != State::done) return false;
  }
  for (int i = first; i < last; i++)
    if (threads[i].state == where) threads[i].state = State::ready;
  return waiting;
}

dim3 index_of(int thread) {
  return dim3(thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y));
}

void prepare(int count) {
  for (int i = 0; i < count; i++) {
    Thread& thread = threads[i];
    thread.fiber.prepare(start);
    thread.state = State::ready;
    thread.copies.assign(1, {});
    thread.index = index_of(i);
    thread.moment = {blocks_run, 0, 0, 0, (uint32_t)i, thread.fiber.stack(), thread.fiber.stack() + Fiber::STACK};
  }
}

bool run_block(int count, bool reversed) {
  prepare(count);
  for (;;) {
    bool ran = false, left = false;
    for (int k = 0; k < count; k++) {
      Thread& thread = threads[reversed ? count - 1 - k : k];
      if (thread.state == State::ready) {
        now = thread.moment;
        threadIdx = thread.index;
        scheduler.switch_to(thread.fiber);
        ran = true;
      }
      left |= thread.state != State::done;
    }
    if (!left) return true;
    bool released = release(0, count, State::at_block);
    for (int warp = 0; warp < count; warp += WARP)
      for (State where : {State::at_warp, State::at_exchange})
        released |= release(warp, std::min(warp + WARP, count), where);
    if (!ran && !released) return false;
  }
}

void run_directly(int count, bool reversed) {
  const char* stack = (const char*)__builtin_frame_address(0);
  for (int k = 0; k < count; k++) {
    const int i = reversed ? count - 1 - k : k;
    now = {blocks_run, 0, 0, 0, (uint32_t)i, stack - DIRECT_STACK, stack};
    threadIdx = index_of(i);
    body(arguments);
  }
}

// False where threads of a block wait for each other at different barriers.
bool run_blocks(bool fibers, bool reversed) {
  const int count = blockDim.x * blockDim.y * blockDim.z;
  if (fibers && (int)threads.size() < count) threads.resize(count);
  const int64_t blocks = (int64_t)gridDim.x * gridDim.y * gridDim.z;
  for (int64_t k = 0; k < blocks; k++) {
    const int64_t number = reversed ? blocks - 1 - k : k;
    blockIdx = dim3(number % gridDim.x, number / gridDim.x % gridDim.y, number / ((int64_t)gridDim.x * gridDim.y));
    blocks_run++;
    if (!fibers) run_directly(count, reversed);
    else if (!run_block(count, reversed)) return false;
  }
  return true;
}

}  // namespace

void wait(Barrier where) {
  Thread& self = threads[now.thread];
  self.state = where == Barrier::block ? State::at_block : where == Barrier::warp ? State::at_warp : State::at_exchange;
  self.moment.block_barriers += where == Barrier::block;
  self.moment.warp_barriers += where == Barrier::warp;
  self.moment.exchanges += where == Barrier::exchange;
  self.fiber.switch_to(scheduler);
}

void* dynamic_shared() { return (void*)(((uintptr_t)shared_bytes.data() + 63) & ~(uintptr_t)63); }

// What a copy brings is there once it has been waited for, and no number before.
void begin_copy(void* to, const void* from) {
  std::memset(to, 0xFF, 16);
  threads[now.thread].copies.back().push_back({to, from});
}

void commit_copies() { threads[now.thread].copies.emplace_back(); }

void wait_copies(int left) {
  auto& groups = threads[now.thread].copies;
  while ((int)groups.size() > left + 1) {
    for (const Copy& copy : groups.front()) {
      if (copy.from) std::memcpy(copy.to, copy.from, 16);
      else std::memset(copy.to, 0, 16);
      checks::end_copy(copy.to);
    }
    groups.erase(groups.begin());
  }
}

Outcome launch(dim3 grid, dim3 block, unsigned shared, bool barriers, bool reversed, void (*kernel)(void**),
               void** values) {
  gridDim = grid;
  blockDim = block;
  body = kernel;
  arguments = values;
  shared_bytes.assign(shared + 64, (char)0xFF);
  checks::begin_launch(blocks_run + 1, dynamic_shared(), shared);
  const bool finished = setjmp(outside) || run_blocks(barriers, reversed);
  now = NOBODY;
  return !checks::end_launch() ? FAILED_CHECK : finished ? FINISHED : DIVERGED;
}

void abandon() { std::longjmp(outside, 1); }

}  // namespace emulation
