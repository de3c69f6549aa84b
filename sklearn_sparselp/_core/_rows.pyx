# Prediction from the rows of CSR: X @ coef.T + intercept.
# Cost follows the stored values of the rows and the coefficients that are not zero, never the number of features.
# Invariant: `inspect` has found X sound; nothing is checked again. Sums accumulate in double.

from cython.parallel cimport prange

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from ._columns cimport column_dot, first_from  # no-cython-lint: its file defines SPARSELP_CLONES
from ._types cimport index_t, real_t

ctypedef fused coef_t:
    float
    double

# C, so that the compiler may use the widest vectors of the machine (see `_columns.pxd`): 4 times as fast.
# An exponent of ones is what infinity and NaN have in common.
cdef extern from *:
    """
    #define SPARSELP_LOOK(T, UNSIGNED, EXPONENT)                                                          \\
    SPARSELP_CLONES static int sparselp_not_finite_##T(const T *x, Py_ssize_t n) {                        \\
        UNSIGNED found = 0;                                                                               \\
        for (Py_ssize_t k = 0; k < n; k++) {                                                              \\
            UNSIGNED bits;                                                                                \\
            memcpy(&bits, x + k, sizeof bits);                                                            \\
            found |= (bits & EXPONENT) == EXPONENT;                                                       \\
        }                                                                                                 \\
        return found != 0;                                                                                \\
    }
    SPARSELP_LOOK(double, uint64_t, 0x7FF0000000000000u)
    SPARSELP_LOOK(float, uint32_t, 0x7F800000u)
    #define SPARSELP_REACH(T)                                                                             \\
    SPARSELP_CLONES static int sparselp_outside_##T(const T *j, Py_ssize_t n, Py_ssize_t bound) {         \\
        T low = 0, high = 0;                                                                              \\
        for (Py_ssize_t k = 0; k < n; k++) {                                                              \\
            low = j[k] < low ? j[k] : low;                                                                \\
            high = j[k] > high ? j[k] : high;                                                             \\
        }                                                                                                 \\
        return low < 0 || high >= bound;                                                                  \\
    }                                                                                                     \\
    SPARSELP_CLONES static Py_ssize_t sparselp_descents_##T(const T *j, Py_ssize_t n) {                   \\
        T found = 0;                                                                                      \\
        for (Py_ssize_t k = 1; k < n; k++)                                                                \\
            found += j[k] <= j[k - 1];                                                                    \\
        return found;                                                                                     \\
    }
    SPARSELP_REACH(int32_t)
    SPARSELP_REACH(int64_t)
    """
    bint not_finite_double "sparselp_not_finite_double"(const double*, Py_ssize_t) noexcept nogil
    bint not_finite_float "sparselp_not_finite_float"(const float*, Py_ssize_t) noexcept nogil
    bint outside_int32 "sparselp_outside_int32_t"(const int32_t*, Py_ssize_t, Py_ssize_t) noexcept nogil
    bint outside_int64 "sparselp_outside_int64_t"(const int64_t*, Py_ssize_t, Py_ssize_t) noexcept nogil
    Py_ssize_t descents_int32 "sparselp_descents_int32_t"(const int32_t*, Py_ssize_t) noexcept nogil
    Py_ssize_t descents_int64 "sparselp_descents_int64_t"(const int64_t*, Py_ssize_t) noexcept nogil

# Fibonacci hashing: the upper bits of a product with 2^64 / golden ratio.
cdef uint64_t SPREAD = 11400714819323198485ULL


# What `inspect` finds, the worst counts. Canonical: ascending indices, none twice.
cdef int NOT_FINITE = 1, NOT_CANONICAL = 2, BROKEN = 4
# Stored values that are looked at in one go, by one thread.
cdef Py_ssize_t AT_ONCE = 65_536


def inspect(
    const real_t[::1] data not None,      # IN
    const index_t[::1] indices not None,  # IN
    const index_t[::1] indptr not None,   # IN
    Py_ssize_t n_minor,
    bint canonical=False,
    int n_threads=1,
):
    """Return what is wrong with a compressed matrix, the sum of: 1 where a value is not finite, 4 where pointers or
    indices lead outside of the matrix, and if ``canonical`` is asked for 2 where indices do not ascend.
    """
    cdef Py_ssize_t k, part, parts, stored, descents = 0, n_major = indptr.shape[0] - 1
    cdef int found = 0
    if n_major < 0 or indptr[0] != 0:
        return BROKEN
    for k in prange(n_major, nogil=True, schedule="static", num_threads=n_threads):
        found |= indptr[k] > indptr[k + 1]
    stored = indptr[n_major]
    if found or stored > data.shape[0] or stored > indices.shape[0]:
        return BROKEN
    parts = (stored + AT_ONCE - 1) // AT_ONCE
    for part in prange(parts, nogil=True, schedule="static", num_threads=n_threads):
        found |= _look(&data[0], &indices[0], part * AT_ONCE, min((part + 1) * AT_ONCE, stored), n_minor)
        if canonical:
            descents += _descents(indices, indptr, part * AT_ONCE, min((part + 1) * AT_ONCE, stored))
    if descents and not found & BROKEN:
        found |= NOT_CANONICAL
    return found


def all_finite(const real_t[::1] values not None, int n_threads):
    """Return whether no value is infinite or NaN."""
    cdef Py_ssize_t part, parts = (values.shape[0] + AT_ONCE - 1) // AT_ONCE
    cdef int found = 0
    for part in prange(parts, nogil=True, schedule="static", num_threads=n_threads):
        found |= _not_finite(&values[part * AT_ONCE], min(AT_ONCE, values.shape[0] - part * AT_ONCE))
    return found == 0


cdef inline int _not_finite(const real_t* values, Py_ssize_t size) noexcept nogil:
    if real_t is double:
        return not_finite_double(values, size)
    else:
        return not_finite_float(values, size)


cdef int _look(
    const real_t* data, const index_t* indices, Py_ssize_t first, Py_ssize_t last, Py_ssize_t n_minor
) noexcept nogil:
    cdef bint strange
    if index_t is int32_t:
        strange = outside_int32(indices + first, last - first, n_minor)
    else:
        strange = outside_int64(indices + first, last - first, n_minor)
    return (BROKEN if strange else 0) | _not_finite(data + first, last - first)


cdef Py_ssize_t _descents(
    const index_t[::1] indices, const index_t[::1] indptr, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    # Of all as if they were one vector, less those between two vectors.
    cdef Py_ssize_t descents, k, before = max(first - 1, 0), n_major = indptr.shape[0] - 1
    if index_t is int32_t:
        descents = descents_int32(&indices[before], last - before)
    else:
        descents = descents_int64(&indices[before], last - before)
    k = first_from(&indptr[0], n_major, max(first, 1))
    while k < n_major and indptr[k] < last:
        if indptr[k] < indptr[k + 1]:
            descents -= indices[indptr[k]] <= indices[indptr[k] - 1]
        k += 1
    return descents


def combine_dense(
    const real_t[::1] data not None,       # IN
    const index_t[::1] indices not None,   # IN
    const index_t[::1] indptr not None,    # IN
    const coef_t[:, ::1] coef not None,    # IN, (n_outputs, n_features)
    const double[::1] intercept not None,  # IN, (n_outputs,)
    double[:, ::1] out not None,           # OUT, (n_samples, n_outputs)
    int n_threads,
):
    """Fill ``X @ coef.T + intercept``, reading the coefficients of stored values only."""
    cdef Py_ssize_t i
    if data.shape[0] == 0 or coef.shape[1] == 0:
        out[:, :] = intercept
        return
    if n_threads <= 1:
        with nogil:
            for i in range(out.shape[0]):
                _combine_row(&data[0], &indices[0], indptr[i], indptr[i + 1], coef, intercept, &out[i, 0])
    else:
        for i in prange(out.shape[0], nogil=True, schedule="dynamic", chunksize=256, num_threads=n_threads):
            _combine_row(&data[0], &indices[0], indptr[i], indptr[i + 1], coef, intercept, &out[i, 0])


cdef void _combine_row(
    const real_t* data, const index_t* indices, Py_ssize_t start, Py_ssize_t stop, const coef_t[:, ::1] coef,
    const double[::1] intercept, double* out,
) noexcept nogil:
    cdef Py_ssize_t k, r
    cdef double a, b
    for r in range(coef.shape[0]):
        a = intercept[r]
        b = 0.0
        k = start
        while k + 2 <= stop:
            a += data[k] * <double> coef[r, indices[k]]
            b += data[k + 1] * <double> coef[r, indices[k + 1]]
            k += 2
        if k < stop:
            a += data[k] * <double> coef[r, indices[k]]
        out[r] = a + b


def combine_few(
    const real_t[::1] data not None,             # IN
    const index_t[::1] indices not None,         # IN
    const index_t[::1] indptr not None,          # IN
    const double[::1] coef not None,             # IN, CSR of shape (n_outputs, n_features), sorted
    const index_t[::1] coef_indices not None,    # IN
    const int64_t[::1] coef_indptr not None,     # IN
    const double[::1] intercept not None,        # IN, (n_outputs,)
    double[:, ::1] out not None,                 # OUT, (n_samples, n_outputs)
):
    """Fill ``X @ coef.T + intercept`` by looking each stored value up in the sorted rows of coef: for few samples."""
    cdef Py_ssize_t i, k, r
    cdef double total
    with nogil:
        for i in range(out.shape[0]):
            for r in range(out.shape[1]):
                total = intercept[r]
                if coef_indptr[r + 1] > coef_indptr[r]:
                    for k in range(indptr[i], indptr[i + 1]):
                        total += data[k] * _look_up(
                            &coef[coef_indptr[r]], &coef_indices[coef_indptr[r]],
                            coef_indptr[r + 1] - coef_indptr[r], indices[k],
                        )
                out[i, r] = total


cdef inline double _look_up(
    const double* values, const index_t* keys, Py_ssize_t size, index_t key
) noexcept nogil:
    # Halving without a branch on the comparison, which no processor could foresee.
    cdef Py_ssize_t first = 0, half
    while size > 1:
        half = size // 2
        first += half if keys[first + half] <= key else 0
        size -= half
    return values[first] if keys[first] == key else 0.0


def number_columns(
    const index_t[::1] coef_indices not None,  # IN, CSR of shape (n_outputs, n_features)
    index_t[::1] keys not None,                # IN/OUT, -1, of size 2^n_bits > coef_indices.size
    index_t[::1] slots not None,               # OUT, the number of the column in `keys`
    uint8_t[::1] sieve not None,              # IN/OUT, 0, of size 2^n_bits: bits of columns that may be in `keys`
    index_t[::1] starts not None,              # IN/OUT, 0: where the values of column number c start, (coef.size + 1,)
    int n_bits,
):
    """Make a hash table (open addressing) that numbers the columns of coef which hold a value."""
    cdef Py_ssize_t k, at, n_columns = 0
    cdef index_t before = 0, count
    cdef uint64_t bit
    with nogil:
        for k in range(coef_indices.shape[0]):
            bit = (<uint64_t> coef_indices[k] * SPREAD) >> (61 - n_bits)
            sieve[bit >> 3] |= <uint8_t> (1 << (bit & 7))
            at = _find(&keys[0], n_bits, coef_indices[k])
            if keys[at] < 0:
                keys[at] = coef_indices[k]
                slots[at] = <index_t> n_columns
                n_columns += 1
            starts[slots[at]] += 1
        for k in range(starts.shape[0]):
            count = starts[k]
            starts[k] = before
            before += count


def fill_columns(
    const double[::1] coef not None,           # IN, CSR of shape (n_outputs, n_features)
    const index_t[::1] coef_indices not None,  # IN
    const int64_t[::1] coef_indptr not None,   # IN
    const index_t[::1] keys not None,          # IN
    const index_t[::1] slots not None,         # IN
    index_t[::1] filled not None,              # IN/OUT, `starts` of `number_columns`: afterwards where columns stop
    index_t[::1] outputs not None,             # OUT, (coef.size,)
    double[::1] values not None,               # OUT, (coef.size,)
    int n_bits,
):
    """Store coef by columns: column number c is ``values[starts[c]:stops[c]]`` for ``outputs[starts[c]:stops[c]]``."""
    cdef Py_ssize_t r, k, at
    with nogil:
        for r in range(coef_indptr.shape[0] - 1):
            for k in range(coef_indptr[r], coef_indptr[r + 1]):
                at = slots[_find(&keys[0], n_bits, coef_indices[k])]
                outputs[filled[at]] = <index_t> r
                values[filled[at]] = coef[k]
                filled[at] += 1


cdef inline Py_ssize_t _find(const index_t* keys, int n_bits, index_t j) noexcept nogil:
    # The place of j, or the free one where it belongs.
    cdef Py_ssize_t at = <Py_ssize_t> ((<uint64_t> j * SPREAD) >> (64 - n_bits))
    cdef Py_ssize_t last = (<Py_ssize_t> 1 << n_bits) - 1
    while keys[at] != j and keys[at] >= 0:
        at = (at + 1) & last
    return at


def combine_many(
    const real_t[::1] data not None,       # IN
    const index_t[::1] indices not None,   # IN
    const index_t[::1] indptr not None,    # IN
    const index_t[::1] keys not None,      # IN
    const index_t[::1] slots not None,     # IN
    const uint8_t[::1] sieve not None,    # IN
    const index_t[::1] stops not None,     # IN
    const index_t[::1] outputs not None,   # IN
    const double[::1] values not None,     # IN
    int n_bits,
    const double[::1] intercept not None,  # IN, (n_outputs,)
    double[:, ::1] out not None,           # OUT, (n_samples, n_outputs)
    int n_threads,
):
    """Fill ``X @ coef.T + intercept`` by the table of `number_columns`: for many samples."""
    cdef Py_ssize_t i
    out[:, :] = intercept
    if data.shape[0] == 0 or values.shape[0] == 0:
        return
    if n_threads <= 1:
        with nogil:
            for i in range(out.shape[0]):
                _add_row(&data[0], &indices[0], indptr[i], indptr[i + 1], &keys[0], &slots[0], &sieve[0], &stops[0],
                         &outputs[0], &values[0], n_bits, &out[i, 0])
    else:
        for i in prange(out.shape[0], nogil=True, schedule="dynamic", chunksize=256, num_threads=n_threads):
            _add_row(&data[0], &indices[0], indptr[i], indptr[i + 1], &keys[0], &slots[0], &sieve[0], &stops[0],
                     &outputs[0], &values[0], n_bits, &out[i, 0])


cdef void _add_row(
    const real_t* data, const index_t* indices, Py_ssize_t start, Py_ssize_t stop, const index_t* keys,
    const index_t* slots, const uint8_t* sieve, const index_t* stops, const index_t* outputs, const double* values,
    int n_bits, double* out,
) noexcept nogil:
    cdef Py_ssize_t k, t, at, c
    cdef uint64_t bit
    for k in range(start, stop):
        bit = (<uint64_t> indices[k] * SPREAD) >> (61 - n_bits)
        if not sieve[bit >> 3] & (1 << (bit & 7)):
            continue
        at = _find(keys, n_bits, indices[k])
        if keys[at] >= 0:
            c = slots[at]
            for t in range(stops[c - 1] if c > 0 else 0, stops[c]):
                out[outputs[t]] += data[k] * values[t]
