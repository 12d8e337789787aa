// Optimizer steps of many parameters in one launch, and norms of gradients.
//
// Gradients are SCALAR, of 16 bits where a network is trained so; weights, states and norms are COMPUTE.
// Bounded by memory: weights, gradients and states are read and written once, four numbers at a time. Parameters are
// cut into pieces, a block each; addresses and pieces lie in tables that are filled when the call is bound. What
// changes from step to step (rate, step, factor, norm) is read from the device's memory.
#include "block.cuh"
#include "elementwise.cuh"
#include "rules.cuh"

// `table` has, for each parameter, the addresses of its weight, gradient and states, then of the new weight and states;
// `pieces` three numbers for each piece: its parameter, its first element, and how many there are. Gradients are
// multiplied by the factor; where it is 0, everything stays as it is, whatever they are.
template <class Rule>
__device__ void update_piece(const unsigned long long* table, const index_t* pieces, COMPUTE factor, const Rule& rule) {
  constexpr int STATES = Rule::STATES, ARRAYS = 1 + STATES, ADDRESSES = 1 + 2 * ARRAYS;
  const index_t* piece = pieces + 3 * (index_t)blockIdx.x;
  const unsigned long long* row = table + piece[0] * ADDRESSES;
  const index_t first = piece[1];
  const int count = (int)piece[2];
  const bool skipped = factor == 0;
  const SCALAR* gradient = reinterpret_cast<const SCALAR*>(row[1]) + first;
  COMPUTE *old[ARRAYS], *updated[ARRAYS];
  bool aligned = starts_pack<4>(gradient);
  for (int i = 0; i < ARRAYS; i++) {
    old[i] = reinterpret_cast<COMPUTE*>(row[i ? 1 + i : 0]) + first;
    updated[i] = reinterpret_cast<COMPUTE*>(row[1 + ARRAYS + i]) + first;
    aligned = aligned && starts_pack<4>(old[i]) && starts_pack<4>(updated[i]);
  }
  const auto step = [&](COMPUTE* of, COMPUTE slope) {
    COMPUTE state[STATES];
    for (int s = 0; s < STATES; s++) state[s] = of[1 + s];
    const COMPUTE weight = rule(of[0], slope * factor, state);
    if (skipped) return;
    of[0] = weight;
    for (int s = 0; s < STATES; s++) of[1 + s] = state[s];
  };
  const int fours = aligned ? count / 4 : 0;
  for (int i = threadIdx.x; i < fours; i += blockDim.x) {
    const Pack<SCALAR, 4> slopes = reinterpret_cast<const Pack<SCALAR, 4>*>(gradient)[i];
    Pack<COMPUTE, 4> of[ARRAYS];
    for (int a = 0; a < ARRAYS; a++) of[a] = reinterpret_cast<const Pack<COMPUTE, 4>*>(old[a])[i];
    for (int j = 0; j < 4; j++) {
      COMPUTE one[ARRAYS];
      for (int a = 0; a < ARRAYS; a++) one[a] = of[a].values[j];
      step(one, loaded(slopes.values, j));
      for (int a = 0; a < ARRAYS; a++) of[a].values[j] = one[a];
    }
    for (int a = 0; a < ARRAYS; a++) reinterpret_cast<Pack<COMPUTE, 4>*>(updated[a])[i] = of[a];
  }
  for (int i = 4 * fours + threadIdx.x; i < count; i += blockDim.x) {
    COMPUTE one[ARRAYS];
    for (int a = 0; a < ARRAYS; a++) one[a] = old[a][i];
    step(one, loaded(gradient, i));
    for (int a = 0; a < ARRAYS; a++) updated[a][i] = one[a];
  }
}

// Without a factor any array stands in its place.
__device__ COMPUTE factor_of(const COMPUTE* factor, bool factored) { return factored ? *factor : (COMPUTE)1; }

KERNEL sgd(const unsigned long long* table, const index_t* pieces, const COMPUTE* factor, bool factored,
           const COMPUTE* rate, SgdNumbers numbers) {
  update_piece(table, pieces, factor_of(factor, factored), Sgd(numbers, *rate));
}

KERNEL adam(const unsigned long long* table, const index_t* pieces, const COMPUTE* factor, bool factored,
            const COMPUTE* rate, const index_t* step, AdamNumbers numbers) {
  update_piece(table, pieces, factor_of(factor, factored), Adam(numbers, *rate, *step));
}

KERNEL rmsprop(const unsigned long long* table, const index_t* pieces, const COMPUTE* factor, bool factored,
               const COMPUTE* rate, RmspropNumbers numbers) {
  update_piece(table, pieces, factor_of(factor, factored), Rmsprop(numbers, *rate));
}

// The sum of squares of each piece; `table` has one address for each gradient.
KERNEL squares(COMPUTE* parts, const unsigned long long* table, const index_t* pieces) {
  __shared__ COMPUTE shared[32];
  const index_t* piece = pieces + 3 * (index_t)blockIdx.x;
  const SCALAR* gradient = reinterpret_cast<const SCALAR*>(table[piece[0]]) + piece[1];
  const int count = (int)piece[2], packs = starts_pack<4>(gradient) ? count / 4 : 0;
  COMPUTE total = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < packs; i += blockDim.x) {
    const Pack<SCALAR, 4> slopes = pack_at<4>(gradient, 4 * i);
    for (int j = 0; j < 4; j++) total += loaded(slopes.values, j) * loaded(slopes.values, j);
  }
  for (int i = 4 * packs + threadIdx.x; i < count; i += blockDim.x) total += loaded(gradient, i) * loaded(gradient, i);
  total = over_block(total, shared, Sum());
  if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

KERNEL norm_of_parts(COMPUTE* norm, const COMPUTE* parts, index_t count) {
  __shared__ double shared[32];
  double total = 0;
  for (index_t i = threadIdx.x; i < count; i += blockDim.x) total += parts[i];
  total = over_block(total, shared, Sum());
  if (threadIdx.x == 0) *norm = (COMPUTE)sqrt(total);
}

KERNEL clip_by_norm(SCALAR* y, const SCALAR* gradient, const COMPUTE* norm_, COMPUTE max_norm, COMPUTE least,
                    index_t count) {
  const COMPUTE norm = *norm_, factor = max_norm / (norm < least ? least : norm);
  const COMPUTE taken = factor < 1 ? factor : 1;
  map_one(y, gradient, count, [=](COMPUTE g) { return g * taken; });
}
