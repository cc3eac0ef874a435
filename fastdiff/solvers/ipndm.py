from dataclasses import dataclass

from .lms import LMS


@dataclass(frozen=True)
class IPNDM(LMS):
    """Improved PNDM: ``LMS`` with the weights of an even spacing. Zhang and Chen 2023, "DEIS".

    (3, -1) / 2,   (23, -16, 5) / 12,   (55, -59, 37, -9) / 24,   whatever the steps in rho are

    so unless they are even it is of second order at best.
    """

    def age(self, path, i, k):
        return float(-k)
