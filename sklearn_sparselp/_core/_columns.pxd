# One column (or row) of X against a vector of doubles.
# Invariant: data[0..size) are the stored values; rows is NULL for dense storage, else the position of each value in
# the vector.
# Sums accumulate in double whatever the storage type.

from libc.float cimport DBL_EPSILON as EPS

from ._types cimport int32_t, int64_t, minor_t, real_t

# Dense loops are C so that the compiler may reorder the sum (omp simd) and, where the loader can choose at run time,
# use the widest vectors of the machine: 5-6 times the speed of the baseline x86-64 loop on data in cache.
# The two loops of every pass and epoch are written out: compilers convert float in four instructions where one does,
# and let additions wait for each other. Dots in cache take 0.6 to 0.9 of the time in float, 0.65 to 0.7 in double.
cdef extern from *:
    """
    #if defined(__has_attribute)
    #  if __has_attribute(target_clones) && defined(__x86_64__) && defined(__gnu_linux__) \\
         && !defined(SPARSELP_NO_CLONES)
    #    define SPARSELP_CLONES __attribute__((target_clones("avx512f", "avx2,fma", "default")))
    #  endif
    #endif
    #ifndef SPARSELP_CLONES
    #  define SPARSELP_CLONES
    #endif
    #ifndef SPARSELP_DENSE_LOOPS
    #define SPARSELP_DENSE_LOOPS
    #include <stdint.h>
    #define SPARSELP_DENSE(T, S)                                                                      \\
    SPARSELP_CLONES static double sparselp_dot_any_##S(const T *x, const double *v, Py_ssize_t n) {       \\
        double total = 0.0;                                                                           \\
        _Pragma("omp simd reduction(+ : total)")                                                      \\
        for (Py_ssize_t i = 0; i < n; i++) total += (double)x[i] * v[i];                              \\
        return total;                                                                                 \\
    }                                                                                                 \\
    SPARSELP_CLONES static double sparselp_wdot_##S(const T *x, const double *d, const double *v,     \\
                                                    Py_ssize_t n) {                                   \\
        double total = 0.0;                                                                           \\
        _Pragma("omp simd reduction(+ : total)")                                                      \\
        for (Py_ssize_t i = 0; i < n; i++) total += (double)x[i] * d[i] * v[i];                       \\
        return total;                                                                                 \\
    }                                                                                                 \\
    SPARSELP_CLONES static double sparselp_spread_##S(const T *x, const double *d, double mean,       \\
                                                      Py_ssize_t n) {                                 \\
        double total = 0.0;                                                                           \\
        _Pragma("omp simd reduction(+ : total)")                                                      \\
        for (Py_ssize_t i = 0; i < n; i++) {                                                          \\
            double away = (double)x[i] - mean;                                                        \\
            total += d[i] * away * away;                                                              \\
        }                                                                                             \\
        return total;                                                                                 \\
    }                                                                                                 \\
    SPARSELP_CLONES static void sparselp_axpy_any_##S(double a, const T *x, double *v, Py_ssize_t n) {    \\
        _Pragma("omp simd")                                                                           \\
        for (Py_ssize_t i = 0; i < n; i++) v[i] += a * (double)x[i];                                  \\
    }                                                                                                 \\
    SPARSELP_CLONES static void sparselp_waxpy_##S(double a, const T *x, const double *d, double *v,  \\
                                                   Py_ssize_t n) {                                    \\
        _Pragma("omp simd")                                                                           \\
        for (Py_ssize_t i = 0; i < n; i++) v[i] += a * d[i] * (double)x[i];                           \\
    }
    SPARSELP_DENSE(float, float)
    SPARSELP_DENSE(double, double)
    #if defined(__x86_64__) && defined(__GNUC__) && !defined(SPARSELP_NO_CLONES)
    #include <immintrin.h>
    #define SPARSELP_WIDE __attribute__((target("avx2,fma"))) static
    #define SPARSELP_LOAD_double(p) _mm256_loadu_pd(p)
    #define SPARSELP_LOAD_float(p) _mm256_cvtps_pd(_mm_loadu_ps(p))
    #define SPARSELP_HAND(T, LOAD)                                                                    \\
    SPARSELP_WIDE double sparselp_dot_wide_##T(const T *x, const double *v, Py_ssize_t n) {           \\
        __m256d a = _mm256_setzero_pd(), b = a, c = a, d = a;                                         \\
        Py_ssize_t i = 0;                                                                             \\
        for (; i + 16 <= n; i += 16) {                                                                \\
            a = _mm256_fmadd_pd(LOAD(x + i), _mm256_loadu_pd(v + i), a);                              \\
            b = _mm256_fmadd_pd(LOAD(x + i + 4), _mm256_loadu_pd(v + i + 4), b);                      \\
            c = _mm256_fmadd_pd(LOAD(x + i + 8), _mm256_loadu_pd(v + i + 8), c);                      \\
            d = _mm256_fmadd_pd(LOAD(x + i + 12), _mm256_loadu_pd(v + i + 12), d);                    \\
        }                                                                                             \\
        for (; i + 4 <= n; i += 4) a = _mm256_fmadd_pd(LOAD(x + i), _mm256_loadu_pd(v + i), a);       \\
        a = _mm256_add_pd(_mm256_add_pd(a, b), _mm256_add_pd(c, d));                                  \\
        __m128d half = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));            \\
        double total = _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));                  \\
        for (; i < n; i++) total += (double)x[i] * v[i];                                              \\
        return total;                                                                                 \\
    }                                                                                                 \\
    SPARSELP_WIDE void sparselp_pair_wide_##T(const T *x, const double *v, const double *w, Py_ssize_t n,\\
                                              double *out) {                                          \\
        __m256d a = _mm256_setzero_pd(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;             \\
        Py_ssize_t i = 0;                                                                             \\
        for (; i + 16 <= n; i += 16) {                                                                \\
            __m256d one = LOAD(x + i), two = LOAD(x + i + 4);                                         \\
            a = _mm256_fmadd_pd(one, _mm256_loadu_pd(v + i), a);                                      \\
            e = _mm256_fmadd_pd(one, _mm256_loadu_pd(w + i), e);                                      \\
            b = _mm256_fmadd_pd(two, _mm256_loadu_pd(v + i + 4), b);                                  \\
            f = _mm256_fmadd_pd(two, _mm256_loadu_pd(w + i + 4), f);                                  \\
            one = LOAD(x + i + 8), two = LOAD(x + i + 12);                                            \\
            c = _mm256_fmadd_pd(one, _mm256_loadu_pd(v + i + 8), c);                                  \\
            g = _mm256_fmadd_pd(one, _mm256_loadu_pd(w + i + 8), g);                                  \\
            d = _mm256_fmadd_pd(two, _mm256_loadu_pd(v + i + 12), d);                                 \\
            h = _mm256_fmadd_pd(two, _mm256_loadu_pd(w + i + 12), h);                                 \\
        }                                                                                             \\
        for (; i + 4 <= n; i += 4) {                                                                  \\
            __m256d one = LOAD(x + i);                                                                \\
            a = _mm256_fmadd_pd(one, _mm256_loadu_pd(v + i), a);                                      \\
            e = _mm256_fmadd_pd(one, _mm256_loadu_pd(w + i), e);                                      \\
        }                                                                                             \\
        a = _mm256_add_pd(_mm256_add_pd(a, b), _mm256_add_pd(c, d));                                  \\
        e = _mm256_add_pd(_mm256_add_pd(e, f), _mm256_add_pd(g, h));                                  \\
        __m128d half = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));            \\
        out[0] = _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));                        \\
        half = _mm_add_pd(_mm256_castpd256_pd128(e), _mm256_extractf128_pd(e, 1));                    \\
        out[1] = _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));                        \\
        for (; i < n; i++) {                                                                          \\
            out[0] += (double)x[i] * v[i];                                                            \\
            out[1] += (double)x[i] * w[i];                                                            \\
        }                                                                                             \\
    }                                                                                                 \\
    SPARSELP_WIDE void sparselp_axpy_wide_##T(double s, const T *x, double *v, Py_ssize_t n) {        \\
        const __m256d a = _mm256_set1_pd(s);                                                          \\
        Py_ssize_t i = 0;                                                                             \\
        for (; i + 8 <= n; i += 8) {                                                                  \\
            __m256d one = _mm256_fmadd_pd(a, LOAD(x + i), _mm256_loadu_pd(v + i));                    \\
            __m256d two = _mm256_fmadd_pd(a, LOAD(x + i + 4), _mm256_loadu_pd(v + i + 4));            \\
            _mm256_storeu_pd(v + i, one);                                                             \\
            _mm256_storeu_pd(v + i + 4, two);                                                         \\
        }                                                                                             \\
        for (; i < n; i++) v[i] = __builtin_fma(s, (double)x[i], v[i]);                               \\
    }
    SPARSELP_HAND(float, SPARSELP_LOAD_float)
    SPARSELP_HAND(double, SPARSELP_LOAD_double)
    #define SPARSELP_IF_WIDE(wide, any)                                                               \\
        (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? wide : any)
    #else
    #define SPARSELP_IF_WIDE(wide, any) (any)
    #endif
    #define SPARSELP_CHOOSE(T)                                                                        \\
    static inline double sparselp_dot_##T(const T *x, const double *v, Py_ssize_t n) {                \\
        return SPARSELP_IF_WIDE(sparselp_dot_wide_##T(x, v, n), sparselp_dot_any_##T(x, v, n));       \\
    }                                                                                                 \\
    static inline void sparselp_axpy_##T(double s, const T *x, double *v, Py_ssize_t n) {             \\
        SPARSELP_IF_WIDE(sparselp_axpy_wide_##T(s, x, v, n), sparselp_axpy_any_##T(s, x, v, n));      \\
    }                                                                                                 \\
    static void sparselp_pair_any_##T(const T *x, const double *v, const double *w, Py_ssize_t n, double *out) {\\
        out[0] = sparselp_dot_any_##T(x, v, n);                                                       \\
        out[1] = sparselp_dot_any_##T(x, w, n);                                                       \\
    }                                                                                                 \\
    static inline void sparselp_pair_##T(const T *x, const double *v, const double *w, Py_ssize_t n, double *out) {\\
        SPARSELP_IF_WIDE(sparselp_pair_wide_##T(x, v, w, n, out), sparselp_pair_any_##T(x, v, w, n, out));\\
    }
    SPARSELP_CHOOSE(float)
    SPARSELP_CHOOSE(double)
    /* Columns of fewer values are summed one after the other: what stands before and after fours takes longer. */
    #define SPARSELP_SHORT 16
    #endif
    """
    double dot_float "sparselp_dot_float"(const float*, const double*, Py_ssize_t) noexcept nogil
    double dot_double "sparselp_dot_double"(const double*, const double*, Py_ssize_t) noexcept nogil
    double spread_float "sparselp_spread_float"(const float*, const double*, double, Py_ssize_t) noexcept nogil
    double spread_double "sparselp_spread_double"(const double*, const double*, double, Py_ssize_t) noexcept nogil
    double wdot_float "sparselp_wdot_float"(const float*, const double*, const double*, Py_ssize_t) noexcept nogil
    double wdot_double "sparselp_wdot_double"(const double*, const double*, const double*, Py_ssize_t) noexcept nogil
    void pair_float "sparselp_pair_float"(
        const float*, const double*, const double*, Py_ssize_t, double*) noexcept nogil
    void pair_double "sparselp_pair_double"(
        const double*, const double*, const double*, Py_ssize_t, double*) noexcept nogil
    void axpy_float "sparselp_axpy_float"(double, const float*, double*, Py_ssize_t) noexcept nogil
    void axpy_double "sparselp_axpy_double"(double, const double*, double*, Py_ssize_t) noexcept nogil
    void waxpy_float "sparselp_waxpy_float"(double, const float*, const double*, double*, Py_ssize_t) noexcept nogil
    void waxpy_double "sparselp_waxpy_double"(double, const double*, const double*, double*, Py_ssize_t) noexcept nogil
    Py_ssize_t SHORT "SPARSELP_SHORT"


cdef inline double column_dot(
    const real_t* data,    # IN, size
    const minor_t* rows,   # IN, size, or NULL
    Py_ssize_t size,
    const double* vector,  # IN
) noexcept nogil:
    # Four partial sums: one would wait out the latency of each addition (sparse: 2 to 3 times slower). Not for short
    # columns: a pass over 88 119 of 8 values takes 1.2 ms in place of 1.75.
    cdef Py_ssize_t k = 0
    cdef double a = 0.0, b = 0.0, c = 0.0, d = 0.0
    if rows == NULL:
        if real_t is float:
            return dot_float(data, vector, size)
        else:
            return dot_double(data, vector, size)
    if size < SHORT:
        for k in range(size):
            a += data[k] * vector[rows[k]]
        return a
    while k + 4 <= size:
        a += data[k] * vector[rows[k]]
        b += data[k + 1] * vector[rows[k + 1]]
        c += data[k + 2] * vector[rows[k + 2]]
        d += data[k + 3] * vector[rows[k + 3]]
        k += 4
    while k < size:
        a += data[k] * vector[rows[k]]
        k += 1
    return (a + b) + (c + d)


cdef inline void dense_pair_dots(
    const real_t* data,    # IN, size
    Py_ssize_t size,
    const double* first,   # IN
    const double* second,  # IN
    double* out,           # OUT, (2,)
) noexcept nogil:
    # Two vectors with one reading of the column, to the same last bit.
    if real_t is float:
        pair_float(data, first, second, size, out)
    else:
        pair_double(data, first, second, size, out)


cdef inline double column_weighted_dot(
    const real_t* data,     # IN, size
    const minor_t* rows,    # IN, size, or NULL
    Py_ssize_t size,
    const double* weights,  # IN
    const double* vector,   # IN
) noexcept nogil:
    cdef Py_ssize_t k = 0
    cdef double a = 0.0, b = 0.0
    if rows == NULL:
        if real_t is float:
            return wdot_float(data, weights, vector, size)
        else:
            return wdot_double(data, weights, vector, size)
    while k + 2 <= size:
        a += data[k] * weights[rows[k]] * vector[rows[k]]
        b += data[k + 1] * weights[rows[k + 1]] * vector[rows[k + 1]]
        k += 2
    if k < size:
        a += data[k] * weights[rows[k]] * vector[rows[k]]
    return a + b


cdef inline double column_spread(
    const real_t* data,     # IN, size
    const minor_t* rows,    # IN, size, or NULL
    Py_ssize_t size,
    const double* weights,  # IN
    double total,           # IN, sum of all weights
    double mean,            # IN
) noexcept nogil:
    # sum_i weights_i (x_i - mean)^2 over all samples: those that are not stored are 0.
    cdef Py_ssize_t k = 0
    cdef double a = 0.0, b = 0.0, stored_a = 0.0, stored_b = 0.0, one, two
    if rows == NULL:
        if real_t is float:
            return spread_float(data, weights, mean, size)
        else:
            return spread_double(data, weights, mean, size)
    if mean == 0.0:
        while k + 2 <= size:
            a += weights[rows[k]] * (data[k] * <double> data[k])
            b += weights[rows[k + 1]] * (data[k + 1] * <double> data[k + 1])
            k += 2
        if k < size:
            a += weights[rows[k]] * (data[k] * <double> data[k])
        return a + b
    while k + 2 <= size:
        one = data[k] - mean
        two = data[k + 1] - mean
        a += weights[rows[k]] * (one * one)
        b += weights[rows[k + 1]] * (two * two)
        stored_a += weights[rows[k]]
        stored_b += weights[rows[k + 1]]
        k += 2
    if k < size:
        one = data[k] - mean
        a += weights[rows[k]] * (one * one)
        stored_a += weights[rows[k]]
    stored_a += stored_b
    a += b
    # What a full column seems to lack is rounding.
    return a + (total - stored_a) * mean * mean if total - stored_a > size * EPS * total else a


cdef inline void column_axpy(
    double scale,
    const real_t* data,   # IN, size
    const minor_t* rows,  # IN, size, or NULL
    Py_ssize_t size,
    double* vector,       # IN/OUT
) noexcept nogil:
    cdef Py_ssize_t k
    if rows == NULL:
        if real_t is float:
            axpy_float(scale, data, vector, size)
        else:
            axpy_double(scale, data, vector, size)
        return
    for k in range(size):
        vector[rows[k]] += scale * data[k]


cdef inline void column_weighted_axpy(
    double scale,
    const real_t* data,     # IN, size
    const minor_t* rows,    # IN, size, or NULL
    Py_ssize_t size,
    const double* weights,  # IN
    double* vector,         # IN/OUT
) noexcept nogil:
    cdef Py_ssize_t k
    if rows == NULL:
        if real_t is float:
            waxpy_float(scale, data, weights, vector, size)
        else:
            waxpy_double(scale, data, weights, vector, size)
        return
    for k in range(size):
        vector[rows[k]] += scale * weights[rows[k]] * data[k]


cdef inline Py_ssize_t first_from(const minor_t* rows, Py_ssize_t size, Py_ssize_t bound) noexcept nogil:
    # The first entry of an ascending column whose row is not below the bound.
    cdef Py_ssize_t first = 0, half
    while size > 0:
        half = size // 2
        if rows[first + half] < bound:
            first += half + 1
            size -= half + 1
        else:
            size = half
    return first


cdef inline void column_axpy_within(
    double scale,
    const real_t* data,    # IN, size
    const minor_t* rows,   # IN, size, ascending, or NULL
    Py_ssize_t size,
    Py_ssize_t first_row,
    Py_ssize_t last_row,
    bint whole,            # whether these are all rows
    double* vector,        # IN/OUT
) noexcept nogil:
    # The rows from first_row up to last_row alone: threads that share a vector each write a part of it.
    cdef Py_ssize_t first
    if whole:
        column_axpy(scale, data, rows, size, vector)
    elif rows == NULL:
        column_axpy(scale, data + first_row, rows, last_row - first_row, vector + first_row)
    elif rows[0] < last_row and rows[size - 1] >= first_row:
        first = first_from(rows, size, first_row)
        column_axpy(
            scale, data + first, rows + first, first_from(rows + first, size - first, last_row), vector
        )
