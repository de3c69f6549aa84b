# Sparse columns with several vectors whose entries lie side by side.

from ._columns cimport SHORT  # no-cython-lint: its file defines SPARSELP_CLONES and SPARSELP_SHORT
from ._types cimport index_t, int32_t, int64_t, minor_t, real_t, uint16_t

cdef extern from *:
    """
    #ifndef SPARSELP_PANELS
    /* Sparse columns with four vectors whose entries lie side by side: one line of memory where four would be read.
       Without fused additions, in the order of `column_dot`: the same to the last bit. */
    #if defined(SPARSELP_NO_CLONES) || !defined(__has_attribute) || !defined(__x86_64__) || !defined(__gnu_linux__)
    #define SPARSELP_UNFUSED static
    #elif __has_attribute(target_clones)
    #define SPARSELP_UNFUSED __attribute__((target_clones("avx2", "default"))) static
    #else
    #define SPARSELP_UNFUSED static
    #endif
    #define SPARSELP_FOURS(T, I, P)                                                                   \\
    SPARSELP_UNFUSED void sparselp_fours_##T##_##I(const T *x, const I *rows, const P *indptr,        \\
                                                   Py_ssize_t first, Py_ssize_t last, const double *v,\\
                                                   double *out, Py_ssize_t stride, Py_ssize_t n_out) {\\
        for (Py_ssize_t j = first; j < last; j++) {                                                   \\
            double a[4] = {0}, b[4] = {0}, c[4] = {0}, d[4] = {0};                                    \\
            Py_ssize_t k = indptr[j], stop = indptr[j + 1];                                           \\
            for (; stop - indptr[j] >= SPARSELP_SHORT && k + 4 <= stop; k += 4) {                     \\
                const double *p = v + 4 * (Py_ssize_t)rows[k], *q = v + 4 * (Py_ssize_t)rows[k + 1];  \\
                const double *s = v + 4 * (Py_ssize_t)rows[k + 2], *t = v + 4 * (Py_ssize_t)rows[k + 3];\\
                for (int r = 0; r < 4; r++) {                                                         \\
                    a[r] += (double)x[k] * p[r];                                                      \\
                    b[r] += (double)x[k + 1] * q[r];                                                  \\
                    c[r] += (double)x[k + 2] * s[r];                                                  \\
                    d[r] += (double)x[k + 3] * t[r];                                                  \\
                }                                                                                     \\
            }                                                                                         \\
            for (; k < stop; k++) {                                                                   \\
                const double *p = v + 4 * (Py_ssize_t)rows[k];                                        \\
                for (int r = 0; r < 4; r++) a[r] += (double)x[k] * p[r];                              \\
            }                                                                                         \\
            for (int r = 0; r < 4; r++) a[r] = (a[r] + b[r]) + (c[r] + d[r]);                         \\
            for (Py_ssize_t r = 0; r < n_out; r++) out[r * stride + j] = a[r];                        \\
        }                                                                                             \\
    }
    SPARSELP_FOURS(float, uint16_t, int32_t)
    SPARSELP_FOURS(float, int32_t, int32_t)
    SPARSELP_FOURS(float, int64_t, int64_t)
    SPARSELP_FOURS(double, uint16_t, int32_t)
    SPARSELP_FOURS(double, int32_t, int32_t)
    SPARSELP_FOURS(double, int64_t, int64_t)
    /* The values of a column in the rows from `first` up to `end`, each with the row of a dense panel of W columns. */
    #define SPARSELP_PANEL(T, I, W)                                                                   \\
    SPARSELP_CLONES static Py_ssize_t sparselp_panel_##T##_##I##_##W(                                 \\
        const T *x, const I *rows, Py_ssize_t n, Py_ssize_t first, Py_ssize_t end, const double *panel,\\
        double *sums) {                                                                               \\
        double s[W];                                                                                  \\
        Py_ssize_t k = 0;                                                                             \\
        for (int r = 0; r < W; r++) s[r] = sums[r];                                                   \\
        for (; k < n && (Py_ssize_t)rows[k] < end; k++) {                                             \\
            const double *p = panel + W * ((Py_ssize_t)rows[k] - first);                              \\
            double v = (double)x[k];                                                                  \\
            _Pragma("omp simd")                                                                       \\
            for (int r = 0; r < W; r++) s[r] += v * p[r];                                             \\
        }                                                                                             \\
        for (int r = 0; r < W; r++) sums[r] = s[r];                                                   \\
        return k;                                                                                     \\
    }
    #define SPARSELP_PANELS(T, I)                                                                     \\
    SPARSELP_PANEL(T, I, 4) SPARSELP_PANEL(T, I, 8) SPARSELP_PANEL(T, I, 16) SPARSELP_PANEL(T, I, 32) \\
    static inline Py_ssize_t sparselp_panel_##T##_##I(                                                \\
        const T *x, const I *rows, Py_ssize_t n, Py_ssize_t first, Py_ssize_t end, Py_ssize_t width,  \\
        const double *panel, double *sums) {                                                          \\
        if (width == 4) return sparselp_panel_##T##_##I##_4(x, rows, n, first, end, panel, sums);     \\
        if (width == 8) return sparselp_panel_##T##_##I##_8(x, rows, n, first, end, panel, sums);     \\
        if (width == 16) return sparselp_panel_##T##_##I##_16(x, rows, n, first, end, panel, sums);   \\
        return sparselp_panel_##T##_##I##_32(x, rows, n, first, end, panel, sums);                    \\
    }
    SPARSELP_PANELS(float, uint16_t)
    SPARSELP_PANELS(float, int32_t)
    SPARSELP_PANELS(float, int64_t)
    SPARSELP_PANELS(double, uint16_t)
    SPARSELP_PANELS(double, int32_t)
    SPARSELP_PANELS(double, int64_t)
    #endif
    """
    void fours_float_16 "sparselp_fours_float_uint16_t"(
        const float*, const uint16_t*, const int32_t*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t,
        Py_ssize_t) noexcept nogil
    void fours_float_32 "sparselp_fours_float_int32_t"(
        const float*, const int32_t*, const int32_t*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t,
        Py_ssize_t) noexcept nogil
    void fours_float_64 "sparselp_fours_float_int64_t"(
        const float*, const int64_t*, const int64_t*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t,
        Py_ssize_t) noexcept nogil
    void fours_double_16 "sparselp_fours_double_uint16_t"(
        const double*, const uint16_t*, const int32_t*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t,
        Py_ssize_t) noexcept nogil
    void fours_double_32 "sparselp_fours_double_int32_t"(
        const double*, const int32_t*, const int32_t*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t,
        Py_ssize_t) noexcept nogil
    void fours_double_64 "sparselp_fours_double_int64_t"(
        const double*, const int64_t*, const int64_t*, Py_ssize_t, Py_ssize_t, const double*, double*, Py_ssize_t,
        Py_ssize_t) noexcept nogil
    Py_ssize_t panel_float_16 "sparselp_panel_float_uint16_t"(
        const float*, const uint16_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*
    ) noexcept nogil
    Py_ssize_t panel_float_32 "sparselp_panel_float_int32_t"(
        const float*, const int32_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*
    ) noexcept nogil
    Py_ssize_t panel_float_64 "sparselp_panel_float_int64_t"(
        const float*, const int64_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*
    ) noexcept nogil
    Py_ssize_t panel_double_16 "sparselp_panel_double_uint16_t"(
        const double*, const uint16_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*
    ) noexcept nogil
    Py_ssize_t panel_double_32 "sparselp_panel_double_int32_t"(
        const double*, const int32_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*
    ) noexcept nogil
    Py_ssize_t panel_double_64 "sparselp_panel_double_int64_t"(
        const double*, const int64_t*, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, double*
    ) noexcept nogil


cdef inline Py_ssize_t column_with_panel(
    const real_t* data,   # IN, size
    const minor_t* rows,  # IN, size, ascending from `first` on
    Py_ssize_t size,
    Py_ssize_t first,
    Py_ssize_t end,
    Py_ssize_t width,     # 4, 8, 16 or 32
    const double* panel,  # IN, (end - first, width)
    double* sums,         # IN/OUT, (width,)
) noexcept nogil:
    # Add the values in the rows up to `end`, times those of the panel; return how many there are.
    if real_t is float and minor_t is uint16_t:
        return panel_float_16(data, rows, size, first, end, width, panel, sums)
    elif real_t is float and minor_t is int32_t:
        return panel_float_32(data, rows, size, first, end, width, panel, sums)
    elif real_t is float and minor_t is int64_t:
        return panel_float_64(data, rows, size, first, end, width, panel, sums)
    elif real_t is double and minor_t is uint16_t:
        return panel_double_16(data, rows, size, first, end, width, panel, sums)
    elif real_t is double and minor_t is int32_t:
        return panel_double_32(data, rows, size, first, end, width, panel, sums)
    elif real_t is double and minor_t is int64_t:
        return panel_double_64(data, rows, size, first, end, width, panel, sums)


cdef inline void columns_with_four(
    const real_t* data,      # IN
    const minor_t* rows,     # IN
    const index_t* indptr,   # IN
    Py_ssize_t first,
    Py_ssize_t last,
    const double* vectors,   # IN, (n_samples, 4)
    double* out,             # OUT, (n_out, n_columns), the columns from first up to last
    Py_ssize_t n_columns,
    Py_ssize_t n_out,
) noexcept nogil:
    # Others than these do not occur.
    if minor_t is int64_t and index_t is int64_t:
        if real_t is float:
            fours_float_64(data, rows, indptr, first, last, vectors, out, n_columns, n_out)
        else:
            fours_double_64(data, rows, indptr, first, last, vectors, out, n_columns, n_out)
    elif minor_t is int32_t and index_t is int32_t:
        if real_t is float:
            fours_float_32(data, rows, indptr, first, last, vectors, out, n_columns, n_out)
        else:
            fours_double_32(data, rows, indptr, first, last, vectors, out, n_columns, n_out)
    elif minor_t is uint16_t and index_t is int32_t:
        if real_t is float:
            fours_float_16(data, rows, indptr, first, last, vectors, out, n_columns, n_out)
        else:
            fours_double_16(data, rows, indptr, first, last, vectors, out, n_columns, n_out)
