// A tile of a product on tensor cores: 64 × 64 by 4 warps of 32 × 32 results, or 128 × 128 by 8 warps of 64 × 32.
// Factors are float16, bfloat16, or float32 rounded to TF32; sums are float32, and terms are added in their order.
//
// Four chunks of 16 bytes of each line (or as many terms across lines) lie in shared memory at a time, in a ring of
// STAGES, filled by copies that run beside the arithmetic. Chunks are stored at a place that is xor-ed with part of
// their row, so that the eight rows which a fragment reads at once lie in different banks. Operands whose neighbours do
// not make whole chunks are read number by number.
//
// Bound by tensor cores where both sides of the result and the sums are long: a warp of a wide tile reads 6 fragments
// of shared memory for 16 multiplications. Else by memory, or where operands are not in whole chunks by looking them up.
#pragma once
#include "epilogue.cuh"
#include "fragments.cuh"

#define DEPTH (4 * CHUNK)  // terms of a stage
#if defined(EMULATED) || __CUDA_ARCH__ >= 800
#define STAGES 3  // 48 KiB for wide tiles
#else
#define STAGES 2
#endif

// How an operand lies in a stage: rows of chunks, either of four chunks of a line's terms, or of all lines of a term.
template <int lines, bool along_terms>
struct Layout {
  static constexpr int ACROSS = along_terms ? 4 : lines / CHUNK;  // chunks of a row
  __device__ static int place(int row, int chunk) {
    const int swapped = along_terms ? row / 2 % 4 : CHUNK == 8 ? row % 8 : row % 4 * 2;
    return row * ACROSS + (chunk ^ swapped);
  }

  // The fragment (fragments.cuh) of 16 lines and of one of the two halves of a stage's terms.
  __device__ static void load(unsigned (&fragment)[4], const uint4* stage, int line, int half) {
    const int lane = threadIdx.x % 32, matrix = lane / 8, within = lane % 8;
    if constexpr (along_terms) {
      load_matrices(fragment, stage + place(line + matrix % 2 * 8 + within, half * 2 + matrix / 2));
    } else if constexpr (CHUNK == 8) {
      const int term = half * 16 + matrix / 2 * 8 + within;
      load_transposed_matrices(fragment, stage + place(term, line / CHUNK + matrix % 2));
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int own = line + i % 2 * 8 + lane / 4, term = half * 8 + i / 2 * 4 + lane % 4;
        fragment[i] = reinterpret_cast<const unsigned*>(stage + place(term, own / CHUNK))[own % CHUNK];
      }
    }
    if constexpr (sizeof(SCALAR) == 4) {
#pragma unroll
      for (int i = 0; i < 4; i++) fragment[i] = to_tf32(fragment[i]);
    }
  }
};

// What one thread brings of an operand to each stage: two chunks, neighbouring threads neighbouring ones.
template <int tile_lines, class Operand>
struct Feeder {
  static constexpr bool ALONG_TERMS = Operand::ALONG_TERMS;
  typedef Layout<tile_lines, ALONG_TERMS> Rows;
  static constexpr int APART = 2 * tile_lines / Rows::ACROSS;  // rows between the two, for 2 · tile_lines threads
  const Operand& operand;
  const bool in_chunks;
  const int first_line;
  typename Operand::Line lines[ALONG_TERMS ? 2 : 1];

  __device__ Feeder(const Operand& operand, int first)
      : operand(operand), in_chunks(operand.in_chunks()),
        first_line(first + (ALONG_TERMS ? row_of(0) : chunk() * CHUNK)) {
    lines[0] = operand.line(first_line);
    if constexpr (ALONG_TERMS) lines[1] = operand.line(first_line + APART);
  }
  __device__ static int chunk() { return threadIdx.x % Rows::ACROSS; }
  __device__ static int row_of(int i) { return threadIdx.x / Rows::ACROSS + i * APART; }

  __device__ void fetch(uint4* stage, int first, int last) const {
    if (in_chunks)
      fetch_chunks(stage, first, last);
    else
      fetch_numbers(stage, first, last);
  }
  __device__ void fetch_chunks(uint4* stage, int first, int last) const {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int number = first + (ALONG_TERMS ? chunk() * CHUNK : row_of(i));
      const SCALAR* from = number < last ? operand.at(lines[ALONG_TERMS ? i : 0], operand.term(number)) : nullptr;
      copy_async(stage + Rows::place(row_of(i), chunk()), from);
    }
  }
  __device__ void fetch_numbers(uint4* stage, int first, int last) const {
    int line = first_line;
    asm volatile("" : "+r"(line));  // looked up in each step: if they were kept, lines would take the registers of sums
#pragma unroll
    for (int i = 0; i < 2; i++) {
      uint4 numbers = {0, 0, 0, 0};
#pragma unroll
      for (int k = 0; k < CHUNK; k++) {
        const int number = first + (ALONG_TERMS ? chunk() * CHUNK + k : row_of(i));
        if (number >= last) continue;
        const SCALAR* from = ALONG_TERMS ? operand.at(lines[ALONG_TERMS ? i : 0], operand.term(number))
                                         : operand.at(operand.line(line + k), operand.term(number));
        if (from) reinterpret_cast<SCALAR*>(&numbers)[k] = *from;
      }
      stage[Rows::place(row_of(i), chunk())] = numbers;
    }
  }
};

template <int lines>
struct TensorTile {
  static constexpr int LINES = lines;
  static constexpr int DOWN = lines / 32, ACROSS = 4;  // fragments of a warp's results: 16 × 8 each
  static constexpr int ROWS = DOWN * 16, COLUMNS = ACROSS * 8;
  static constexpr int STAGE = lines * 4;  // chunks of an operand
  COMPUTE sums[DOWN][ACROSS][4];

  __device__ static uint4* storage() {
    __shared__ uint4 chunks[STAGES * 2 * STAGE];
    return chunks;
  }
  // Two rows of warps.
  __device__ static int row_of_warp() { return threadIdx.x / 32 % 2 * ROWS; }
  __device__ static int column_of_warp() { return threadIdx.x / 64 * COLUMNS; }

  // Add up the terms from `first`, a multiple of 16, to before `last`, of a tile whose first line of each is given.
  template <class Left, class Right>
  __device__ void multiply(const Left& left, const Right& right, int row, int column, int first, int last) {
    uint4* const chunks = storage();
    const Feeder<lines, Left> from_left(left, row);
    const Feeder<lines, Right> from_right(right, column);
#pragma unroll
    for (int i = 0; i < DOWN; i++)
#pragma unroll
      for (int j = 0; j < ACROSS; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) sums[i][j][k] = 0;
    int full = 0, empty = 0;
    for (int next = first; next < last + (STAGES - 1) * DEPTH; next += DEPTH) {
      const bool ready = next >= first + (STAGES - 1) * DEPTH;
      if (ready) {
        wait_copies<STAGES - 2>();
        __syncthreads();  // all have their copies in the full stage, and none reads the empty one any more
      }
      if (next < last) {
        from_left.fetch(chunks + empty * 2 * STAGE, next, last);
        from_right.fetch(chunks + (empty * 2 + 1) * STAGE, next, last);
        empty = empty + 1 == STAGES ? 0 : empty + 1;
      }
      commit_copies();
      if (!ready) continue;
      multiply_stage<Layout<lines, Left::ALONG_TERMS>, Layout<lines, Right::ALONG_TERMS>>(chunks + full * 2 * STAGE);
      full = full + 1 == STAGES ? 0 : full + 1;
    }
  }
  template <class LeftLayout, class RightLayout>
  __device__ void multiply_stage(const uint4* stage) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      unsigned lefts[DOWN][4], rights[ACROSS / 2][4];
#pragma unroll
      for (int i = 0; i < DOWN; i++) LeftLayout::load(lefts[i], stage, row_of_warp() + i * 16, half);
#pragma unroll
      for (int j = 0; j < ACROSS / 2; j++)
        RightLayout::load(rights[j], stage + STAGE, column_of_warp() + j * 16, half);
#pragma unroll
      for (int i = 0; i < DOWN; i++)
#pragma unroll
        for (int j = 0; j < ACROSS; j++)
          multiply_fragment<SCALAR>(sums[i][j], lefts[i], rights[j / 2][j % 2], rights[j / 2][j % 2 + 2]);
    }
  }

  // Where four sums of a row are while they change hands: lanes that write or read at once do so in different banks.
  __device__ static int place_of_four(int row, int four) { return row * (COLUMNS / 4) + (four ^ (row % 4 * 2 + row % 2)); }

  // Store each sum inside the result; `place(row)` is where a row of it starts. Sums go through shared memory, so that
  // a thread gives `epilogue` neighbours of a row, as many as that says, and its own neighbours those beside them.
  template <class Finish, class Place>
  __device__ void store(int first_row, int first_column, int rows, int columns, const Finish& epilogue, Place place) {
    constexpr int NEIGHBOURS = Finish::NEIGHBOURS, LANES = COLUMNS / NEIGHBOURS, AT_ONCE = 32 / LANES;
    typedef Pack<COMPUTE, 4> Four;
    const int lane = threadIdx.x % 32, start = lane % LANES * NEIGHBOURS;
    Four* const own = reinterpret_cast<Four*>(storage()) + threadIdx.x / 32 * (16 * COLUMNS / 4);
    __syncthreads();  // none reads a stage any more
#pragma unroll
    for (int i = 0; i < DOWN; i++) {
#pragma unroll
      for (int j = 0; j < ACROSS; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
          Four* const four = own + place_of_four(lane / 4 + half * 8, j * 2 + lane % 4 / 2);
          const COMPUTE two[2] = {sums[i][j][half * 2], sums[i][j][half * 2 + 1]};
          store_row(four->values + lane % 2 * 2, two);
        }
      __syncwarp();
#pragma unroll
      for (int part = 0; part < 16 / AT_ONCE; part++) {
        const int within = part * AT_ONCE + lane / LANES, row = first_row + row_of_warp() + i * 16 + within;
        const int column = first_column + column_of_warp() + start;
        if (row >= rows || column >= columns) continue;
        COMPUTE values[NEIGHBOURS];
#pragma unroll
        for (int k = 0; k < NEIGHBOURS / 4; k++) {
          const Four four = own[place_of_four(within, start / 4 + k)];
#pragma unroll
          for (int n = 0; n < 4; n++) values[k * 4 + n] = four.values[n];
        }
        epilogue.store_several(place(row), column, columns, values);
      }
      __syncwarp();
    }
  }
};
