# Log loss on whole vectors, in C without branches or calls so that the compiler takes vectors of the machine: 2 to 4 ns
# a sample where exp and log1p of the C library take 28.
# exp: 2^k e^r with |r| <= log(2) / 2, a Taylor polynomial whose next term is 4e-18 of it; subnormal results are kept.
# log1p of t in [-1/2, 1]: 2 artanh(t / (2 + t)), to the same accuracy however small t is. Four sums side by side each:
# one after the other the additions would wait for each other. log: that of a factor in [sqrt(1/2), sqrt(2)) beside 2^k.

from ._columns cimport dot_double  # no-cython-lint: its file defines SPARSELP_CLONES

cdef extern from *:
    """
    #ifndef SPARSELP_LOGISTIC
    #define SPARSELP_LOGISTIC
    #include <math.h>
    #include <stdint.h>
    #include <string.h>
    #define SPARSELP_ROUND 6755399441055744.0
    /* 2^k for an integer k in [-1022, 1023]: the low bits of 1.5 * 2^52 + n are those of n. */
    static inline double sparselp_power(double k) {
        double sum = k + 1023.0 + SPARSELP_ROUND;
        uint64_t bits;
        memcpy(&bits, &sum, sizeof bits);
        bits <<= 52;
        memcpy(&sum, &bits, sizeof bits);
        return sum;
    }
    static inline double sparselp_exp_minus(double size) {
        double x = size > 800.0 ? -800.0 : -size;
        double k = (x * 1.4426950408889634 + SPARSELP_ROUND) - SPARSELP_ROUND;
        double half = (0.5 * k + SPARSELP_ROUND) - SPARSELP_ROUND;
        double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
        double r2 = r * r, r4 = r2 * r2;
        double a = 1.0 / 2.0 + r4 * (1.0 / 720.0 + r4 * (1.0 / 3628800.0));
        double b = 1.0 / 6.0 + r4 * (1.0 / 5040.0 + r4 * (1.0 / 39916800.0));
        double c = 1.0 / 24.0 + r4 * (1.0 / 40320.0 + r4 * (1.0 / 479001600.0));
        double d = 1.0 / 120.0 + r4 * (1.0 / 362880.0 + r4 * (1.0 / 6227020800.0));
        double e = 1.0 + (r + r2 * ((a + r * b) + r2 * (c + r * d)));
        return e * sparselp_power(half) * sparselp_power(k - half);
    }
    /* 2 artanh(z) for |z| up to 1/3. */
    static inline double sparselp_artanh_twice(double z) {
        double w = z * z, w2 = w * w, w4 = w2 * w2;
        double a = 1.0 / 3.0 + w4 * (1.0 / 11.0 + w4 * (1.0 / 19.0 + w4 * (1.0 / 27.0)));
        double b = 1.0 / 5.0 + w4 * (1.0 / 13.0 + w4 * (1.0 / 21.0 + w4 * (1.0 / 29.0)));
        double c = 1.0 / 7.0 + w4 * (1.0 / 15.0 + w4 * (1.0 / 23.0 + w4 * (1.0 / 31.0)));
        double d = 1.0 / 9.0 + w4 * (1.0 / 17.0 + w4 * (1.0 / 25.0 + w4 * (1.0 / 33.0)));
        return 2.0 * (z + z * (w * ((a + w * b) + w2 * (c + w * d))));
    }
    static inline double sparselp_log_one_plus(double t) {
        return sparselp_artanh_twice(t / (2.0 + t));
    }
    /* Of a normal number. Conversions of 64-bit integers are written as additions: AVX2 has none. */
    static inline double sparselp_log(double x) {
        uint64_t bits, exponent;
        double k, m;
        memcpy(&bits, &x, sizeof bits);
        exponent = (bits - UINT64_C(0x3fe6a09e667f3bcd) + (UINT64_C(1024) << 52)) >> 52;
        bits -= (exponent - 1024) << 52;
        memcpy(&m, &bits, sizeof m);
        bits = exponent | UINT64_C(0x4330000000000000);
        memcpy(&k, &bits, sizeof k);
        k -= 4503599627370496.0 + 1024.0;
        return k * 0.693147180369123816490 + (sparselp_artanh_twice((m - 1.0) / (m + 1.0))
                                               + k * 1.90821492927058770002e-10);
    }
    /* What speaks against the label has the sign of `against`: loss = log(1 + exp(against)). */
    SPARSELP_CLONES static double sparselp_log_loss(const double *y, const double *f, const double *s, Py_ssize_t n) {
        double total = 0.0;
        _Pragma("omp simd reduction(+ : total)")
        for (Py_ssize_t i = 0; i < n; i++) {
            double against = y[i] > 0.5 ? -f[i] : f[i];
            double value = sparselp_log_one_plus(sparselp_exp_minus(fabs(f[i]))) + (against > 0.0 ? against : 0.0);
            total += s[i] > 0.0 ? s[i] * value : 0.0;
        }
        return total;
    }
    SPARSELP_CLONES static double sparselp_log_loss_bent(const double *y, const double *f, const double *s,
                                                         Py_ssize_t n, double *gradient, double *curvature) {
        double total = 0.0;
        _Pragma("omp simd reduction(+ : total)")
        for (Py_ssize_t i = 0; i < n; i++) {
            double against = y[i] > 0.5 ? -f[i] : f[i];
            double small = sparselp_exp_minus(fabs(f[i]));
            double likely = 1.0 / (1.0 + small), unlikely = small * likely;
            double slope = s[i] * (against > 0.0 ? likely : unlikely);
            double value = sparselp_log_one_plus(small) + (against > 0.0 ? against : 0.0);
            gradient[i] = y[i] > 0.5 ? -slope : slope;
            curvature[i] = s[i] * likely * unlikely;
            total += s[i] > 0.0 ? s[i] * value : 0.0;
        }
        return total;
    }
    /* The sum of s_i (a_i log a_i + (1 - a_i) log(1 - a_i)), a_i = |scale dual_i| / s_i.
       Infinite where a_i is above 1 or dual_i does not have the sign of 1 - 2 y_i. */
    SPARSELP_CLONES static double sparselp_log_loss_conjugate(const double *y, const double *dual, double scale,
                                                              const double *s, Py_ssize_t n) {
        double total = 0.0, wrong = 0.0;
        _Pragma("omp simd reduction(+ : total, wrong)")
        for (Py_ssize_t i = 0; i < n; i++) {
            double weight = s[i] > 0.0 ? s[i] : 1.0, size = s[i] > 0.0 ? dual[i] : 0.0;
            double share = scale * size / weight, a = y[i] > 0.5 ? -share : share, rest = 1.0 - a;
            double small = a > 0.5 ? rest : a, inside = small > 2.3e-308 ? small : 0.5;
            double value = inside * sparselp_log(inside) + (1.0 - inside) * sparselp_log_one_plus(-inside);
            double term = weight * value;
            wrong += (a < 0.0) | (a > 1.0 + 1e-14) ? 1.0 : 0.0;
            total += small > 2.3e-308 ? term : 0.0;
        }
        return wrong > 0.0 ? INFINITY : total;
    }
    SPARSELP_CLONES static void sparselp_log_loss_slopes(const double *y, const double *f, const double *s,
                                                         Py_ssize_t n, double shift, double *sums) {
        double slope = 0.0, bend = 0.0, size = 0.0;
        _Pragma("omp simd reduction(+ : slope, bend, size)")
        for (Py_ssize_t i = 0; i < n; i++) {
            double value = f[i] + shift, against = y[i] > 0.5 ? -value : value;
            double small = sparselp_exp_minus(fabs(value));
            double likely = s[i] / (1.0 + small), unlikely = small * likely;
            double miss = against > 0.0 ? likely : unlikely;
            bend += likely * small / (1.0 + small);
            size += miss;
            slope += y[i] > 0.5 ? -miss : miss;
        }
        sums[0] = slope;
        sums[1] = bend;
        sums[2] = size;
    }
    #endif
    """
    double log_loss "sparselp_log_loss"(const double*, const double*, const double*, Py_ssize_t) noexcept nogil
    double log_loss_bent "sparselp_log_loss_bent"(
        const double*, const double*, const double*, Py_ssize_t, double*, double*
    ) noexcept nogil
    double log_loss_conjugate "sparselp_log_loss_conjugate"(
        const double* y, const double* dual, double scale, const double* s, Py_ssize_t n
    ) noexcept nogil
    void log_loss_slopes "sparselp_log_loss_slopes"(
        const double*, const double*, const double*, Py_ssize_t, double, double*
    ) noexcept nogil
