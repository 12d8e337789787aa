// Every access of a kernel, checked as NVIDIA's compute-sanitizer does on a GPU: bounds, alignment, initialisation, races.
//
// Two accesses to the same byte, one of them a write, race unless something orders them. Those of one thread are ordered;
// those of a block's threads where a __syncthreads lies between them, of a warp's also where a __syncwarp does. Shuffles,
// ldmatrix and mma let threads meet but order no memory (CUDA C++ Programming Guide, 10.22). Blocks of a launch are never
// ordered: no kernel here has a pattern that would (fences with atomics).
//
// Four bytes remember their last write, and of the reads since then two at most, which are enough: two of different warps
// conflict with any write before the next __syncthreads, two of one warp with any before the next __syncwarp.
//
// Python says what a launch may touch and asks what was found; the structures are those of
// kernels/gpu/emulation_checks.py. A finding ends the launch.
#include "checks.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "blocks.h"

extern "C" {
extern const char __ehdr_start[] __attribute__((visibility("hidden")));  // the linker's: where this library begins
extern const char _end[] __attribute__((visibility("hidden")));          // and where it ends
}

namespace checks {

using emulation::now;
using emulation::WARP;

enum Kind : uint32_t { NOTHING, RACE, BOUNDS, MISALIGNED, UNINITIALISED, UNDER_WAY };

// Memory that a launch may touch. `written` has a byte for each of its bytes, or is null where all are taken for written.
struct Range {
  uintptr_t start, size;
  uint8_t* written;
};

// One access to memory or shared memory, as it is recorded.
struct Record {
  uint64_t address;
  uint32_t place, block, thread, size, writes, shared;
};

struct Finding {
  uint64_t address, place, other_place, dynamic_start, dynamic_bytes;
  uint32_t kind, size, writes, other_writes, first_block, block, thread, has_other, other_block, other_thread;
};

namespace {

struct Access {
  uint32_t block = 0, block_barriers;
  uint32_t place : 30, atomic : 1, under_way : 1;  // behind which code, from the start of the library
  uint32_t thread : 10, warp_barriers : 22;
};

struct Cell {
  Access write, reads[2];
  uint32_t parts, divided = 0;  // its four bytes have cells of their own since this launch
};

struct Held {
  Range range;
  std::size_t first_cell;
};

struct Request {
  uintptr_t address, size;
  bool writes;
  Access access;
};

constexpr std::size_t KEPT_CELLS = 1 << 16;  // from launch to launch

std::vector<Held> global;
std::vector<Range> static_shared;
std::vector<Cell> global_cells, dynamic_cells, static_cells, parts;
uintptr_t static_start, static_end, dynamic_start, dynamic_end;
std::size_t last_held;
uint32_t first_block;
Finding finding;
std::vector<Record> records;
uint32_t recorded_blocks;  // of each launch, the first ones

std::size_t granules(uintptr_t start, uintptr_t end) { return end > start ? (end + 3) / 4 - start / 4 : 0; }

void note(Kind kind, const Request& request, uintptr_t address, const Access* other, bool other_writes) {
  finding = {};
  finding.kind = kind;
  finding.address = address;
  finding.dynamic_start = dynamic_start;
  finding.dynamic_bytes = dynamic_end - dynamic_start;
  finding.size = (uint32_t)request.size;
  finding.place = request.access.place;
  finding.writes = request.writes;
  finding.first_block = first_block;
  finding.block = request.access.block;
  finding.thread = request.access.thread;
  if (!other) return;
  finding.has_other = 1;
  finding.other_place = other->place;
  finding.other_block = other->block;
  finding.other_thread = other->thread;
  finding.other_writes = other_writes;
}

// What was read too early may be a race that shows later: the launch goes on to see. Other things may follow from it.
void report(Kind kind, const Request& request, uintptr_t address, const Access* other = nullptr, bool other_writes = true) {
  if (finding.kind == NOTHING || kind == RACE) note(kind, request, address, other, other_writes);
  if (kind != UNINITIALISED) emulation::abandon();
}

bool same_warp(const Access& a, const Access& b) { return a.thread / WARP == b.thread / WARP; }

// Whether nothing orders an earlier access of this launch and this one.
bool unordered(const Access& earlier, const Access& access) {
  if (earlier.atomic && access.atomic) return false;
  if (earlier.block != access.block) return true;
  if (earlier.thread == access.thread || earlier.block_barriers != access.block_barriers) return false;
  return !same_warp(earlier, access) || earlier.warp_barriers == access.warp_barriers;
}

// One granule of memory or shared memory; what is older than `first` is forgotten: other launches, or other blocks.
void remember_read(Cell& cell, const Access& access, uint32_t first) {
  Access &last = cell.reads[0], &other = cell.reads[1];
  if (last.block < first) {
    last = access;
    other.block = 0;
    return;
  }
  const bool two_blocks = other.block >= first && other.block != last.block;
  const bool two_warps = other.block >= first && last.block == access.block &&
                         last.block_barriers == access.block_barriers && !same_warp(other, last);
  if (two_blocks || two_warps) return;
  if (last.block != access.block || (last.block_barriers == access.block_barriers && !same_warp(last, access))) {
    other = last;
    last = access;
  } else if (last.block_barriers != access.block_barriers || last.warp_barriers != access.warp_barriers) {
    last = access;
    other.block = 0;
  } else if (last.thread != access.thread) {
    other = access;
  }
}

void visit(Cell& cell, const Request& request, uintptr_t address, bool shared) {
  const Access& access = request.access;
  const uint32_t first = shared ? access.block : first_block;
  if (cell.write.block >= first) {
    if (cell.write.under_way) report(UNDER_WAY, request, address, &cell.write);
    if (unordered(cell.write, access)) report(RACE, request, address, &cell.write);
  } else if (shared && (!request.writes || access.atomic)) {
    report(UNINITIALISED, request, address);
  }
  if (!request.writes) {
    remember_read(cell, access, first);
    return;
  }
  for (Access& read : cell.reads) {
    if (read.block >= first && unordered(read, access)) report(RACE, request, address, &read, false);
    read.block = 0;
  }
  cell.write = access;
}

void visit_bytes(std::vector<Cell>& cells, std::size_t cell, const Request& request, uintptr_t from, uintptr_t until,
                 bool shared) {
  if (cells[cell].divided != first_block) {
    cells[cell].parts = (uint32_t)parts.size();
    cells[cell].divided = first_block;
    parts.insert(parts.end(), 4, cells[cell]);
  }
  for (uintptr_t at = from; at < until; at++) visit(parts[cells[cell].parts + at % 4], request, at, shared);
}

// `start` is where the memory begins whose first cell is given.
void visit_cells(std::vector<Cell>& cells, std::size_t first, uintptr_t start, const Request& request, bool shared) {
  const uintptr_t end = request.address + request.size;
  for (uintptr_t at = request.address; at < end;) {
    const uintptr_t until = std::min(end, (at / 4 + 1) * 4);
    const std::size_t cell = first + at / 4 - start / 4;
    if (until - at == 4 && cells[cell].divided != first_block) visit(cells[cell], request, at, shared);
    else visit_bytes(cells, cell, request, at, until, shared);
    at = until;
  }
}

bool holds(const Range& range, uintptr_t address) { return address - range.start < range.size; }

// The range that an address is in: sorted by their starts, none touches another.
const Range* range_at(const std::vector<Range>& ranges, uintptr_t address) {
  auto behind = std::upper_bound(ranges.begin(), ranges.end(), address,
                                 [](uintptr_t at, const Range& range) { return at < range.start; });
  return behind != ranges.begin() && holds(behind[-1], address) ? &behind[-1] : nullptr;
}

const Held* held_at(uintptr_t address) {
  if (last_held < global.size() && holds(global[last_held].range, address)) return &global[last_held];
  auto behind = std::upper_bound(global.begin(), global.end(), address,
                                 [](uintptr_t at, const Held& held) { return at < held.range.start; });
  if (behind == global.begin() || !holds(behind[-1].range, address)) return nullptr;
  last_held = behind - global.begin() - 1;
  return &behind[-1];
}

void record(const Request& request, bool shared) {
  const Access& access = request.access;
  const uint32_t number = access.block - first_block;
  if (number < recorded_blocks)
    records.push_back({request.address, access.place, number, access.thread, (uint32_t)request.size, request.writes, shared});
}

void check_global(const Held& held, const Request& request) {
  if (request.address + request.size > held.range.start + held.range.size) report(BOUNDS, request, request.address);
  record(request, false);
  if (held.range.written) {
    uint8_t* written = held.range.written + (request.address - held.range.start);
    if (!request.writes || request.access.atomic)
      if (const void* gap = std::memchr(written, 0, request.size))
        report(UNINITIALISED, request, request.address + ((const uint8_t*)gap - written));
    if (request.writes) std::memset(written, 1, request.size);
  }
  visit_cells(global_cells, held.first_cell, held.range.start, request, false);
}

bool is_private(const void* address) {
  return (uintptr_t)address - (uintptr_t)now.stack < (uintptr_t)(now.stack_end - now.stack);
}

void check(const Request& request) {
  const uintptr_t address = request.address, end = address + request.size;
  if (address >= dynamic_start && address < dynamic_end) {
    if (end > dynamic_end) report(BOUNDS, request, address);
    record(request, true);
    visit_cells(dynamic_cells, 0, dynamic_start, request, true);
  } else if (address >= static_start && address < static_end) {
    const Range* array = range_at(static_shared, address);
    if (!array || end > array->start + array->size) report(BOUNDS, request, address);
    record(request, true);
    visit_cells(static_cells, 0, static_start, request, true);
  } else if (const Held* held = held_at(address)) {
    check_global(*held, request);
  } else {
    const bool constant = !request.writes && address >= (uintptr_t)__ehdr_start && end <= (uintptr_t)_end;
    if (!constant) report(BOUNDS, request, address);
  }
}

Request request_of(const void* address, std::size_t size, bool writes, const void* place) {
  Request request = {(uintptr_t)address, size, writes, {}};
  request.access.block = now.block;
  request.access.block_barriers = now.block_barriers;
  request.access.warp_barriers = now.warp_barriers;
  request.access.thread = now.thread;
  request.access.place = (uintptr_t)place - (uintptr_t)__ehdr_start;
  request.access.atomic = request.access.under_way = 0;
  return request;
}

void check_aligned(const Request& request) {
  if (request.address % request.size) report(MISALIGNED, request, request.address);
  check(request);
}

// The cells of each of the four granules at an address of shared memory.
template <class Function>
void for_copied(const void* to, Function function) {
  const uintptr_t at = (uintptr_t)to;
  const bool dynamic = at >= dynamic_start && at < dynamic_end;
  std::vector<Cell>& cells = dynamic ? dynamic_cells : static_cells;
  const std::size_t first = at / 4 - (dynamic ? dynamic_start : static_start) / 4;
  for (std::size_t cell = first; cell < first + 4; cell++) {
    function(cells[cell]);
    if (cells[cell].divided == first_block)
      for (int i = 0; i < 4; i++) function(parts[cells[cell].parts + i]);
  }
}

template <class T>
void make_room(std::vector<T>& cells, std::size_t count) {
  if (cells.size() < count) cells.resize(count);
}

}  // namespace

void begin_launch(uint32_t first, const void* dynamic_shared, unsigned bytes) {
  first_block = first;
  finding = {};
  parts.clear();
  records.clear();
  dynamic_start = (uintptr_t)dynamic_shared;
  dynamic_end = dynamic_start + bytes;
  make_room(dynamic_cells, granules(dynamic_start, dynamic_end));
}

bool end_launch() {
  if (global_cells.size() > KEPT_CELLS) std::vector<Cell>().swap(global_cells);
  return finding.kind == NOTHING;
}

__attribute__((noinline)) void begin_copy(const void* to, const void* from) {
  const void* place = __builtin_return_address(0);
  if (from) check_aligned(request_of(from, 16, false, place));
  Request request = request_of(to, 16, true, place);
  request.access.under_way = 1;
  check_aligned(request);
}

void end_copy(const void* to) {
  for_copied(to, [](Cell& cell) {
    cell.write.under_way = 0;
    cell.write.block_barriers = now.block_barriers;
    cell.write.warp_barriers = now.warp_barriers;
  });
}

// By its lane and by the next one: a row goes to others than who names it, so that a write of the lane itself is no
// exception.
__attribute__((noinline)) void read_row(const void* row) {
  Request request = request_of(row, 16, false, __builtin_return_address(0));
  check_aligned(request);
  request.access.thread ^= 1;
  const uint32_t recorded = std::exchange(recorded_blocks, 0);
  check(request);
  recorded_blocks = recorded;
}

__attribute__((noinline)) void atomic(const void* address, int size) {
  Request request = request_of(address, size, true, __builtin_return_address(0));
  request.access.atomic = 1;
  check_aligned(request);
}

}  // namespace checks

#define HERE __builtin_return_address(0)
#define CHECK_ALIGNED(address, size, writes) \
  if (!checks::is_private(address)) checks::check_aligned(checks::request_of(address, size, writes, HERE))
#define CHECK(address, size, writes) \
  if (!checks::is_private(address)) checks::check(checks::request_of(address, size, writes, HERE))
#define HOOKS(size)                                                                      \
  void __tsan_read##size(const void* address) { CHECK_ALIGNED(address, size, false); } \
  void __tsan_write##size(const void* address) { CHECK_ALIGNED(address, size, true); }

extern "C" {

HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

// Structures that are copied, which may begin anywhere that their members can.
void __tsan_read_range(const void* address, unsigned long size) { CHECK(address, size, false); }
void __tsan_write_range(const void* address, unsigned long size) { CHECK(address, size, true); }
void __tsan_init() {}

// The static arrays of shared memory, sorted.
void emulated_shared(const checks::Range* ranges, int count) {
  using namespace checks;
  static_shared.assign(ranges, ranges + count);
  static_start = count ? ranges[0].start : 0;
  static_end = count ? ranges[count - 1].start + ranges[count - 1].size : 0;
  static_cells.assign(granules(static_start, static_end), Cell());
}

// The memory that the next launch may touch, sorted.
void emulated_ranges(const checks::Range* ranges, int count) {
  using namespace checks;
  std::size_t cells = 0;
  global.clear();
  for (int i = 0; i < count; i++) {
    global.push_back({ranges[i], cells});
    cells += granules(ranges[i].start, ranges[i].start + ranges[i].size);
  }
  make_room(global_cells, cells);
}

// How many blocks of each launch are recorded from now on.
void emulated_record(uint32_t blocks) { checks::recorded_blocks = blocks; }

uint64_t emulated_recorded(const checks::Record** first) {
  *first = checks::records.data();
  return checks::records.size();
}

const checks::Finding* emulated_finding() { return &checks::finding; }
}
