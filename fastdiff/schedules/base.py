"""What a noise schedule is: x_t = alpha(t) x0 + sigma(t) eps, with t growing towards noise."""

import sys

import numpy as np

from .. import arguments


def namespace(t):
    """``(xp, t)``: numpy or, if ``t`` is a tensor, torch; and ``t`` as floating point.

    torch is never imported: a tensor can only exist if somebody already has. Numbers and numpy
    arrays become float64.
    """
    if type(t) is np.ndarray and t.dtype == np.float64:
        return np, t
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(t, torch.Tensor):
        arguments.tensor("t", t, floating=False)
        return torch, t if t.is_floating_point() else t.to(torch.get_default_dtype())
    return np, reals("t", t)


def reals(name, values):
    """Real numbers, in any nesting, as a float64 array."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":  # integers beyond 64 bits, or no numbers at all
            array = np.asarray([float(value) for value in array.flat]).reshape(array.shape)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        array = np.asarray("")
    if array.dtype.kind not in "biuf":
        expected = "real numbers in floating point's range"
        raise TypeError(f"{name}: expected {expected}, got {arguments.describe(values)}")
    return array.astype(np.float64, copy=False)


def check_schedule(schedule):
    """Raise TypeError unless this is a schedule."""
    arguments.instance("schedule", schedule, Schedule, "a schedule such as VPLinear()")


def softplus(xp, x):
    """log(1 + e^x) without overflow and without losing e^x for very negative x."""
    return xp.clip(x, 0, None) + xp.log1p(xp.exp(-abs(x)))


def positive(owner, **numbers):
    """Raise unless every number is finite and > 0."""
    for name, value in numbers.items():
        number(owner, **{name: value})
        if not value > 0:
            raise ValueError(f"{owner}: {name} must be > 0, got {value!r}")


def level(owner, **numbers):
    """Raise unless every number is positive and of a size that float32 can be computed with."""
    low, high = arguments.LEAST, arguments.MOST
    for name, value in numbers.items():
        positive(owner, **{name: value})
        if not low <= value <= high:
            raise ValueError(
                f"{owner}: {name} must be > 0, from {low:g} to {high:g}, so that its square is a "
                f"number in float32, got {value!r}"
            )


def number(owner, **numbers):
    """Raise unless every value is one finite real number."""
    for name, value in numbers.items():
        try:
            arguments.number(name, value)
        except TypeError:
            got = arguments.describe(value)
            raise TypeError(f"{owner}: {name} must be a real number, got {got}") from None
        except ValueError:
            got = arguments.describe(value)
            raise ValueError(f"{owner}: {name} must be finite, got {got}") from None


class Schedule:
    """Base class of the schedules.

    All functions take a number, a numpy array or a torch tensor of times ``t``. Numbers and numpy
    arrays give float64; tensors keep their dtype and device (integers: the default dtype).

    Attributes:
        t_max: the noisy end. ``alpha(t_max)`` may be exactly 0.
        t_min: the clean end: sigma = 0 where the family reaches it inside its range, else its
            smallest noise.
        t_clean: the time at which sigma is exactly 0, or None. It may lie outside [t_min, t_max]
            (VE: -inf).
        T: the number of integer timesteps of a discrete model, None in continuous time.
        t_limit: the noisiest time that a model can be conditioned on: t_max unless the family has
            no end.
    """

    t_max: float = 1.0
    t_min: float = 0.0
    t_clean: float | None = 0.0
    T: int | None = None

    @property
    def t_limit(self):
        return self.t_max

    def alpha(self, t):
        """Factor of the data."""
        raise NotImplementedError

    def sigma(self, t):
        """Factor of the noise."""
        raise NotImplementedError

    def marginal(self, t):
        """``(alpha, sigma)``, in less time than one by one where they have an integral to share."""
        return self.alpha(t), self.sigma(t)

    def dalpha(self, t):
        """d alpha / dt."""
        raise NotImplementedError

    def dsigma(self, t):
        """d sigma / dt (may be inf at the clean end)."""
        raise NotImplementedError

    def t_of_lam(self, lam):
        """The inverse of ``lam`` (float64, numpy)."""
        raise NotImplementedError

    def lam(self, t):
        """log(alpha / sigma): half the log signal-to-noise ratio, +-inf where one of them is 0."""
        xp, t = namespace(t)
        with np.errstate(divide="ignore"):
            return xp.log(self.alpha(t)) - xp.log(self.sigma(t))

    def input_scale(self, t):
        """The network is fed ``input_scale(t) * x``: the model frame. Mostly 1."""
        xp, t = namespace(t)
        return xp.ones_like(t)[()]

    def model_time(self, t):
        """The time the network is conditioned on."""
        return namespace(t)[1][()]

    def flow_rates(self, t):
        """``(d alpha, d sigma)`` per unit of *model* time, the time of the "flow" velocity."""
        return self.dalpha(t), self.dsigma(t)

    @property
    def t_smallest(self):
        """The least noisy time at which a model is usually evaluated: start of the last jump to the
        clean end.

        Default of ``sigma_min`` in the grids. A thousandth of the range, as customary for
        continuous time VP models.
        """
        return self.t_min + 1e-3 * (self.t_max - self.t_min)

    @property
    def t_largest(self):
        """The noisiest time with alpha > 0; where alpha(t_max) = 0, a thousandth of the range
        before ``t_max``.

        Default of ``sigma_max`` in the grids that are spaced in sigma/alpha or in its logarithm.
        """
        if self.alpha(self.t_max) > 0:
            return self.t_max
        return self.t_max - 1e-3 * (self.t_max - self.t_min)
