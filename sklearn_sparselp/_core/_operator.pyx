# The masked Lp update, in place, on chosen rows of a parameter array.
# Rows that are not named are neither read nor written; the rows of one call are distinct,
# which scan_indices and first_repeat* establish before update_rows writes anything.
#
# Parameter arrays are real_t[:, :] instead of [::1]: a row must be contiguous (the caller checks),
# while the distance between rows is free, so that column slices and 1-D strided views need no copy.

from cython.parallel cimport prange
from libc.math cimport copysign, fabs, pow, sqrt
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from ._prox cimport LpProx, lp_prox, lp_prox_init
from ._types cimport index_t, real_t

cdef extern from *:
    """
    #include <math.h>
    #if defined(__GNUC__) || defined(__clang__)
    #define SPARSELP_PREFETCH_L1(address) __builtin_prefetch((address), 0, 3)
    #define SPARSELP_PREFETCH_L2(address) __builtin_prefetch((address), 0, 1)
    #else
    #define SPARSELP_PREFETCH_L1(address) ((void)(address))
    #define SPARSELP_PREFETCH_L2(address) ((void)(address))
    #endif
    """
    void SPARSELP_PREFETCH_L1(const void* address) noexcept nogil
    void SPARSELP_PREFETCH_L2(const void* address) noexcept nogil
    float fabsf(float value) noexcept nogil
    float copysignf(float size, float sign) noexcept nogil

# How a weight moves before the mask; the Python names of these are below.
cdef enum Rule:
    SCALE   # w * amount, the factor and the product rounded to the type of w
    SHRINK  # w * amount in double, rounded once
    SOFT    # soft threshold at amount, rounded to the type of w
    PROX    # lp_prox with scale amount, in double, rounded once

RULE_SCALE = SCALE
RULE_SHRINK = SHRINK
RULE_SOFT = SOFT
RULE_PROX = PROX

cdef struct Update:
    Rule rule
    double amount
    double sparsity_threshold
    LpProx prox

cdef enum:
    CACHE_LINE = 64
    # hardware prefetchers follow a long row by themselves but miss the start of the next one
    PREFETCH_BYTES = 512
    FAR_LINES = 128
    NEAR_LINES = 32
    # what a thread takes at a time: 64 to 128 kB, about 10 us
    BLOCK_WEIGHTS = 16384


cdef inline Update make_update(
    int rule, double amount, double p, double sparsity_threshold
) noexcept nogil:
    cdef Update update
    update.rule = <Rule>rule
    update.amount = amount
    update.sparsity_threshold = sparsity_threshold
    lp_prox_init(&update.prox, p)
    return update


cdef inline real_t modulus(real_t value) noexcept nogil:
    if real_t is float:
        return fabsf(value)
    else:
        return fabs(value)


cdef inline real_t sign_of(real_t size, real_t value) noexcept nogil:
    if real_t is float:
        return copysignf(size, value)
    else:
        return copysign(size, value)


# Compared so that NaN stays NaN: a diverged model must not look like a sparse one. No branches,
# for baseline vector instructions.
cdef inline real_t masked(real_t value, real_t sparsity_threshold) noexcept nogil:
    return <real_t>0.0 if modulus(value) <= sparsity_threshold else value


cdef inline real_t soft(real_t value, real_t amount) noexcept nogil:
    # w - clip(w, -amount, amount): +0.0 inside, one rounding outside (as a choice between 0 and
    # w - copysign(amount, w) gcc makes it a branch: 50 ns a row of 64 instead of 17)
    cdef real_t clipped = value
    clipped = amount if clipped > amount else clipped
    clipped = -amount if clipped < -amount else clipped
    return value - clipped


# The mask is a separate loop body, not a threshold of 0: with 0 it would turn -0.0 into +0.0.
cdef inline void update_run(
    real_t* weights,        # IN/OUT
    Py_ssize_t n_weights,
    const Update* update,
) noexcept nogil:
    cdef:
        real_t amount = <real_t>update.amount
        real_t threshold = <real_t>update.sparsity_threshold
        double wide_amount = update.amount
        bint has_mask = threshold > 0.0
        Py_ssize_t j
    if update.rule == SCALE:
        if has_mask:
            for j in range(n_weights):
                weights[j] = masked(weights[j] * amount, threshold)
        else:
            for j in range(n_weights):
                weights[j] = weights[j] * amount
    elif update.rule == SHRINK:
        if has_mask:
            for j in range(n_weights):
                weights[j] = masked(<real_t>(weights[j] * wide_amount), threshold)
        else:
            for j in range(n_weights):
                weights[j] = <real_t>(weights[j] * wide_amount)
    elif update.rule == SOFT:
        if has_mask:
            for j in range(n_weights):
                weights[j] = masked(soft(weights[j], amount), threshold)
        else:
            for j in range(n_weights):
                weights[j] = soft(weights[j], amount)
    else:
        for j in range(n_weights):
            weights[j] = <real_t>lp_prox(&update.prox, weights[j], wide_amount)
            if has_mask:
                weights[j] = masked(weights[j], threshold)


cdef inline void prefetch_far(const void* row, Py_ssize_t n_bytes) noexcept nogil:
    cdef uintptr_t line = <uintptr_t>row & ~<uintptr_t>(CACHE_LINE - 1)
    cdef uintptr_t end = <uintptr_t>row + n_bytes
    while line < end:
        SPARSELP_PREFETCH_L2(<const void*>line)
        line += CACHE_LINE


cdef inline void prefetch_near(const void* row, Py_ssize_t n_bytes) noexcept nogil:
    cdef uintptr_t line = <uintptr_t>row & ~<uintptr_t>(CACHE_LINE - 1)
    cdef uintptr_t end = <uintptr_t>row + n_bytes
    while line < end:
        SPARSELP_PREFETCH_L1(<const void*>line)
        line += CACHE_LINE


cdef void update_singles(
    real_t* weights,            # IN/OUT
    Py_ssize_t row_stride,
    const index_t* indices,     # IN
    Py_ssize_t n_indices,
    const Update* update,
) noexcept nogil:
    # Rows of one weight: gathered, updated as a run, scattered. The loads do not wait for each
    # other, so that they need no prefetch (2 ns a weight instead of 4).
    cdef:
        real_t gathered[256]
        Py_ssize_t start, size, k
    for start in range(0, n_indices, 256):
        size = min(n_indices - start, <Py_ssize_t>256)
        for k in range(size):
            gathered[k] = weights[indices[start + k] * row_stride]
        update_run(gathered, size, update)
        for k in range(size):
            weights[indices[start + k] * row_stride] = gathered[k]


cdef void update_block(
    real_t* weights,            # IN/OUT
    Py_ssize_t row_stride,
    Py_ssize_t n_columns,
    const index_t* indices,     # IN, all of them
    Py_ssize_t n_indices,
    Py_ssize_t start,           # the block: indices[start:stop]
    Py_ssize_t stop,
    const Update* update,
) noexcept nogil:
    # Rows at random places: the misses of the next rows must overlap with each other. Two steps,
    # memory to L2 to L1, because L1 tracks fewer misses than L2 (0.4 of the time of no prefetch,
    # 0.7 of that of one step).
    cdef:
        Py_ssize_t n_bytes = min(n_columns * <Py_ssize_t>sizeof(real_t), <Py_ssize_t>PREFETCH_BYTES)
        Py_ssize_t n_lines = (n_bytes + CACHE_LINE - 1) // CACHE_LINE
        Py_ssize_t far = FAR_LINES // n_lines, near = NEAR_LINES // n_lines, k
    if n_columns == 1:
        update_singles(weights, row_stride, indices + start, stop - start, update)
        return
    for k in range(start, stop):
        if k + far < n_indices:
            prefetch_far(weights + indices[k + far] * row_stride, n_bytes)
        if k + near < n_indices:
            prefetch_near(weights + indices[k + near] * row_stride, n_bytes)
        update_run(weights + indices[k] * row_stride, n_columns, update)


cdef void update_neighbours(
    real_t* weights,        # IN/OUT
    Py_ssize_t row_stride,
    Py_ssize_t n_rows,
    Py_ssize_t n_columns,
    const Update* update,
) noexcept nogil:
    cdef Py_ssize_t i
    if row_stride == n_columns:
        update_run(weights, n_rows * n_columns, update)
    else:
        for i in range(n_rows):
            update_run(weights + i * row_stride, n_columns, update)


def update_rows(
    real_t[:, :] param not None,             # IN/OUT
    const index_t[::1] indices not None,     # IN
    int rule,
    double amount,
    double p,
    double sparsity_threshold,
    int n_threads,
):
    """Update the rows ``indices`` of ``param`` in place, which no two threads share.

    Not checked: rows are contiguous, indices are in range and distinct.
    """
    cdef:
        Update update = make_update(rule, amount, p, sparsity_threshold)
        Py_ssize_t n_indices = indices.shape[0], n_columns = param.shape[1]
        Py_ssize_t row_stride = param.strides[0] // <Py_ssize_t>sizeof(real_t)
        Py_ssize_t block, rows_a_block, n_blocks
        real_t* weights
    if n_indices == 0 or n_columns == 0:
        return
    weights = &param[0, 0]
    rows_a_block = max(BLOCK_WEIGHTS // n_columns, <Py_ssize_t>1)
    n_blocks = (n_indices + rows_a_block - 1) // rows_a_block
    for block in prange(n_blocks, nogil=True, schedule="dynamic", num_threads=n_threads):
        update_block(
            weights, row_stride, n_columns, &indices[0], n_indices,
            block * rows_a_block, min((block + 1) * rows_a_block, n_indices), &update,
        )


def update_all(
    real_t[:, :] param not None,     # IN/OUT
    int rule,
    double amount,
    double p,
    double sparsity_threshold,
    int n_threads,
):
    """Update every row of ``param`` in place. Not checked: rows are contiguous."""
    cdef:
        Update update = make_update(rule, amount, p, sparsity_threshold)
        Py_ssize_t n_rows = param.shape[0], n_columns = param.shape[1]
        Py_ssize_t row_stride = param.strides[0] // <Py_ssize_t>sizeof(real_t)
        Py_ssize_t block, n_blocks, rows_a_block
        real_t* weights
    if n_rows == 0 or n_columns == 0:
        return
    weights = &param[0, 0]
    if row_stride == n_columns:
        # one run: cut it anywhere
        n_rows *= n_columns
        n_columns = row_stride = 1
    rows_a_block = max(BLOCK_WEIGHTS // n_columns, <Py_ssize_t>1)
    n_blocks = (n_rows + rows_a_block - 1) // rows_a_block
    for block in prange(n_blocks, nogil=True, schedule="dynamic", num_threads=n_threads):
        update_neighbours(
            weights + block * rows_a_block * row_stride,
            row_stride,
            min(n_rows - block * rows_a_block, rows_a_block),
            n_columns,
            &update,
        )


def scan_indices(const index_t[::1] indices not None, Py_ssize_t n_rows):
    """Position of the first index outside ``[0, n_rows)`` or -1, and whether the indices increase.

    Strictly increasing indices have no repeats, so that nothing else need be looked at.
    """
    # Only sums and bit operations on one type, for baseline vector instructions: the sign bit of
    # `wrong` tells of i < 0 or i > last, that of `disordered` of next - i - 1 < 0.
    cdef:
        Py_ssize_t k, n_indices = indices.shape[0], outside = -1
        int64_t last = n_rows - 1
        uint32_t wrong32 = 0, disordered32 = 0, i32, last32 = <uint32_t>min(last, INT32_MAX)
        uint64_t wrong64 = 0, disordered64 = 0, i64, last64 = <uint64_t>last
        bint wrong, disordered
    with nogil:
        if index_t is int32_t:
            for k in range(n_indices):
                i32 = <uint32_t>indices[k]
                wrong32 |= i32 | (last32 - i32)
            for k in range(n_indices - 1):
                disordered32 |= <uint32_t>indices[k + 1] - <uint32_t>indices[k] - 1
            wrong = wrong32 >> 31
            disordered = disordered32 >> 31
        else:
            for k in range(n_indices):
                i64 = <uint64_t>indices[k]
                wrong64 |= i64 | (last64 - i64)
            for k in range(n_indices - 1):
                disordered64 |= <uint64_t>indices[k + 1] - <uint64_t>indices[k] - 1
            wrong = wrong64 >> 63
            disordered = disordered64 >> 63
        if wrong:
            for k in range(n_indices):
                if indices[k] < 0 or indices[k] > last:
                    outside = k
                    break
    return outside, not disordered


def first_repeat_bitmap(
    const index_t[::1] indices not None,     # IN
    uint64_t[::1] seen not None,             # OUT, zero on entry, one bit a row
):
    """Position of the first index that occurred before, or -1. Indices are in range."""
    cdef:
        Py_ssize_t k, n_indices = indices.shape[0], repeat = -1
        uint64_t index, bit
    with nogil:
        for k in range(n_indices):
            index = <uint64_t>indices[k]
            bit = (<uint64_t>1) << (index & 63)
            if seen[<Py_ssize_t>(index >> 6)] & bit:
                repeat = k
                break
            seen[<Py_ssize_t>(index >> 6)] |= bit
    return repeat


def first_repeat_hashed(
    const index_t[::1] indices not None,     # IN
    int64_t[::1] table not None,             # OUT, zero on entry, 2**log2_size slots, at most half filled
    int log2_size,
):
    """Position of the first index that occurred before, or -1, at a cost free of ``n_rows``."""
    cdef:
        Py_ssize_t k, n_indices = indices.shape[0], repeat = -1
        uint64_t slot, last = ((<uint64_t>1) << log2_size) - 1
        int64_t key
    with nogil:
        for k in range(n_indices):
            key = <int64_t>indices[k] + 1
            # Fibonacci hashing (Knuth, TAOCP 3, 6.4): the high bits of key * 2**64 / golden ratio
            slot = (<uint64_t>key * <uint64_t>11400714819323198485) >> (64 - log2_size)
            while table[<Py_ssize_t>slot] != 0 and table[<Py_ssize_t>slot] != key:
                slot = (slot + 1) & last
            if table[<Py_ssize_t>slot] == key:
                repeat = k
                break
            table[<Py_ssize_t>slot] = key
    return repeat


cdef inline double power(double size, double p) noexcept nogil:
    # size >= 0; pow costs 15 ns and more, these 1 ns
    if p == 1.0:
        return size
    if p == 2.0:
        return size * size
    if p == 0.0:
        return 0.0 if size == 0.0 else 1.0
    if p == 0.5:
        return sqrt(size)
    if p == 1.5:
        return size * sqrt(size)
    if p == 3.0:
        return size * size * size
    return pow(size, p)


cdef inline double sum_run(
    const real_t* weights,  # IN
    Py_ssize_t n_weights,
    double p,
) noexcept nogil:
    # At most 1024 terms over 8 partial sums, which the compiler keeps in registers.
    cdef:
        double lane[8]
        Py_ssize_t j, k, n_full = n_weights - n_weights % 8
    for k in range(8):
        lane[k] = 0.0
    if p == 1.0:
        for j in range(0, n_full, 8):
            for k in range(8):
                lane[k] += fabs(weights[j + k])
    elif p == 2.0:
        for j in range(0, n_full, 8):
            for k in range(8):
                lane[k] += <double>weights[j + k] * weights[j + k]
    else:
        for j in range(0, n_full, 8):
            for k in range(8):
                lane[k] += power(fabs(weights[j + k]), p)
    for j in range(n_full, n_weights):
        lane[j - n_full] += power(fabs(weights[j]), p)
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]))


def sum_powers(const real_t[:, :] param not None, double p):
    """Sum of ``|w|**p`` in double precision. Not checked: rows are contiguous.

    Blocks of 1024 terms are added with Kahan and Babuska's compensation, so that the error does
    not grow with the number of weights.
    """
    cdef:
        Py_ssize_t n_rows = param.shape[0], n_columns = param.shape[1]
        Py_ssize_t row_stride = param.strides[0] // <Py_ssize_t>sizeof(real_t), i, start
        double total = 0.0, lost = 0.0, term, new_total
        const real_t* weights
    if n_rows == 0 or n_columns == 0:
        return 0.0
    weights = &param[0, 0]
    with nogil:
        if row_stride == n_columns:
            n_columns *= n_rows
            n_rows = 1
        for i in range(n_rows):
            for start in range(0, n_columns, 1024):
                term = sum_run(
                    weights + i * row_stride + start, min(n_columns - start, <Py_ssize_t>1024), p
                )
                new_total = total + term
                lost += (total - new_total) + term if total >= term else (term - new_total) + total
                total = new_total
    # inf - inf in the compensation must not turn an infinite sum into NaN
    return total + lost if lost == lost else total


cdef inline real_t with_sign(real_t size, real_t value) noexcept nogil:
    # 0 and NaN as they are
    return sign_of(size, value) if modulus(value) > 0.0 else value


def mask_rows(
    const real_t[:, :] param not None,  # IN
    uint8_t[:, ::1] out not None,       # OUT, the shape of param
    double sparsity_threshold,
):
    """Whether ``|w| > sparsity_threshold``. Not checked: rows are contiguous, the shapes."""
    cdef:
        Py_ssize_t n_rows = param.shape[0], n_columns = param.shape[1], i, j
        Py_ssize_t row_stride = param.strides[0] // <Py_ssize_t>sizeof(real_t)
        real_t threshold = <real_t>sparsity_threshold
        const real_t* weights
        uint8_t* above
    if n_rows == 0 or n_columns == 0:
        return
    weights = &param[0, 0]
    above = &out[0, 0]
    with nogil:
        if row_stride == n_columns:
            n_columns *= n_rows
            n_rows = 1
        for i in range(n_rows):
            for j in range(n_columns):
                above[i * n_columns + j] = modulus(weights[i * row_stride + j]) > threshold


def gradient_rows(
    const real_t[:, :] param not None,  # IN
    real_t[:, ::1] out not None,        # OUT, the shape of param
    double p,
    double alpha,
):
    """``alpha p sign(w) |w|**(p - 1)``, 0 at 0. Not checked: rows are contiguous, the shapes."""
    cdef:
        Py_ssize_t n_rows = param.shape[0], n_columns = param.shape[1], i, j
        Py_ssize_t row_stride = param.strides[0] // <Py_ssize_t>sizeof(real_t)
        double factor = alpha * p
        const real_t* weights
        real_t* slopes
        real_t w
    if n_rows == 0 or n_columns == 0:
        return
    weights = &param[0, 0]
    slopes = &out[0, 0]
    with nogil:
        if row_stride == n_columns:
            n_columns *= n_rows
            n_rows = 1
        for i in range(n_rows):
            if p == 2.0:
                for j in range(n_columns):
                    slopes[i * n_columns + j] = <real_t>(factor * weights[i * row_stride + j])
            elif p == 1.0:
                for j in range(n_columns):
                    w = weights[i * row_stride + j]
                    slopes[i * n_columns + j] = with_sign(<real_t>factor, w)
            elif p == 0.0:
                for j in range(n_columns):
                    slopes[i * n_columns + j] = 0.0
            else:
                for j in range(n_columns):
                    w = weights[i * row_stride + j]
                    slopes[i * n_columns + j] = with_sign(
                        <real_t>(factor * power(fabs(w), p - 1.0)), w
                    )
