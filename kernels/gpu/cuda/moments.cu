// Moments of rows of channels in parts, for a batch norm or for the operators that hand them to one.
#include "moments.cuh"

KERNEL moments(COMPUTE* statistics, const SCALAR* x, index_t rows, int channels, int lanes, index_t step, int parts,
               int splits) {
  moments_of_rows<1>(statistics, x, rows, channels, lanes, step, parts, splits);
}

KERNEL moments_4(COMPUTE* statistics, const SCALAR* x, index_t rows, int channels, int lanes, index_t step, int parts,
                 int splits) {
  moments_of_rows<4>(statistics, x, rows, channels, lanes, step, parts, splits);
}

// statistics[part] = those of `splits` pieces; y of the grid is the part.
KERNEL merge_pieces(COMPUTE* statistics, const COMPUTE* pieces, int channels, int lanes, int splits) {
  const Place place = place_of<1>(lanes);
  COMPUTE mean, squares, count;
  merge_parts(mean, squares, count, pieces + (index_t)blockIdx.y * splits * 3 * channels, splits, channels, lanes,
              place);
  if (place.group || place.c >= channels) return;
  COMPUTE* to = statistics + (index_t)blockIdx.y * 3 * channels + place.c;
  to[0] = count;
  to[channels] = mean;
  to[2 * (index_t)channels] = squares;
}
