# One column (or row) of X against a vector of doubles.
# Invariant: data[0..size) are the stored values; rows is NULL for dense storage, else the position of each value in
# the vector.
# Sums accumulate in double whatever the storage type.

from ._types cimport index_t, real_t

# Dense loops are C so that the compiler may reorder the sum (omp simd) and, where the loader can choose at run time,
# use the widest vectors of the machine: 5-6 times the speed of the baseline x86-64 loop on data in cache.
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
    #define SPARSELP_DENSE(T, S)                                                                      \\
    SPARSELP_CLONES static double sparselp_dot_##S(const T *x, const double *v, Py_ssize_t n) {       \\
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
    SPARSELP_CLONES static void sparselp_axpy_##S(double a, const T *x, double *v, Py_ssize_t n) {    \\
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
    #endif
    """
    double dot_float "sparselp_dot_float"(const float*, const double*, Py_ssize_t) noexcept nogil
    double dot_double "sparselp_dot_double"(const double*, const double*, Py_ssize_t) noexcept nogil
    double spread_float "sparselp_spread_float"(const float*, const double*, double, Py_ssize_t) noexcept nogil
    double spread_double "sparselp_spread_double"(const double*, const double*, double, Py_ssize_t) noexcept nogil
    double wdot_float "sparselp_wdot_float"(const float*, const double*, const double*, Py_ssize_t) noexcept nogil
    double wdot_double "sparselp_wdot_double"(const double*, const double*, const double*, Py_ssize_t) noexcept nogil
    void axpy_float "sparselp_axpy_float"(double, const float*, double*, Py_ssize_t) noexcept nogil
    void axpy_double "sparselp_axpy_double"(double, const double*, double*, Py_ssize_t) noexcept nogil
    void waxpy_float "sparselp_waxpy_float"(double, const float*, const double*, double*, Py_ssize_t) noexcept nogil
    void waxpy_double "sparselp_waxpy_double"(double, const double*, const double*, double*, Py_ssize_t) noexcept nogil


cdef inline double column_dot(
    const real_t* data,    # IN, size
    const index_t* rows,   # IN, size, or NULL
    Py_ssize_t size,
    const double* vector,  # IN
) noexcept nogil:
    # Four partial sums: one would wait out the latency of each addition (sparse: 2 to 3 times slower).
    cdef Py_ssize_t k = 0
    cdef double a = 0.0, b = 0.0, c = 0.0, d = 0.0
    if rows == NULL:
        if real_t is float:
            return dot_float(data, vector, size)
        else:
            return dot_double(data, vector, size)
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


cdef inline double column_weighted_dot(
    const real_t* data,     # IN, size
    const index_t* rows,    # IN, size, or NULL
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
    const index_t* rows,    # IN, size, or NULL
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
    return a + (total - stored_a) * mean * mean if total > stored_a else a


cdef inline void column_axpy(
    double scale,
    const real_t* data,   # IN, size
    const index_t* rows,  # IN, size, or NULL
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
    const index_t* rows,    # IN, size, or NULL
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
