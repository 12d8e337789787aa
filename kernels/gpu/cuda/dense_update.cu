// Optimizer steps of dense layers: the gradient dyᵀ · x is made tile by tile and used at once, never stored.
//
// A block makes a tile of 64 × 64 of the gradient, a thread 4 × 4 of it, from 16 rows of dy and x at a time in shared
// memory. Weights and states, which memory bounds for batches of some hundred, are read and written once.
#include "rules.cuh"

#define TILE 64
#define DEPTH 16
#define SIDE 16  // threads along each side of a block
#define OWN (TILE / SIDE)

struct Dense {
  int rows, outputs, inputs;
};

template <class Rule>
__device__ void update_tile(SCALAR* const* out, const SCALAR* weight, const SCALAR* const* states, const SCALAR* dy,
                            const SCALAR* x, const Dense& of, const Rule& rule) {
  constexpr int STATES = Rule::STATES;
  __shared__ COMPUTE left[DEPTH][TILE], right[DEPTH][TILE];
  const int top = blockIdx.y * TILE, start = blockIdx.x * TILE, self = threadIdx.y * SIDE + threadIdx.x;
  COMPUTE gradient[OWN][OWN] = {};
  for (int row = 0; row < of.rows; row += DEPTH) {
    for (int i = self; i < DEPTH * TILE; i += SIDE * SIDE) {
      const int k = i / TILE, place = i % TILE;
      const bool inside = row + k < of.rows;
      left[k][place] = inside && top + place < of.outputs
                           ? (COMPUTE)loaded(dy, (row + k) * (index_t)of.outputs + top + place) : (COMPUTE)0;
      right[k][place] = inside && start + place < of.inputs
                            ? (COMPUTE)loaded(x, (row + k) * (index_t)of.inputs + start + place) : (COMPUTE)0;
    }
    __syncthreads();
    for (int k = 0; k < DEPTH; k++) {
      COMPUTE a[OWN], b[OWN];
      for (int i = 0; i < OWN; i++) {
        a[i] = left[k][threadIdx.y + SIDE * i];
        b[i] = right[k][threadIdx.x + SIDE * i];
      }
      for (int i = 0; i < OWN; i++)
        for (int j = 0; j < OWN; j++) gradient[i][j] += a[i] * b[j];
    }
    __syncthreads();
  }
  for (int i = 0; i < OWN; i++)
    for (int j = 0; j < OWN; j++) {
      const int output = top + threadIdx.y + SIDE * i, input = start + threadIdx.x + SIDE * j;
      if (output >= of.outputs || input >= of.inputs) continue;
      const index_t at = output * (index_t)of.inputs + input;
      COMPUTE state[STATES];
      for (int s = 0; s < STATES; s++) state[s] = loaded(states[s], at);
      stored(out[0], at, rule(loaded(weight, at), gradient[i][j], state));
      for (int s = 0; s < STATES; s++) stored(out[1 + s], at, state[s]);
    }
}

KERNEL dense_sgd(SCALAR* new_weight, SCALAR* new_velocity, const SCALAR* weight, const SCALAR* dy, const SCALAR* x,
                 const SCALAR* rate, const SCALAR* velocity, SgdNumbers numbers, Dense of) {
  SCALAR* const out[] = {new_weight, new_velocity};
  const SCALAR* const states[] = {velocity};
  update_tile(out, weight, states, dy, x, of, Sgd(numbers, loaded(rate, 0)));
}

KERNEL dense_adam(SCALAR* new_weight, SCALAR* new_first, SCALAR* new_second, const SCALAR* weight, const SCALAR* dy,
                  const SCALAR* x, const SCALAR* rate, const SCALAR* first, const SCALAR* second, const index_t* step,
                  AdamNumbers numbers, Dense of) {
  SCALAR* const out[] = {new_weight, new_first, new_second};
  const SCALAR* const states[] = {first, second};
  update_tile(out, weight, states, dy, x, of, Adam(numbers, loaded(rate, 0), *step));
}

KERNEL dense_rmsprop(SCALAR* new_weight, SCALAR* new_square, SCALAR* new_velocity, const SCALAR* weight,
                     const SCALAR* dy, const SCALAR* x, const SCALAR* rate, const SCALAR* square,
                     const SCALAR* velocity, RmspropNumbers numbers, Dense of) {
  SCALAR* const out[] = {new_weight, new_square, new_velocity};
  const SCALAR* const states[] = {square, velocity};
  update_tile(out, weight, states, dy, x, of, Rmsprop(numbers, loaded(rate, 0)));
}
