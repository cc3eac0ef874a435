from dataclasses import dataclass

from .consistency import Consistency


@dataclass(frozen=True)
class SCM(Consistency):
    """Sampling of continuous-time consistency models. Lu and Song 2024 (sCM), for ``TrigFlow``.

    x_s = cos(s) x0 + sin(s) sigma_data z,   x0 = cos(t) x_t - sin(t) sigma_data F(x_t / sigma_data)

    The same rows as ``Consistency``. The paper's two steps are at pi/2 and 1.3.
    """
