from dataclasses import dataclass

from .heun import Heun


@dataclass(frozen=True)
class FlowHeun(Heun):
    """Heun's method for a rectified flow, x_s = x_t + (sigma_s - sigma_t) (u_t + u_s) / 2.

    On other schedules the same method for x / (alpha + sigma), whose path from x0 to eps is the
    rectified one. Unlike in rho, pure noise is an ordinary point of it.
    """

    @staticmethod
    def scale(point):
        return point.alpha + point.sigma
