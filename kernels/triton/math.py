"""The elementary functions of csrc/core/math.h: the same coefficients, the same roundings.

Kernels are compiled without contraction (``launch.py``), so a product and a sum are fused exactly
where ``tl.fma`` says so.
"""

import triton
import triton.language as tl


def _coefficients(text: str) -> tl.constexpr:
    return tl.constexpr(tuple(float.fromhex(digits) for digits in text.split()))


LOG_32 = _coefficients(
    "-0x1.fffff8p-2 0x1.55555p-2 -0x1.000426p-2 0x1.99a3f2p-3 -0x1.54276ep-3 0x1.22719cp-3 "
    "-0x1.0f3764p-3 0x1.084864p-3 -0x1.383026p-4"
)
SIN_32 = _coefficients("0x1.921fb6p+2 -0x1.4abbbap+5 0x1.465ec6p+6 -0x1.2d9ba2p+6")
COS_32 = _coefficients("-0x1.3bd3ccp+4 0x1.03c1dep+6 -0x1.55c664p+6 0x1.d9f79ap+5")
EXP_32 = tl.constexpr((1.0, 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040))
LOG1P_32 = _coefficients("0x1.55554cp-1 0x1.99ad6cp-2 0x1.21249ap-2 0x1.12f598p-2")
LN2_HIGH_32 = tl.constexpr(float.fromhex("0x1.63p-1"))  # times an exponent: exact
LN2_LOW_32 = tl.constexpr(float.fromhex("-0x1.bd0106p-13"))
LOG2_E_32 = tl.constexpr(float.fromhex("0x1.715476p+0"))

LOG_64 = tl.constexpr(tuple(2.0 / n for n in range(3, 24, 2)))
SIN_64 = _coefficients(
    "0x1.921fb54442d18p+2 -0x1.4abbce625be53p+5 0x1.466bc6775aae2p+6 -0x1.32d2cce62bd86p+6 "
    "0x1.50783487ee782p+5 -0x1.e3074fde8871fp+3 0x1.e8f434d018d63p+1 -0x1.6fadb9f155744p-1 "
    "0x1.aaec32af93359p-4"
)
COS_64 = _coefficients(
    "-0x1.3bd3cc9be45dep+4 0x1.03c1f081b5ac4p+6 -0x1.55d3c7e3cbffap+6 0x1.e1f506891babbp+5 "
    "-0x1.a6d1f2a204a8cp+4 0x1.f9d38a3763cc3p+2 -0x1.b6e24f44b128fp+0 0x1.20c62c2f2d7f5p-2 "
    "-0x1.2a0c591af8314p-5"
)
EXP_64 = tl.constexpr((
    1.0, 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880, 1 / 3628800,
    1 / 39916800, 1 / 479001600, 1 / 6227020800,
))  # fmt: skip
EXCESS_32 = tl.constexpr((1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320))
EXCESS_64 = tl.constexpr((
    1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880, 1 / 3628800,
    1 / 39916800, 1 / 479001600, 1 / 6227020800, 1 / 87178291200,
))  # fmt: skip
LN2_HIGH_64 = tl.constexpr(float.fromhex("0x1.62e42fefp-1"))
LN2_LOW_64 = tl.constexpr(float.fromhex("0x1.473de6af278edp-34"))
LOG2_E_64 = tl.constexpr(float.fromhex("0x1.71547652b82fep+0"))


@triton.jit
def fma(a, b, c: tl.constexpr):
    """a b + c with a constant c, which tl.fma alone would round to float32."""
    return tl.fma(a, b, tl.full(b.shape, c, b.dtype))


@triton.jit
def scaled(exponent, constant: tl.constexpr, c):
    """exponent constant + c, fused."""
    return tl.fma(exponent, tl.full(exponent.shape, constant, exponent.dtype), c)


@triton.jit
def polynomial(c: tl.constexpr, size: tl.constexpr, z):
    """Horner's scheme: c[0] + z (c[1] + z (...))."""
    value = tl.full(z.shape, c[size - 1], z.dtype)
    for i in tl.static_range(1, size):
        value = tl.fma(value, z, tl.full(z.shape, c[size - 1 - i], z.dtype))
    return value


@triton.jit
def sqrt(a):
    if a.dtype == tl.float32:
        return tl.sqrt_rn(a)
    else:
        return tl.sqrt(a)  # correctly rounded in float64


@triton.jit
def divide(a, b):
    if a.dtype == tl.float32:
        return tl.div_rn(a, b)
    else:
        return a / b


@triton.jit
def log(u):
    """log(u) for normal u > 0."""
    if u.dtype == tl.float32:
        bits = u.to(tl.int32, bitcast=True)
        e = (bits - 0x3F3504F3) >> 23
        r = (bits - e * (1 << 23)).to(tl.float32, bitcast=True) - 1.0
        exponent = e.to(tl.float32)
        tail = tl.fma(r * r, polynomial(LOG_32, 9, r), exponent * LN2_LOW_32)
        return scaled(exponent, LN2_HIGH_32, tail + r)
    else:
        bits = u.to(tl.int64, bitcast=True)
        e = (bits - 0x3FE6A09E667F3BCD) >> 52
        r = (bits - e * (1 << 52)).to(tl.float64, bitcast=True) - 1.0
        s = r / (2.0 + r)
        z = s * s
        exponent = e.to(tl.float64)
        tail = tl.fma(s * z, polynomial(LOG_64, 11, z), exponent * LN2_LOW_64) - s * r
        return scaled(exponent, LN2_HIGH_64, tail + r)


@triton.jit
def octave(x):
    """(k, r) with x = k log 2 + r and |r| <= log(2) / 2, x bounded to where 2^k is normal."""
    if x.dtype == tl.float32:
        bounded = tl.where(x > -87.0, tl.where(x < 88.0, x, 88.0), -87.0)
        turns = bounded * LOG2_E_32
        k = tl.where(turns < 0, turns - 0.5, turns + 0.5).to(tl.int32)
        n = k.to(tl.float32)
        return k, scaled(n, -LN2_LOW_32, scaled(n, -LN2_HIGH_32, bounded))
    else:
        bounded = tl.where(x > -708.0, tl.where(x < 709.0, x, 709.0), -708.0)
        turns = bounded * LOG2_E_64
        k = tl.where(turns < 0, turns - 0.5, turns + 0.5).to(tl.int64)
        n = k.to(tl.float64)
        return k, scaled(n, -LN2_LOW_64, scaled(n, -LN2_HIGH_64, bounded))


@triton.jit
def power_of_two(k):
    if k.dtype == tl.int32:
        return ((k + 127) << 23).to(tl.float32, bitcast=True)
    else:
        return ((k + 1023) << 52).to(tl.float64, bitcast=True)


@triton.jit
def exp(x):
    """exp(x); beyond the range of normal numbers it stays at its ends; NaN stays NaN."""
    k, r = octave(x)
    if x.dtype == tl.float32:
        series = polynomial(EXP_32, 8, r)
    else:
        series = polynomial(EXP_64, 14, r)
    return tl.where(x != x, x, series * power_of_two(k))


@triton.jit
def most_exponent(x):
    """Up to where ``exp`` follows e^x."""
    return 88.0 if x.dtype == tl.float32 else 709.0


@triton.jit
def exp_for(a, x):
    """e^x to multiply ``a`` with: infinite where it overflows, but nothing stays nothing."""
    return tl.where(a == 0, 0.0, tl.where(x > most_exponent(x), float("inf"), exp(x)))


@triton.jit
def exponential(x):
    """e^x, e^x - 1 and e^x - 1 - x, none of which loses digits near x = 0; infinite where e^x
    overflows."""
    k, r = octave(x)
    if x.dtype == tl.float32:
        remainder = r * r * polynomial(EXCESS_32, 7, r)
    else:
        remainder = r * r * polynomial(EXCESS_64, 13, r)
    scale = power_of_two(k)
    tail = r + remainder
    minus_one = tl.fma(scale, tail, scale - 1.0)
    excess = tl.where(k == 0, remainder, minus_one - x)
    beyond = tl.where(x <= most_exponent(x), 0.0, tl.where(x != x, x, float("inf")))
    return tl.fma(scale, tail, scale) + beyond, minus_one + beyond, excess + beyond


@triton.jit
def log1p(e):
    """log(1 + e) for e in [0, 1]."""
    if e.dtype == tl.float32:
        s = divide(e, 2.0 + e)
        z = s * s
        return tl.fma(s, tl.fma(z, polynomial(LOG1P_32, 4, z), -e), e)
    else:
        u = 1.0 + e
        return log(u) + divide(e - (u - 1.0), u)


@triton.jit
def sigmoid(x):
    e = exp(-tl.abs(x))
    return divide(tl.where(x < 0, e, 1.0), 1.0 + e)


@triton.jit
def softplus(x):
    """log(1 + e^x)."""
    return tl.where(x < 0, 0.0, x) + log1p(exp(-tl.abs(x)))


@triton.jit
def sincos_turns(u):
    """sin and cos of u turns (2 pi u), u in [0, 1]."""
    quadrant = fma(u, tl.full(u.shape, 4.0, u.dtype), 0.5).to(tl.int32)
    f = tl.fma(quadrant.to(u.dtype), tl.full(u.shape, -0.25, u.dtype), u)
    z = f * f
    if u.dtype == tl.float32:
        sine = f * polynomial(SIN_32, 4, z)
        cosine = fma(z, polynomial(COS_32, 4, z), 1.0)
    else:
        sine = f * polynomial(SIN_64, 9, z)
        cosine = fma(z, polynomial(COS_64, 9, z), 1.0)
    odd = (quadrant & 1) != 0
    s = tl.where(odd, cosine, sine)
    c = tl.where(odd, sine, cosine)
    return tl.where((quadrant & 2) != 0, -s, s), tl.where(((quadrant + 1) & 2) != 0, -c, c)
