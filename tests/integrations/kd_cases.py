"""What the tests of the k-diffusion samplers share: cases, a model, and how two runs are alike."""

import pytest
import torch

SHAPE = (2, 3, 4, 5)
STEPS = (1, 2, 5, 20)
CHURN = {"s_churn": 8.0, "s_tmin": 0.5, "s_tmax": 5.0, "s_noise": 1.003}
CASES = [
    ("euler", [{}, CHURN, {"s_churn": 1e3}]),
    ("heun", [{}, CHURN]),
    ("dpm_2", [{}, CHURN]),
    ("euler_ancestral", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]),
    ("dpm_2_ancestral", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]),
    ("dpmpp_2s_ancestral", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]),
    ("lms", [{}, {"order": 2}]),
    ("dpmpp_2m", [{}]),
    ("dpmpp_sde", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9, "r": 0.3}]),
    ("dpmpp_2m_sde", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}, {"solver_type": "heun"}]),
    ("dpmpp_3m_sde", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]),
]
SDE = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde")
NO_SINGLE_JUMP = ("dpmpp_2m_sde", "dpmpp_3m_sde")  # stock raises UnboundLocalError
PLAIN = ["euler", "heun", "dpm_2", "lms", "dpmpp_2m"]  # no noise: from data to noise as well
every_case = pytest.mark.parametrize(
    ("name", "options"), [(n, o) for n, many in CASES for o in many], ids=str
)
every_name = pytest.mark.parametrize("name", [name for name, _ in CASES])
SAMPLERS = [*(name for name, _ in CASES), "dpm_fast", "dpm_adaptive"]
every_sampler = pytest.mark.parametrize("name", SAMPLERS)


def arguments(kd, name, steps=5):
    """What a sampler is given after x."""
    return {"dpm_fast": (0.1, 10.0, 7), "dpm_adaptive": (0.1, 10.0)}.get(name) or (grid(kd, steps),)


def denoiser(y, sigma, shift=0.0):
    """Of unit-variance data, but for something that is not linear."""
    sigma = sigma.reshape(-1, *[1] * (y.dim() - 1))
    size = (1 + sigma**2) ** 0.5
    return y / size**2 + 0.2 * torch.sin(2 * y / size + shift)


class Seen:
    """A model, a callback and a noise sampler that remember."""

    def __init__(self, dtype=torch.float32):
        self.sigmas, self.infos, self.asked = [], [], []
        self.generator, self.dtype = torch.Generator().manual_seed(3), dtype

    def model(self, y, sigma, **extra):
        assert y.dtype == sigma.dtype == self.dtype and sigma.shape == y.shape[:1]
        self.sigmas.append(sigma.clone())
        return denoiser(y, sigma, **extra)

    def callback(self, info):
        self.infos.append({k: v.clone() if hasattr(v, "clone") else v for k, v in info.items()})

    def noise(self, sigma, sigma_next):
        assert isinstance(sigma, torch.Tensor) and sigma.shape == sigma_next.shape == ()
        self.asked.append(torch.stack([sigma, sigma_next]))
        return torch.randn(SHAPE, generator=self.generator).to(self.dtype)


def sample(module, name, x, *arguments, seen=None, seed=5, **options):
    seen = seen or Seen(x.dtype)
    if seen.asked is not None and options.pop("given", False):
        options["noise_sampler"] = seen.noise
    torch.manual_seed(seed)
    out = getattr(module, f"sample_{name}")(
        seen.model, x, *arguments, extra_args={"shift": 0.3}, callback=seen.callback, disable=True,
        **options,
    )  # fmt: skip
    return out, seen


def assert_alike(mine, stock, tolerance=1e-4):
    (a, ours_seen), (b, stock_seen) = mine, stock
    assert a.dtype == b.dtype and a.shape == b.shape and a.std() > 0.1
    scale = max(1.0, float(b.double().std()))
    assert float((a - b).abs().max()) < tolerance * scale
    for kind in ("sigmas", "asked"):
        pair = getattr(ours_seen, kind), getattr(stock_seen, kind)
        assert len(pair[0]) == len(pair[1]), kind
        for one, other in zip(*pair, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=0)
    assert len(ours_seen.infos) == len(stock_seen.infos)
    for one, other in zip(ours_seen.infos, stock_seen.infos, strict=True):
        assert set(one) == set(other)
        for key, value in other.items():
            got = one[key]
            assert isinstance(got, type(value)) and getattr(got, "shape", 0) == getattr(
                value, "shape", 0
            )
            size = max(1.0, float(torch.as_tensor(value).double().std(correction=0)))
            torch.testing.assert_close(
                torch.as_tensor(got), torch.as_tensor(value), rtol=tolerance, atol=tolerance * size
            )


def grid(kd, steps, kind="zero"):
    """k-diffusion's Karras levels in float32: to zero, above it, and the end of a longer one."""
    if kind == "img2img":
        return kd.get_sigmas_karras(steps + 4, 0.1, 10.0)[4:]
    sigmas = kd.get_sigmas_karras(steps + (kind == "above"), 0.1, 10.0)
    return sigmas[:-1] if kind == "above" else sigmas


def start(sigma, dtype=torch.float32):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (x * (1 + float(sigma) ** 2) ** 0.5).to(dtype)
