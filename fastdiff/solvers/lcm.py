from dataclasses import dataclass
from math import hypot, inf

from ..tables.lin import M, X, Z
from .base import Stage
from .consistency import Consistency
from .options import check_range


@dataclass(frozen=True)
class LCM(Consistency):
    """Latent consistency models. Luo et al. 2023, algorithm 3.

    x_s = alpha_s (c_skip x_t + c_out x0) + sigma_s z

    The network is an ordinary one; the boundary condition of a consistency function is put around
    its x0, with c_skip = sigma_data^2 / (u^2 + sigma_data^2), c_out = u / sqrt(u^2 + sigma_data^2),
    u = timestep_scaling times the model's timestep. Where u is large, that is x0 to many digits.

    Attributes:
        timestep_scaling: 10 for networks of 1000 timesteps; for time in [0, 1] a thousand times as
            much.
        sigma_data: of the boundary condition.
    """

    timestep_scaling: float = 10.0
    sigma_data: float = 0.5
    exact_on_point_mass = "none"
    starts_clean = False

    def __post_init__(self):
        super().__post_init__()
        check_range(self, "timestep_scaling", inf)
        check_range(self, "sigma_data", inf)

    def model_time(self, path, t) -> float:
        """What the model is conditioned on at the point t."""
        return float(path.on_schedule(self).model_time(t.t))

    def steps(self, path):
        for _, t, s in path.steps():
            u = self.timestep_scaling * self.model_time(path, t)
            size = hypot(u, self.sigma_data)
            x0 = (self.sigma_data / size) ** 2 * X + u / size * M
            yield Stage(x=s.alpha * x0 + self.noise(t, s) * Z, at=s)
