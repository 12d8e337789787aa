// Threads that take turns on one processor, each with a stack of its own.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#if defined(__x86_64__)
// Saves what a call must keep, and goes on where `to` was saved. ucontext does the same with two system calls.
asm(R"(
  .text
  .p2align 4
  .hidden edge_switch_fiber
  .globl edge_switch_fiber
  .type edge_switch_fiber, @function
edge_switch_fiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size edge_switch_fiber, .-edge_switch_fiber
)");
extern "C" void edge_switch_fiber(void** from, void* to);
#else
#include <ucontext.h>
#endif

namespace emulation {

class Fiber {
 public:
  static constexpr std::size_t STACK = 128 << 10;

  const char* stack() const { return memory.get(); }

  // Let it begin with `function`, which never returns, when it is switched to.
  void prepare(void (*function)()) {
    if (!memory) memory.reset(new char[STACK]);
#if defined(__x86_64__)
    constexpr int KEPT = 6;  // registers, then where to go, then a return address that nobody returns to
    void** top = (void**)(((uintptr_t)memory.get() + STACK) & ~(uintptr_t)15);
    void** words = top - KEPT - 2;
    for (int i = 0; i < KEPT + 2; i++) words[i] = nullptr;
    words[KEPT] = (void*)function;
    place = words;
#else
    getcontext(&place);
    place.uc_stack.ss_sp = memory.get();
    place.uc_stack.ss_size = STACK;
    place.uc_link = nullptr;
    makecontext(&place, function, 0);
#endif
  }

  void switch_to(Fiber& other) {
#if defined(__x86_64__)
    edge_switch_fiber(&place, other.place);
#else
    swapcontext(&place, &other.place);
#endif
  }

 private:
  std::unique_ptr<char[]> memory;
#if defined(__x86_64__)
  void* place = nullptr;
#else
  ucontext_t place;
#endif
};

}  // namespace emulation
