// Optimizer steps of many parameters in one launch, and norms of gradients.
//
// Bounded by memory: weights, gradients and states are read and written once, four numbers at a time. Parameters are
// cut into pieces, a block each; addresses and pieces lie in tables that are filled when the call is bound. What
// changes from step to step (rate, step, norm) is read from the device's memory.
#include "block.cuh"
#include "elementwise.cuh"
#include "rules.cuh"

// `table` has, for each parameter, the addresses of its weight, gradient and states, then of the new weight and states;
// `pieces` three numbers for each piece: its parameter, its first element, and how many there are.
template <class Rule>
__device__ void update_piece(const unsigned long long* table, const index_t* pieces, const Rule& rule) {
  constexpr int STATES = Rule::STATES, ADDRESSES = 3 + 2 * STATES;
  const index_t* piece = pieces + 3 * (index_t)blockIdx.x;
  const unsigned long long* row = table + piece[0] * ADDRESSES;
  const index_t first = piece[1];
  const int count = (int)piece[2];
  SCALAR* at[ADDRESSES];
  bool aligned = true;
  for (int i = 0; i < ADDRESSES; i++) {
    at[i] = reinterpret_cast<SCALAR*>(row[i]) + first;
    aligned = aligned && starts_four(at[i]);
  }
  const int fours = aligned ? count / 4 : 0;
  for (int i = threadIdx.x; i < fours; i += blockDim.x) {
    Four<SCALAR> of[2 + STATES];
    for (int a = 0; a < 2 + STATES; a++) of[a] = reinterpret_cast<const Four<SCALAR>*>(at[a])[i];
    for (int j = 0; j < 4; j++) {
      COMPUTE state[STATES];
      for (int s = 0; s < STATES; s++) state[s] = loaded(of[2 + s].of, j);
      const COMPUTE weight = rule(loaded(of[0].of, j), loaded(of[1].of, j), state);
      stored(of[0].of, j, weight);
      for (int s = 0; s < STATES; s++) stored(of[2 + s].of, j, state[s]);
    }
    reinterpret_cast<Four<SCALAR>*>(at[2 + STATES])[i] = of[0];
    for (int s = 0; s < STATES; s++) reinterpret_cast<Four<SCALAR>*>(at[3 + STATES + s])[i] = of[2 + s];
  }
  for (int i = 4 * fours + threadIdx.x; i < count; i += blockDim.x) {
    COMPUTE state[STATES];
    for (int s = 0; s < STATES; s++) state[s] = loaded(at[2 + s], i);
    const COMPUTE weight = rule(loaded(at[0], i), loaded(at[1], i), state);
    stored(at[2 + STATES], i, weight);
    for (int s = 0; s < STATES; s++) stored(at[3 + STATES + s], i, state[s]);
  }
}

KERNEL sgd(const unsigned long long* table, const index_t* pieces, const SCALAR* rate, SgdNumbers numbers) {
  update_piece(table, pieces, Sgd(numbers, loaded(rate, 0)));
}

KERNEL adam(const unsigned long long* table, const index_t* pieces, const SCALAR* rate, const index_t* step,
            AdamNumbers numbers) {
  update_piece(table, pieces, Adam(numbers, loaded(rate, 0), *step));
}

KERNEL rmsprop(const unsigned long long* table, const index_t* pieces, const SCALAR* rate, RmspropNumbers numbers) {
  update_piece(table, pieces, Rmsprop(numbers, loaded(rate, 0)));
}

// The sum of squares of each piece; `table` has one address for each gradient.
KERNEL squares(COMPUTE* parts, const unsigned long long* table, const index_t* pieces) {
  __shared__ COMPUTE shared[32];
  const index_t* piece = pieces + 3 * (index_t)blockIdx.x;
  const SCALAR* gradient = reinterpret_cast<const SCALAR*>(table[piece[0]]) + piece[1];
  COMPUTE total = 0;
  for (int i = threadIdx.x; i < (int)piece[2]; i += blockDim.x) {
    const COMPUTE g = loaded(gradient, i);
    total += g * g;
  }
  total = over_block(total, shared, Sum());
  if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

KERNEL norm_of_parts(SCALAR* norm, const COMPUTE* parts, index_t count) {
  __shared__ double shared[32];
  double total = 0;
  for (index_t i = threadIdx.x; i < count; i += blockDim.x) total += parts[i];
  total = over_block(total, shared, Sum());
  if (threadIdx.x == 0) stored(norm, 0, (COMPUTE)sqrt(total));
}

KERNEL clip_by_norm(SCALAR* y, const SCALAR* gradient, const SCALAR* norm_, COMPUTE max_norm, COMPUTE least,
                    index_t count) {
  const COMPUTE norm = loaded(norm_, 0), factor = max_norm / (norm < least ? least : norm);
  const COMPUTE taken = factor < 1 ? factor : 1;
  map_one(y, gradient, count, [=](COMPUTE g) { return g * taken; });
}
