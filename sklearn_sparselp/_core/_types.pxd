# The number types of every kernel: arrays are fused over real_t and index_t,
# scalars are double, sums accumulate in double and are cast on store.

from libc.stdint cimport int32_t, int64_t

ctypedef fused real_t:
    float
    double

ctypedef fused index_t:
    int32_t
    int64_t
