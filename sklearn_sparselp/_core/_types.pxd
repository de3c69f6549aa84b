# The number types of every kernel: arrays are fused over real_t and index_t, or minor_t,
# scalars are double, sums accumulate in double and are cast on store.

from libc.stdint cimport int32_t, int64_t, uint16_t

ctypedef fused real_t:
    float
    double

ctypedef fused index_t:
    int32_t
    int64_t

# The rows of columns: those that are made of CSR take 16 bits where that is enough. Pointers to them are int64_t where
# rows are, else int32_t.
ctypedef fused minor_t:
    uint16_t
    int32_t
    int64_t
