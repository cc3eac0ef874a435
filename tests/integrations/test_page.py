"""docs/replace-your-loop.md: every snippet is run, before and after, and compared."""

import math
import re
import sys
import types
from importlib.machinery import ModuleSpec

import diffusers
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support import pages
from tests.support.peers import k_diffusion_sampling

PAGE = pages.read("replace-your-loop.md")
SECTIONS = pages.sections(PAGE)


def module_named(name):
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)  # diffusers asks what is installed
    return module


def ddim():
    torch.manual_seed(7)
    unet = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), attention_head_dim=8,
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipe = diffusers.DDIMPipeline(unet.eval(), diffusers.DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    return {"pipe": pipe}


def guidance():
    def model(x, t):
        return torch.sin(x + torch.arange(len(x)).reshape(-1, 1, 1))

    return {"model": model, "x": torch.randn(2, 3, 4), "t": 5}


def policy():
    torch.manual_seed(7)
    network = torch.nn.Sequential(
        torch.nn.Linear(9, 16), torch.nn.SiLU(), torch.nn.Linear(16, 7)
    ).requires_grad_(False)

    def policy(actions, t, observation):
        told = torch.cat((torch.as_tensor(t).reshape(1) / 100, observation))
        return network(torch.cat((actions, told.expand(*actions.shape[:2], 2)), dim=2))

    return {"policy": policy, "observation": torch.tensor([0.3])}


def k_diffusion():
    package = module_named("k_diffusion")
    package.sampling = k_diffusion_sampling()
    sigmas = torch.linspace(10**0.3, 0.05**0.3, 12) ** (1 / 0.3)

    def denoiser(x, sigma):
        size = 1 + sigma.reshape(-1, 1, 1) ** 2
        return x / size + 0.2 * torch.sin(2 * x / size.sqrt())

    return {
        "denoiser": denoiser, "x": 10 * torch.randn(2, 3, 4), "modules": {"k_diffusion": package},
        "sigmas": torch.cat((sigmas, torch.zeros(1))),
    }  # fmt: skip


def wave():
    def model(x, t):
        return 0.9 * x + 0.1 * torch.sin(3 * x + t.reshape(-1, 1, 1, 1) / 200)

    return {"model": model}


def training():
    return {"scheduler": diffusers.DDPMScheduler(), "clean": torch.randn(5, 3, 4, 4)}


class VESDE:
    """The variance-exploding SDE as score_sde has it: eq. 30 of Song et al. 2021."""

    N, T, sigma_min, sigma_max = 40, 1, 0.01, 10.0

    def __init__(self):
        grid = torch.linspace(math.log(self.sigma_min), math.log(self.sigma_max), self.N)
        self.discrete_sigmas = grid.exp()

    def prior_sampling(self, shape):
        return torch.randn(*shape) * self.sigma_max


def get_pc_sampler(sde, shape, predictor, corrector, inverse_scaler, snr, continuous, eps, device):
    """Song et al. 2021: algorithm 1 with the corrector of algorithm 4, predictor of algorithm 2."""
    assert (predictor, corrector, continuous) == ("predictor", "corrector", True)

    def sampler(model):
        x = sde.prior_sampling(shape).to(device)
        for k in range(sde.N):
            i, t = sde.N - 1 - k, 1 + (eps - 1) * k / (sde.N - 1)
            sigma = sde.sigma_min * (sde.sigma_max / sde.sigma_min) ** t
            told = torch.full((len(x),), sigma)
            score, z = model(x, told), torch.randn_like(x)
            ratio = z.flatten(1).norm(dim=1).mean() / score.flatten(1).norm(dim=1).mean()
            size = 2 * (snr * ratio) ** 2
            x = x + size * score + (2 * size).sqrt() * z
            low = sde.discrete_sigmas[i - 1] if i else 0.0
            gap = sde.discrete_sigmas[i] ** 2 - low**2
            mean = x + gap * model(x, told)
            x = mean + gap**0.5 * torch.randn_like(x)
        return inverse_scaler(mean), 2 * sde.N

    return sampler


def score_sde():
    module = module_named("sampling")
    module.get_pc_sampler = get_pc_sampler
    module.ReverseDiffusionPredictor, module.LangevinCorrector = "predictor", "corrector"

    def model(x, sigma):
        size = (0.3 + sigma.reshape(-1, 1, 1, 1) ** 2).sqrt()
        return (0.1 * torch.cos(x / size) - x / size) / size

    return {
        "sde": VESDE(), "model": model, "inverse_scaler": lambda x: (x + 1) / 2,
        "modules": {"sampling": module},
    }  # fmt: skip


#: What is the reader's in each section.
GIVEN = {
    "A diffusers pipeline": ddim,
    "Guidance in a loop of your own": guidance,
    "A robot policy": policy,
    "k-diffusion": k_diffusion,
    "A hand-written DDPM": wave,
    "Noise in a training loop": training,
    "score_sde": score_sde,
}


def run(code, section, monkeypatch):
    torch.manual_seed(3)
    given = GIVEN[section]()
    for name, module in given.pop("modules", {}).items():
        monkeypatch.setitem(sys.modules, name, module)
    torch.manual_seed(4)
    names = {"torch": torch, **given}
    exec(compile(code, f"replace-your-loop.md, {section}", "exec"), names)
    return names


def test_every_section_is_known():
    assert list(SECTIONS) == list(GIVEN)
    assert pages.contents(PAGE) == pages.anchors(PAGE)
    kinds = re.findall(r"^```(.+)$", PAGE, re.M)
    assert set(kinds) == {"python before", "python after"}


@pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("section", GIVEN)
def test_before_and_after_are_the_same(section, monkeypatch):
    text = SECTIONS[section]
    ((result, tolerance),) = re.findall(r"^The same `(\w+)` within (\S+)\.$", text, re.M)
    (before,) = pages.snippets(text, "before")
    wanted = torch.as_tensor(run(before, section, monkeypatch)[result])
    assert wanted.isfinite().all() and wanted.std() > 0.01
    afters = pages.snippets(text, "after")
    assert afters
    for code in afters:
        assert "fastdiff" in code
        value = torch.as_tensor(run(code, section, monkeypatch)[result])
        assert value.shape == wanted.shape and value.dtype == wanted.dtype
        error = float((value - wanted).abs().max())
        assert error <= float(tolerance) * max(1.0, float(wanted.std())), error


def test_names_on_the_page_exist():
    import fastdiff as fd

    for module, name in re.findall(r"\b(fused|fd(?:\.\w+)?)\.(\w+)\(", PAGE):
        owner = fused if module == "fused" else fd
        for part in module.split(".")[1:]:
            owner = getattr(owner, part)
        assert hasattr(owner, name), f"{module}.{name}"
    assert not pages.missing_files(PAGE)
