# Scalar proximal maps of scale |.|^p for every p >= 0, exact to a few units in the last place.
# With t = z s the root of t + scale p t^(p-1) = z is that of s + a s^(p-1) = 1, a = scale p z^(p-2): one number
# decides everything. Ties at the threshold go to 0.

from libc.math cimport INFINITY, cbrt, copysign, exp, expm1, fabs, isfinite, isnan, log, log1p, log2, pow, sqrt
from libc.stdint cimport int64_t


cdef enum ProxRule:
    PROX_COUNT      # p = 0
    PROX_HALF       # p = 1/2
    PROX_TWO_THIRDS  # p = 2/3
    PROX_CONCAVE    # other p < 1
    PROX_SOFT       # p = 1
    PROX_THREE_HALVES  # p = 3/2
    PROX_RIDGE      # p = 2
    PROX_CUBE       # p = 3
    PROX_CONVEX     # other p > 1


cdef struct LpProx:
    double p
    ProxRule rule
    double log2_p
    double log2_limit  # log2 of the largest a with a root other than 0, for p < 1
    double start       # smallest s of such a root
    double power       # 1 / (2 - p)
    # log2 s at equidistant log2 a, with its slope times the distance: where Halley's iteration starts.
    double first_knot
    double knots_per_unit
    double[513] root
    double[513] slope


cdef extern from *:
    """
    #ifndef SPARSELP_FAST_LOG2
    #define SPARSELP_FAST_LOG2
    #include <stdint.h>
    #include <string.h>
    /* log2 to 1e-7 absolute, for positive normal numbers: 2 ns against 8. */
    static inline double sparselp_fast_log2(double x) {
        int64_t bits, exponent;
        double f, square;
        memcpy(&bits, &x, sizeof bits);
        exponent = (bits - 0x3fe6a09e667f3bcdLL) >> 52;  /* mantissa in [sqrt(1/2), sqrt(2)) */
        bits -= exponent << 52;
        memcpy(&x, &bits, sizeof x);
        f = (x - 1.0) / (x + 1.0);
        square = f * f;
        return (double)exponent +
               f * ((2.8853900817779268 + square * 0.9617966939259756) +
                    (square * square) * (0.5770780163555854 + square * 0.4121985831111324));
    }
    /* 2^x to 2e-7 relative; 0 below the range of doubles, a huge number above it. */
    static inline double sparselp_fast_exp2(double x) {
        double whole, r, square;
        int64_t bits;
        if (x < -1000.0) return 0.0;
        if (x > 1000.0) return 1e300;
        whole = (x + 6755399441055744.0) - 6755399441055744.0;
        r = (x - whole) * 0.6931471805599453;
        square = r * r;  /* in parallel: a chain of six products takes twice as long */
        r = (1.0 + r) + square * ((0.5 + r * (1.0 / 6)) +
                                  square * ((1.0 / 24 + r * (1.0 / 120)) + square * (1.0 / 720)));
        bits = (int64_t)((uint64_t)((int64_t)whole + 1023) << 52);
        memcpy(&x, &bits, sizeof x);
        return r * x;
    }
    /* x^(-1/3) for 1e-290 < x < 1e300, no division: a step of order six from within 4 % leaves 2e-7, another one
       of order four 2 units in the last place. */
    static inline double sparselp_rough_inverse_cbrt(double x) {
        int64_t bits;
        double y, e, square;
        memcpy(&bits, &x, sizeof bits);
        bits = 0x553ef0ff289dd796LL - bits / 3;
        memcpy(&y, &bits, sizeof y);
        e = 1.0 - (x * y) * (y * y);
        square = e * e;
        return y + (y * e) * ((1.0 / 3 + e * (2.0 / 9)) +
                              square * ((14.0 / 81 + e * (35.0 / 243)) + square * (91.0 / 729)));
    }
    static inline double sparselp_inverse_cbrt(double x) {
        double y = sparselp_rough_inverse_cbrt(x), e;
        e = 1.0 - x * y * y * y;
        return y + y * e * (1.0 / 3 + e * (2.0 / 9 + e * (14.0 / 81)));
    }
    #endif
    """
    double inverse_cbrt "sparselp_inverse_cbrt"(double x) noexcept nogil
    double rough_inverse_cbrt "sparselp_rough_inverse_cbrt"(double x) noexcept nogil
    double fast_log2 "sparselp_fast_log2"(double x) noexcept nogil
    double fast_exp2 "sparselp_fast_exp2"(double x) noexcept nogil


cdef inline void lp_prox_init(LpProx* self, double p) noexcept nogil:
    """Choose the rule for p >= 0 and precompute what depends on p alone."""
    self.p = p
    self.log2_p = log2(p) if p > 0.0 else 0.0
    self.log2_limit = INFINITY
    self.start = 0.0
    self.power = 0.0
    if p == 0.0:
        self.rule = PROX_COUNT
    elif p == 0.5:
        self.rule = PROX_HALF
    elif p == 2.0 / 3.0:
        self.rule = PROX_TWO_THIRDS
    elif p < 1.0:
        self.rule = PROX_CONCAVE
        self.start = 2.0 * (1.0 - p) / (2.0 - p)
        self.log2_limit = log2(p) - log2(2.0 - p) + (1.0 - p) * log2(self.start)
        self.power = 1.0 / (2.0 - p)
    elif p == 1.0:
        self.rule = PROX_SOFT
    elif p == 1.5:
        self.rule = PROX_THREE_HALVES
    elif p == 2.0:
        self.rule = PROX_RIDGE
    elif p == 3.0:
        self.rule = PROX_CUBE
    else:
        self.rule = PROX_CONVEX
    if self.rule == PROX_CONCAVE or self.rule == PROX_CONVEX:
        lp_prox_tabulate(self)


cdef inline void lp_prox_tabulate(LpProx* self) noexcept nogil:
    # Below the first knot s = 1, beyond the last one s = a^(-1/(p-1)), both to within 1e-6.
    cdef double p = self.p, last, distance, log2_a, v = 0.0, left, right, total, slope, step
    cdef int k, _
    last = self.log2_limit if p < 1.0 else 20.0 * (p - 1.0) + 8.0
    self.first_knot = -20.0
    distance = (last + 20.0) / 512
    self.knots_per_unit = 1.0 / distance
    for k in range(513):
        log2_a = -20.0 + k * distance
        # From the right of the root of a convex function, see prox_general; the last root is close.
        if p > 1.0 and log2_a > 0.0 and -log2_a / (p - 1.0) > v:
            v = -log2_a / (p - 1.0)
        if p < 1.0:
            v = 0.0
        for _ in range(60):
            left = fast_exp2(v)
            right = fast_exp2(log2_a + (p - 1.0) * v)
            total = left + right
            slope = (left + (p - 1.0) * right) / total
            step = fast_log2(total) / slope
            v -= step
            if fabs(step) < 1e-6:
                break
        self.root[k] = v
        self.slope[k] = -right / (left + (p - 1.0) * right) * distance


cdef inline double lp_prox(const LpProx* self, double z, double scale) noexcept nogil:
    """Return ``argmin_t (t - z)^2 / 2 + scale |t|^p``.

    scale = 0 gives z, scale = infinity 0; NaN gives NaN.
    """
    cdef double size = fabs(z), t
    if self.rule == PROX_SOFT:
        # First: it is the rule of most inner loops. NaN passes through the subtraction.
        t = size - scale
        if t <= 0.0:
            return 0.0
        return copysign(t, z)
    if self.rule == PROX_RIDGE:
        return z / (1.0 + 2.0 * scale) if scale < 1e300 else (0.5 * z) / (0.5 + scale)
    if isnan(z) or isnan(scale):
        return z + scale
    if scale == 0.0 or size == 0.0:
        return z
    if scale == INFINITY:
        return 0.0
    if size == INFINITY:
        return z
    if self.rule == PROX_HALF:
        t = prox_half(size, scale)
    elif self.rule == PROX_TWO_THIRDS:
        t = prox_two_thirds(size, scale)
    elif self.rule == PROX_COUNT:
        t = size if size > (sqrt(2.0 * scale) if scale < 1e300 else sqrt(2.0) * sqrt(scale)) else 0.0
    elif self.rule == PROX_THREE_HALVES:
        t = prox_three_halves(size, scale)
    elif self.rule == PROX_CUBE:
        t = prox_cube(size, scale)
    else:
        t = prox_general(self, size, scale)
    # Signs are hard to predict: a branch costs 5 ns. Adding 0 makes a zero positive.
    return copysign(t, z) + 0.0


cdef inline double prox_half(double z, double scale) noexcept nogil:
    # q = sqrt(s): q^3 - q + a = 0 for a < 2/sqrt(54), the larger root: a polynomial within 1e-6 (interpolation at
    # Chebyshev nodes), then one step of Halley. Xu et al. 2012 write the root with arc cosines: 3 times slower.
    cdef double a = 0.5 * (scale / z) / sqrt(z)
    cdef double square = a * a
    cdef double q, value, slope
    if not a < 0.27216552697590868:
        return 0.0
    q = (
        1.0000004501853317
        + square * (-0.3604734340463713 + square * (4.2675060875622295 + square * 113.74026749723127))
        + a * (-0.5002008812902917 + square * (
            -0.8931951935167752 + square * (-35.68279879542944 + square * -171.88536443903652)))
    )
    value = (q * q - 1.0) * q + a
    slope = 3.0 * q * q - 1.0
    q -= value * slope / (slope * slope - 3.0 * q * value)
    return z * q * q


cdef inline double prox_two_thirds(double z, double scale) noexcept nogil:
    # u = t^(1/3): u^4 - z u + 2/3 scale = 0 (Cao, Sun, Xu 2013 solve it by radicals). From r = u / z^(1/3), a
    # polynomial in a = 2/3 scale z^(-4/3) < (1/2)^(4/3), one step of Halley in u, so that no exact cube root is needed.
    cdef double a, root, u, square, value, slope, constant = (2.0 / 3.0) * scale
    if 1e-70 < z < 1e70:
        root = rough_inverse_cbrt(z)
        a = (constant / z) * root
        if not a < 0.39685026299204984 * (1.0 - 1e-5):
            if a > 0.39685026299204984 * (1.0 + 1e-5) or not constant * inverse_cbrt(z) / z < 0.39685026299204984:
                return 0.0
        u = rough_two_thirds(a) * z * root * root
        square = u * u
        value = (square * u - z) * u + constant
        slope = 4.0 * square * u - z
        u -= value * slope / (slope * slope - 6.0 * square * value)
        square = u * u * u
        return square if square < z else z
    a = constant / z
    a = a * inverse_cbrt(z) if z > 1e-290 else a / cbrt(z)
    if not a < 0.39685026299204984:
        return 0.0
    u = rough_two_thirds(a)
    square = u * u
    value = (square * u - 1.0) * u + a
    slope = 4.0 * square * u - 1.0
    u -= value * slope / (slope * slope - 6.0 * square * value)
    return z * (u * u * u)


cdef inline double rough_two_thirds(double a) noexcept nogil:
    # The larger root of r^4 - r + a = 0 within 3e-7: interpolated at Chebyshev nodes.
    cdef double square = a * a
    return (
        0.99999970394964 + square * (-0.23850691404244506 + square * (
            -11.431829383931 + square * (-767.5841753044361 + square * (
                -7510.186247858674 + square * -5949.142801740857))))
        + a * (-0.3331618917405322 + square * (0.3505138339596321 + square * (
            117.74401942760171 + square * (3080.260204163717 + square * 10183.25595146402))))
    )


cdef inline double prox_three_halves(double z, double scale) noexcept nogil:
    # q = sqrt(s): q^2 + 2 h q - 1 = 0.
    cdef double h = 0.75 * (scale / sqrt(z))
    cdef double q = 1.0 / (h + sqrt(h * h + 1.0)) if h < 1e9 else 0.5 / h
    return z * q * q


cdef inline double prox_cube(double z, double scale) noexcept nogil:
    # 3 scale t^2 + t - z = 0, without the cancellation of the textbook root.
    cdef double product = 12.0 * (scale * z)
    if not isfinite(product):
        return sqrt(z) / (sqrt(3.0) * sqrt(scale))
    return 2.0 * (z / (1.0 + sqrt(1.0 + product)))


cdef inline double prox_term(const LpProx* self, double t, double scale) noexcept nogil:
    # scale p t^(p-1), through the square root of the power where the power itself would leave the range of doubles.
    # Below 1/2 the exponent p - 1 is not exact, and log t of 600 would multiply its error.
    cdef double power = pow(t, self.p - 1.0) if self.p >= 0.5 else pow(t, self.p) / t
    if 1e-290 < power < 1e290:
        return scale * self.p * power if scale < 1e290 else (scale * power) * self.p
    if self.p < 0.5:
        return scale * pow(t, self.p) / t * self.p
    power = pow(t, 0.5 * (self.p - 1.0))
    return ((scale * power) * power) * self.p


cdef inline double prox_general(const LpProx* self, double z, double scale) noexcept nogil:
    cdef double p = self.p, log2_a, v, place, rest, t, term, value, slope, step
    cdef int _, k
    log2_a = fast_log2(scale) + self.log2_p + (p - 2.0) * fast_log2(z)
    if p < 1.0:
        if log2_a > self.log2_limit + 1e-4:
            return 0.0
        if log2_a > self.log2_limit - 1e-4 and z <= prox_threshold(self, scale):
            return 0.0
    place = (log2_a - self.first_knot) * self.knots_per_unit
    if place <= 0.0:
        v = 0.0
    elif place < 512.0:
        # Cubic Hermite interpolation.
        k = <int> place
        rest = place - k
        step = self.root[k + 1] - self.root[k]
        v = self.root[k] + rest * (
            self.slope[k] + rest * (
                3.0 * step - 2.0 * self.slope[k] - self.slope[k + 1]
                + rest * (self.slope[k] + self.slope[k + 1] - 2.0 * step)
            )
        )
    elif p < 1.0:
        v = self.root[512]
    else:
        v = -log2_a / (p - 1.0)
    t = z * fast_exp2(v)
    if not (t > 1e-140 and z < 1e140):
        return prox_careful(self, z, scale, t)
    # Halley in full precision: a relative error of 1.5e-6 becomes one below 1e-16. Squares of t stay in range.
    for _ in range(8):
        term = prox_term(self, t, scale)
        value = (t - z) + term
        slope = t + (p - 1.0) * term
        if not slope > 0.01 * z:
            return prox_careful(self, z, scale, z * fast_exp2(v))
        step = 2.0 * (value * slope) / (2.0 * (slope * slope) - value * (p - 1.0) * (p - 2.0) * term)
        t -= t * step
        if fabs(step) <= 1.5e-6:
            return t
    return prox_careful(self, z, scale, z * fast_exp2(v))


cdef inline double prox_threshold(const LpProx* self, double scale) noexcept nogil:
    """Return z* = v* (2 - p) / (2 (1 - p)), v* = (2 scale (1 - p))^(1 / (2 - p)), for 0 < p < 1."""
    return pow(2.0 * (1.0 - self.p) * scale, self.power) / self.start


cdef inline double prox_careful(const LpProx* self, double z, double scale, double rough) noexcept nogil:
    # The same Newton in full precision, for p close to 1 and for the ends of the range of doubles; from the right of
    # the root of a convex function it never overshoots but by rounding.
    cdef double p = self.p, t = z, term, excess, slope, step, last = INFINITY, log_t
    cdef int _
    if p > 1.0:
        log_t = (log(z) - log(scale) - log(p)) / (p - 1.0)
        if log_t < log(z):
            if log_t < -745.2:
                return 0.0
            t = exp(log_t)
            if t == 0.0:
                return 0.0
    for _ in range(200):
        term = prox_term(self, t, scale)
        excess = (t - z) + term
        slope = (t + (p - 1.0) * term) / (t + term)
        step = (log1p(excess / z) if excess > -0.5 * z else log((t + term) / z)) / slope
        t = t + t * expm1(-step)
        if fabs(step) <= 2.3e-16 or fabs(step) >= last or t == 0.0:
            break
        if fabs(step) < 1e-3:
            last = fabs(step)
    # Subnormal or nearly infinite arguments may leave the range of doubles on the way.
    return t if 0.0 <= t <= z else min(rough, z)
