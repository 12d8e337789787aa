// Losses, a number for each example (row), and their gradients. Bound by memory.
//
// A row belongs to a warp where it is short, to a block of CLASS_THREADS or more where it is long: a Team adds and
// compares over its threads in a fixed order.
#include "block.cuh"

struct Warp {
  __device__ static int threads() { return 32; }
  __device__ static int thread() { return threadIdx.x % 32; }
  __device__ static index_t row() { return (blockIdx.x * (index_t)blockDim.x + threadIdx.x) / 32; }
  template <class Combine>
  __device__ static COMPUTE over(COMPUTE value, Combine combine) { return over_warp(value, combine); }
};

struct Block {
  __device__ static int threads() { return blockDim.x; }
  __device__ static int thread() { return threadIdx.x; }
  __device__ static index_t row() { return blockIdx.x; }
  template <class Combine>
  __device__ static COMPUTE over(COMPUTE value, Combine combine) {
    __shared__ COMPUTE parts[32];
    return over_block(value, parts, combine);
  }
};

// ln Σ eˣ of a row, all threads of the team get it.
template <class Team>
__device__ COMPUTE log_sum(const SCALAR* x, int classes) {
  COMPUTE largest = loaded(x, 0), total = 0;
  for (int c = Team::thread(); c < classes; c += Team::threads()) largest = Largest()(largest, (COMPUTE)loaded(x, c));
  largest = Team::over(largest, Largest());
  for (int c = Team::thread(); c < classes; c += Team::threads()) total += (COMPUTE)exp((COMPUTE)(loaded(x, c) - largest));
  return largest + (COMPUTE)log(Team::over(total, Sum()));
}

template <class Team, class Label>
__device__ void softmax_loss(SCALAR* loss, const SCALAR* logits, const Label* labels, COMPUTE smoothing, int classes,
                             index_t rows) {
  const index_t row = Team::row();
  if (row >= rows) return;
  const index_t label = labels[row];
  if (label < 0) {
    if (Team::thread() == 0) stored(loss, row, (COMPUTE)0);
    return;
  }
  const SCALAR* x = logits + row * classes;
  const COMPUTE shift = log_sum<Team>(x, classes);
  COMPUTE spread = 0;
  for (int c = Team::thread(); c < classes; c += Team::threads()) spread += shift - loaded(x, c);
  spread = Team::over(spread, Sum());
  const COMPUTE at_label = label < classes ? shift - loaded(x, label) : 0;
  if (Team::thread() == 0) stored(loss, row, (COMPUTE)((1 - smoothing) * at_label + smoothing / classes * spread));
}

template <class Team, class Label>
__device__ void softmax_loss_gradient(SCALAR* dx, const SCALAR* dloss, const SCALAR* logits, const Label* labels,
                                      COMPUTE smoothing, int classes, index_t rows) {
  const index_t row = Team::row();
  if (row >= rows) return;
  const index_t label = labels[row];
  const SCALAR* x = logits + row * classes;
  const COMPUTE shift = label < 0 ? (COMPUTE)0 : log_sum<Team>(x, classes), slope = loaded(dloss, row);
  for (int c = Team::thread(); c < classes; c += Team::threads()) {
    const COMPUTE target = smoothing / classes + (c == label ? 1 - smoothing : 0);
    const COMPUTE share = (COMPUTE)exp((COMPUTE)(loaded(x, c) - shift)) - target;
    stored(dx, row * classes + c, label < 0 ? (COMPUTE)0 : slope * share);
  }
}

#define SOFTMAX_LOSSES(suffix, Team, Label)                                                                           \
  KERNEL softmax_loss_##suffix(SCALAR* loss, const SCALAR* logits, const Label* labels, COMPUTE smoothing,            \
                               int classes, index_t rows) {                                                           \
    softmax_loss<Team>(loss, logits, labels, smoothing, classes, rows);                                               \
  }                                                                                                                   \
  KERNEL softmax_loss_gradient_##suffix(SCALAR* dx, const SCALAR* dloss, const SCALAR* logits, const Label* labels,   \
                                        COMPUTE smoothing, int classes, index_t rows) {                               \
    softmax_loss_gradient<Team>(dx, dloss, logits, labels, smoothing, classes, rows);                                 \
  }
SOFTMAX_LOSSES(int32_warp, Warp, int)
SOFTMAX_LOSSES(int32_block, Block, int)
SOFTMAX_LOSSES(int64_warp, Warp, long long)
SOFTMAX_LOSSES(int64_block, Block, long long)

// Each kind of loss has its value and its slope by the prediction, of one element.
struct Squared {
  __device__ static COMPUTE value(COMPUTE x, COMPUTE target, COMPUTE) { return (x - target) * (x - target); }
  __device__ static COMPUTE slope(COMPUTE x, COMPUTE target, COMPUTE) { return 2 * (x - target); }
};

struct Absolute {
  __device__ static COMPUTE value(COMPUTE x, COMPUTE target, COMPUTE) { return fabs(x - target); }
  __device__ static COMPUTE slope(COMPUTE x, COMPUTE target, COMPUTE) {
    const COMPUTE e = x - target;
    return e > 0 ? 1 : e < 0 ? -1 : e;
  }
};

struct Huber {
  __device__ static COMPUTE value(COMPUTE x, COMPUTE target, COMPUTE delta) {
    const COMPUTE size = fabs(x - target);
    return size <= delta ? size * size / 2 : delta * (size - delta / 2);
  }
  __device__ static COMPUTE slope(COMPUTE x, COMPUTE target, COMPUTE delta) {
    const COMPUTE e = x - target;
    return e > delta ? delta : e < -delta ? -delta : e;
  }
};

struct Sigmoid {
  __device__ static COMPUTE value(COMPUTE x, COMPUTE target, COMPUTE) {
    return (x > 0 || x != x ? x : 0) - x * target + (COMPUTE)log1p((COMPUTE)exp((COMPUTE)-fabs(x)));
  }
  __device__ static COMPUTE slope(COMPUTE x, COMPUTE target, COMPUTE) {
    const COMPUTE p = exp((COMPUTE)-fabs(x));
    return (x >= 0 ? 1 / (1 + p) : p / (1 + p)) - target;
  }
};

// Sums of y-th parts of rows, divided: sums[row][part].
template <class Kind, class Team, class To>
__device__ void row_loss(To* sums, const SCALAR* x, const SCALAR* target, COMPUTE delta, COMPUTE divisor,
                         index_t length, index_t rows) {
  const index_t row = Team::row();
  if (row >= rows) return;
  const index_t end = length * (blockIdx.y + 1) / gridDim.y, start = row * length;
  COMPUTE total = 0;
  for (index_t i = length * blockIdx.y / gridDim.y + Team::thread(); i < end; i += Team::threads())
    total += Kind::value(loaded(x, start + i), loaded(target, start + i), delta);
  total = Team::over(total, Sum());
  if (Team::thread() == 0) stored(sums, row * gridDim.y + blockIdx.y, (COMPUTE)(total / divisor));
}

#define ROW_LOSS(name, Kind)                                                                                          \
  KERNEL name##_warp(SCALAR* loss, const SCALAR* x, const SCALAR* target, COMPUTE delta, COMPUTE divisor,             \
                     index_t length, index_t rows) {                                                                  \
    row_loss<Kind, Warp>(loss, x, target, delta, divisor, length, rows);                                              \
  }                                                                                                                   \
  KERNEL name##_parts(COMPUTE* parts, const SCALAR* x, const SCALAR* target, COMPUTE delta, COMPUTE divisor,          \
                      index_t length, index_t rows) {                                                                 \
    row_loss<Kind, Block>(parts, x, target, delta, divisor, length, rows);                                            \
  }                                                                                                                   \
  KERNEL name##_gradient(SCALAR* dx, const SCALAR* dloss, const SCALAR* x, const SCALAR* target, COMPUTE delta,       \
                         index_t length, index_t count) {                                                             \
    FOR_EACH(i, count) {                                                                                              \
      const COMPUTE share = loaded(dloss, i / length) / length;                                                       \
      stored(dx, i, (COMPUTE)(share * Kind::slope(loaded(x, i), loaded(target, i), delta)));                          \
    }                                                                                                                 \
  }
ROW_LOSS(squared, Squared)
ROW_LOSS(absolute, Absolute)
ROW_LOSS(huber, Huber)
ROW_LOSS(sigmoid, Sigmoid)

// loss = Σ of a row's parts / divisor: a warp a row.
KERNEL finish_rows(SCALAR* loss, const COMPUTE* parts, COMPUTE divisor, int count, index_t rows) {
  const index_t row = Warp::row();
  if (row >= rows) return;
  COMPUTE total = 0;
  for (int part = Warp::thread(); part < count; part += 32) total += parts[row * count + part];
  total = Warp::over(total, Sum());
  if (Warp::thread() == 0) stored(loss, row, (COMPUTE)(total / divisor));
}
