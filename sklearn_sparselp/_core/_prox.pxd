# Scalar proximal maps of scale |.|^p for every p >= 0, exact to a few units in the last place.
# With t = z s the root of t + scale p t^(p-1) = z is that of s + a s^(p-1) = 1, a = scale p z^(p-2): one number
# decides everything. Ties at the threshold go to 0.

from libc.math cimport INFINITY, NAN, cbrt, copysign, exp, expm1, fabs, fma, isfinite, isnan
from libc.math cimport log, log1p, log2, pow, sqrt


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
    double power       # 1 / (2 - p), the first digits
    double power_rest  # and the next ones
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
    /* Integers go into doubles as the last bits of 2^52 + k: loops over these functions become vector code on any
       processor, where a conversion would not. */
    static inline uint64_t sparselp_bits(double x) { uint64_t bits; memcpy(&bits, &x, sizeof bits); return bits; }
    static inline double sparselp_double(uint64_t bits) { double x; memcpy(&x, &bits, sizeof x); return x; }
    #define SPARSELP_TWO_52 4503599627370496.0
    /* log2 to 1e-7 absolute, for positive normal numbers: 2 ns against 8. */
    static inline double sparselp_fast_log2(double x) {
        uint64_t bits = sparselp_bits(x);
        uint64_t exponent = (bits + 0x00095f619980c433ULL) >> 52;  /* biased; mantissa in [sqrt(1/2), sqrt(2)) */
        double f, square;
        x = sparselp_double(bits - (exponent << 52) + (1023ULL << 52));
        f = (x - 1.0) / (x + 1.0);
        square = f * f;
        return (sparselp_double(exponent | 0x4330000000000000ULL) - (SPARSELP_TWO_52 + 1023.0)) +
               f * ((2.8853900817779268 + square * 0.9617966939259756) +
                    (square * square) * (0.5770780163555854 + square * 0.4121985831111324));
    }
    /* 2^x to 2e-7 relative, for |x| <= 1000; beyond that what it is at the end. */
    static inline double sparselp_fast_exp2(double x) {
        double shifted, r, square;
        x = x < -1000.0 ? -1000.0 : x;
        x = x > 1000.0 ? 1000.0 : x;
        shifted = x + (1.5 * SPARSELP_TWO_52 + 1023.0);  /* ends in the bits of the biased exponent */
        r = (x - (shifted - (1.5 * SPARSELP_TWO_52 + 1023.0))) * 0.6931471805599453;
        square = r * r;  /* in parallel: a chain of six products takes twice as long */
        r = (1.0 + r) + square * ((0.5 + r * (1.0 / 6)) +
                                  square * ((1.0 / 24 + r * (1.0 / 120)) + square * (1.0 / 720)));
        return r * sparselp_double(sparselp_bits(shifted) << 52);
    }
    /* x^(-1/3) to 9e-8, for positive normal numbers, no division: a third of the exponent is within 4 %, and a
       polynomial in e = 1 - x y^3 (minimax for |e| < 0.107) mends it. */
    static inline double sparselp_rough_inverse_cbrt(double x) {
        double high = sparselp_double((sparselp_bits(x) >> 32) | 0x4330000000000000ULL), y, e, square;
        y = (SPARSELP_TWO_52 * (4.0 / 3.0) + 1430188287.0) - high * (1.0 / 3.0);
        y = sparselp_double(sparselp_bits(y) << 32);
        e = 1.0 - (x * y) * (y * y);
        square = e * e;
        return y * ((0.9999999898492117 + e * 0.3333290195322292) +
                    square * ((0.22223185179418087 + e * 0.17448137880520867) + square * 0.14366730096898492));
    }
    #endif
    """
    double rough_inverse_cbrt "sparselp_rough_inverse_cbrt"(double x) noexcept nogil
    double fast_log2 "sparselp_fast_log2"(double x) noexcept nogil
    double fast_exp2 "sparselp_fast_exp2"(double x) noexcept nogil


cdef inline void lp_prox_init(LpProx* self, double p) noexcept nogil:
    """Choose the rule for p >= 0 and precompute what depends on p alone."""
    self.p = p
    self.log2_p = log2(p) if p > 0.0 else 0.0
    self.log2_limit = INFINITY
    self.start = 0.0
    self.power = self.power_rest = 0.0
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
        self.power_rest = (fma(-self.power, 2.0 - p, 1.0) - self.power * ((2.0 - (2.0 - p)) - p)) / (2.0 - p)
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
    t = lp_prox_ordinary(self, size, scale)
    if isnan(t):
        t = lp_prox_careful(self, size, scale)
    # Signs are hard to predict: a branch costs 5 ns. Adding 0 makes a zero positive.
    return copysign(t, z) + 0.0


cdef inline double lp_prox_ordinary(const LpProx* self, double z, double scale) noexcept nogil:
    # For z >= 0; NaN where the general case needs more than one step.
    cdef double log2_a, t
    if self.rule == PROX_HALF:
        return ordinary_half(z, scale)
    if self.rule == PROX_TWO_THIRDS:
        return two_thirds_step(z, scale, two_thirds_start(z, scale))
    if self.rule == PROX_CONCAVE or self.rule == PROX_CONVEX:
        log2_a = general_log2(self, z, scale)
        t = general_start(self, z, scale, log2_a, general_rough(self, log2_a))
        return general_step(self, z, scale, t, general_power(self, t)) if t > 0.0 else t
    return NAN


cdef inline double lp_prox_careful(const LpProx* self, double z, double scale) noexcept nogil:
    # Any z >= 0 and scale >= 0, and what is neither.
    if isnan(z) or isnan(scale):
        return z + scale
    if scale == 0.0 or z == 0.0:
        return z
    if scale == INFINITY:
        return 0.0
    if z == INFINITY:
        return z
    if self.rule == PROX_COUNT:
        return z if z > (sqrt(2.0 * scale) if scale < 1e300 else sqrt(2.0) * sqrt(scale)) else 0.0
    if self.rule == PROX_HALF:
        return careful_half(z, scale)
    if self.rule == PROX_TWO_THIRDS:
        return careful_two_thirds(z, scale)
    if self.rule == PROX_THREE_HALVES:
        return prox_three_halves(z, scale)
    if self.rule == PROX_CUBE:
        return prox_cube(z, scale)
    return careful_general(self, z, scale)


# Half: q = sqrt(s), q^3 - q + a = 0 for a < 2/sqrt(54), the larger root. Xu et al. 2012 write it with arc cosines:
# three times slower.


cdef inline double ordinary_half(double z, double scale) noexcept nogil:
    cdef double root = sqrt(z)
    cdef double q = half_root(0.5 * scale / (z * root))
    return z * (q * q) if (z > 1e-200) & (z < 1e200) & (scale > 0.0) & (scale < 1e300) else NAN


cdef inline double careful_half(double z, double scale) noexcept nogil:
    cdef double q = half_root(0.5 * (scale / z) / sqrt(z))
    return z * (q * q)


cdef inline double half_root(double a) noexcept nogil:
    # A polynomial within 7e-7 (minimax), then one step of Halley; 0 beyond the threshold.
    cdef double square = a * a
    cdef double value, slope, q = (
        (1.0000006717441292 + square * (-0.3558864568770395 + square * (
            5.3144558116745575 + square * 128.67429857717792)))
        + a * (-0.5002796639233831 + square * (-0.9935465971962784 + square * (
            -41.29575407427708 + square * -187.5050815025336)))
    )
    value = (q * q - 1.0) * q + a
    slope = 3.0 * (q * q) - 1.0
    q -= value * slope / (slope * slope - 3.0 * (q * value))
    return 0.0 if a >= 0.27216552697590868 else q


# Two thirds: u = t^(1/3), u^4 - z u + 2/3 scale = 0, and r = u / z^(1/3), r^4 - r + a = 0 for a < (1/2)^(4/3), the
# larger root. Cao, Sun, Xu 2013 solve it by radicals.


cdef inline double two_thirds_start(double z, double scale) noexcept nogil:
    # Where Halley starts in u, so that z^(1/3) need not be exact: 0 beyond the threshold, NaN next to it, where
    # that is not enough, and where products of z^(7/3) leave the range of doubles.
    cdef double inverse = rough_inverse_cbrt(z)
    cdef double square = inverse * inverse
    cdef double a = (2.0 / 3.0) * scale * (square * square)
    cdef double u = rough_two_thirds(a) * (z * square)
    u = 0.0 if a > 0.39685026299204984 else u
    u = u if fabs(a - 0.39685026299204984) > 1e-6 else NAN
    return u if (z > 1e-100) & (z < 1e100) & (scale > 0.0) & (scale < 1e300) else NAN


cdef inline double two_thirds_step(double z, double scale, double u) noexcept nogil:
    cdef double square = u * u, constant = (2.0 / 3.0) * scale
    cdef double value = (square * u - z) * u + constant
    cdef double slope = 4.0 * (square * u) - z
    cdef double t = u - value * slope / (slope * slope - 6.0 * (square * value))
    t = t * (t * t)
    t = z if t > z else t
    return t if u != 0.0 else 0.0


cdef inline double careful_two_thirds(double z, double scale) noexcept nogil:
    cdef double a = (2.0 / 3.0) * scale / z / cbrt(z), r, square, value, slope
    if not a < 0.39685026299204984:
        return 0.0
    r = rough_two_thirds(a)
    square = r * r
    value = (square * r - 1.0) * r + a
    slope = 4.0 * square * r - 1.0
    r -= value * slope / (slope * slope - 6.0 * square * value)
    return z * (r * r * r)


cdef inline double rough_two_thirds(double a) noexcept nogil:
    # r within 6e-7 (minimax).
    cdef double square = a * a
    return (
        (0.9999994544933963 + square * (-0.24876507485062355 + square * (
            -16.777254940925335 + square * (-1052.590714475242 + square * (
                -9656.25895763554 + square * -7223.253449003301)))))
        + a * (-0.33303745912949306 + square * (0.6789526634139879 + square * (
            167.7530117172734 + square * (4086.08778171734 + square * 12719.309073468236))))
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


# Other p: a root within 1.5e-6 from a table, then one step of Halley in full precision.


cdef inline double general_log2(const LpProx* self, double z, double scale) noexcept nogil:
    # log2 of a.
    return fast_log2(scale) + self.log2_p + (self.p - 2.0) * fast_log2(z)


cdef inline double general_rough(const LpProx* self, double log2_a) noexcept nogil:
    # log2 of s: cubic Hermite interpolation, continued to both sides.
    cdef double place = (log2_a - self.first_knot) * self.knots_per_unit, inside, rest, step, left, right, v
    cdef int k
    inside = place if place > 0.0 else 0.0
    inside = inside if inside < 511.0 else 511.0
    k = <int> inside
    rest = (place if place < 512.0 else 512.0) - k
    left, right = self.slope[k], self.slope[k + 1]
    step = self.root[k + 1] - self.root[k]
    v = self.root[k] + rest * (left + rest * (3.0 * step - 2.0 * left - right + rest * (left + right - 2.0 * step)))
    v = v if place > 0.0 else 0.0
    return v if (place < 512.0) | (self.p < 1.0) else -log2_a / (self.p - 1.0)


cdef inline double general_start(
    const LpProx* self, double z, double scale, double log2_a, double v
) noexcept nogil:
    # Where Halley starts: 0 below the threshold, NaN next to it and where squares leave the range of doubles, or
    # logarithms that of normal ones.
    cdef double t = z * fast_exp2(v), rest = log2_a - self.log2_limit
    t = t if (t > 1e-140) & (fabs(rest) > 1e-4) else NAN
    t = 0.0 if rest > 1e-4 else t
    return t if (z > 1e-140) & (z < 1e140) & (scale > 1e-290) & (scale < 1e290) else NAN


cdef inline double general_power(const LpProx* self, double t) noexcept nogil:
    # t^(p-1). Below 1/2 the exponent p - 1 is not exact, and log t of 600 would multiply its error.
    return pow(t, self.p - 1.0) if self.p >= 0.5 else pow(t, self.p) / t


cdef inline double general_step(
    const LpProx* self, double z, double scale, double t, double power
) noexcept nogil:
    # The root, NaN where one step does not do; 0 and NaN stay what they are.
    cdef double term = scale * self.p * power, value, slope, step, new
    value = (t - z) + term
    slope = t + (self.p - 1.0) * term
    step = 2.0 * (value * slope) / (2.0 * (slope * slope) - value * (self.p - 1.0) * (self.p - 2.0) * term)
    new = t - t * step
    new = new if (power > 1e-290) & (power < 1e290) & (slope > 0.01 * z) & (fabs(step) <= 1.5e-6) else NAN
    return new if t != 0.0 else 0.0


cdef inline double prox_term(const LpProx* self, double t, double scale) noexcept nogil:
    # scale p t^(p-1), through the square root of the power where the power itself would leave the range of doubles.
    cdef double power = general_power(self, t)
    if 1e-290 < power < 1e290:
        return scale * self.p * power if scale < 1e290 else (scale * power) * self.p
    if self.p < 0.5:
        return scale * pow(t, self.p) / t * self.p
    power = pow(t, 0.5 * (self.p - 1.0))
    return ((scale * power) * power) * self.p


cdef inline double prox_threshold(const LpProx* self, double scale) noexcept nogil:
    """Return z* = v* (2 - p) / (2 (1 - p)), v* = (2 scale (1 - p))^(1 / (2 - p)), for 0 < p < 1."""
    # A logarithm of 600 would multiply the rounding of the exponent.
    cdef double base = 2.0 * (1.0 - self.p) * scale
    return pow(base, self.power) * (1.0 + self.power_rest * log(base)) / self.start


cdef inline double careful_general(const LpProx* self, double z, double scale) noexcept nogil:
    cdef double p = self.p, start, t, term, value, slope, step
    # Exact also below 1e-308, where fast_log2 is not.
    cdef double log2_a = log2(scale) + self.log2_p + (p - 2.0) * log2(z)
    cdef int _
    if log2_a > self.log2_limit - 1e-4 and (log2_a > self.log2_limit + 1e-4 or z <= prox_threshold(self, scale)):
        return 0.0
    start = t = z * fast_exp2(general_rough(self, log2_a))
    if t > 1e-140 and z < 1e140:
        # Halley's error of 1.5e-6 becomes one below 1e-16. Squares of t stay in range.
        for _ in range(8):
            term = prox_term(self, t, scale)
            value = (t - z) + term
            slope = t + (p - 1.0) * term
            if not slope > 0.01 * z:
                break
            step = 2.0 * (value * slope) / (2.0 * (slope * slope) - value * (p - 1.0) * (p - 2.0) * term)
            t -= t * step
            if fabs(step) <= 1.5e-6:
                return t
    return prox_newton(self, z, scale, start)


cdef inline double prox_newton(const LpProx* self, double z, double scale, double rough) noexcept nogil:
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
