"""Right arguments, made anew for each call: by the call and its parameter, else by the parameter
alone. A parameter that has a default and no maker is left out of the valid call, and is given wrong
values all the same.
"""

import tempfile
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import DDIMScheduler
from PIL import Image

import fastdiff as fd
from fastdiff import elbo, grids, guidance, models, sampling, schedules, solvers, training
from fastdiff.integrations import score_sde
from fastdiff.integrations.score_sde import sdes
from fastdiff.row import COLUMN, WIDTH

B, SHAPE = 2, (1, 4, 4)

#: What is not walked, and why.
EXEMPT = {
    "fd.grids.Grid": "the base class of grids has no points of its own",
    "fd.solvers.Solver": "the base class of solvers has no steps of its own",
    "fd.guidance.Guidance": "the base class of guidances has no outputs of its own",
    "fd.solvers.Stage": "what a solver's own steps are written in; lowering checks the rows",
    "fd.schedules.Schedule": "the base class of schedules has no numbers of its own",
    "fd.models.Member": "the base class of the family has no loss of its own",
    "fd.elbo.Bound": "a result",
    "fd.elbo.MarkovBound": "a result",
    "fd.models.Batch": "what training hands to a loss",
    "fd.parameterization.check_defined": "of levels that are at hand, of what was checked",
    "fd.parameterization.output_at": "where alpha and sigma are at hand, of what was checked",
    "fd.parameterization.output_levels": "of levels that are at hand, of what was checked",
    "fd.parameterization.read_levels": "of levels that are at hand, of what was checked",
    "fd.ops.bind": "the executor: fuzz_native.py calls it with wrong arguments",
    "fd.training.load_digits": "has no arguments",
    "fd.training.TrainState": "made by new_state; what takes one checks that it is one",
    "fd.integrations.diffusers.plan": "the old name of sampler_of",
}

#: Methods that users call, of classes whose other methods are called by the package with what it
#: has checked: those are for authors of subclasses.
CALLED_BY_USERS = {
    solvers.Solver: {"lower"},
    grids.Grid: {"__call__"},
    guidance.Guidance: set(),
    guidance.CFG: {"is_conditional"},
    guidance.MultiCondition: {"is_conditional"},
    solvers.StepTable: set(),  # files: see the tests of tables
    elbo.Chain: set(),
    elbo.Small: set(),
    elbo.Large: set(),
    elbo.LearnedRange: set(),
    elbo.Optimal: set(),
    fd.likelihood.Exact: set(),
    fd.likelihood.Hutchinson: set(),
    sampling.DPMAdaptive: set(),
    sampling.RK45: set(),
    sampling.Langevin: set(),
    sampling.SamplerState: {"step", "replace", "restart", "take"},
    models.UNet: {"forward"},
    models.Gamma: {"forward"},
    torch.nn.Module: set(),
    sdes.SDE: {"schedule"},
}


def x(dtype=torch.float32):
    return torch.linspace(-1, 1, B * 16, dtype=dtype).reshape(B, *SHAPE)


def keys():
    return fd.noise.keys(3, B)


def net(x, t, **cond):
    return 0.5 * x


def denoise(x, t):
    return elbo.Estimate(0.5 * x)


def schedule():
    return schedules.VPLinear()


@lru_cache
def _table():
    return solvers.DDIM().lower(schedules.VPLinear(), 3)


def times():
    return torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


def rows():
    row = torch.zeros(2, WIDTH)
    row[0, COLUMN["c_x"]], row[:, COLUMN["slot"]], row[0, COLUMN["live"]] = 0.5, -1, 1
    return row


#: Where calls are made, and where their files go; deleted when the process ends.
SCRATCH = tempfile.TemporaryDirectory(prefix="fastdiff-public-")


def folder() -> Path:
    """A new one."""
    return Path(tempfile.mkdtemp(dir=SCRATCH.name))


def config():
    model = models.DDPM.Config(hidden=8, blocks=1)
    return training.TrainConfig("ddpm", model, steps=1, batch=2, warmup=0)


def images():
    levels = (torch.arange(3 * 16) % 17).to(torch.uint8).reshape(3, *SHAPE)
    return training.Images(levels, torch.tensor([0, 1, 2]), 17, 10)


def state():
    return training.new_state(config(), images())


def checkpoint():
    path = folder() / "checkpoint.safetensors"
    training.save_checkpoint(path, state(), config())
    return path


@lru_cache
def _weights():
    return models.UNet(UNET).state_dict()


def model_file():
    path = folder() / "model.safetensors"
    models.save(path, UNET, _weights())
    return path


def unet_config():
    model = models.ScoreSDE.Config(net="unet", hidden=8, blocks=1)
    return training.TrainConfig("sde", model, steps=1, batch=2)


def image_folder():
    path = folder() / "images"
    path.mkdir()
    for i in range(3):
        Image.new("L", (4, 4), 80 * i).save(path / f"{i}.png")
    return path


BY_NAME = {
    "batch": lambda: B,
    "bin_width": lambda: 0.1,
    "callback": lambda: lambda state: None,
    "cond": dict,
    "corrector": sampling.Langevin,
    "count": lambda: 2,
    "decoder": lambda: elbo.levels_decoder(17),
    "denoise": lambda: denoise,
    "depth": lambda: 17,
    "device": lambda: torch.device("cpu"),
    "dims": lambda: 16,
    "dtype": lambda: torch.float32,
    "grid": grids.Uniform,
    "guidance": lambda: None,
    "keys": keys,
    "key": lambda: fd.noise.key(3),
    "lam": lambda: 0.5,
    "like": x,
    "log_scale": lambda: x() - 2,
    "log_var": x,
    "log_var_p": x,
    "logits": x,
    "mean": x,
    "mean_p": x,
    "model": lambda: net,
    "noise": x,
    "prediction": lambda: "eps",
    "s": lambda: torch.full((B,), 0.25),
    "schedule": schedule,
    "seed": lambda: 3,
    "seeds": lambda: 3,
    "score": lambda: lambda x: -x,
    "shape": lambda: SHAPE,
    "steps": lambda: 3,
    "t": lambda: torch.full((B,), 0.5),
    "table": _table,
    "target": x,
    "times": times,
    "u": lambda: torch.tensor([0.2, 0.7]),
    "variance": elbo.Small,
    "x": x,
    "x0": x,
    "x0_hat": x,
    "config": config,
    "data": images,
    "eps": lambda: 0.1,
    "extra_args": dict,
    "inverse_scaler": lambda: lambda x: (x + 1) / 2,
    "sde": lambda: score_sde.VPSDE(N=30),
    "sigma_max": lambda: 10.0,
    "sigma_min": lambda: 0.1,
    "sigmas": lambda: torch.tensor([10.0, 3.0, 0.5, 0.0]),
    "state": state,
    "test": images,
}


def scheduler():
    made = DDIMScheduler()
    made.set_timesteps(3)
    return made


def score_sde_config():
    chosen = SimpleNamespace(
        method="pc", noise_removal=True, predictor="reverse_diffusion", corrector="none", snr=0.1,
        n_steps_each=1, probability_flow=False,
    )  # fmt: skip
    return SimpleNamespace(device="cpu", sampling=chosen, training=SimpleNamespace(continuous=True))


SPACE = models.Space(SHAPE, 17, 10)
UNET = models.UNetConfig(image_size=4, patch=1, widths=(8,), attention=(True,), emb_dim=8)


@lru_cache
def _member(family):
    member = models.find(family)
    return member(member.Config(hidden=8), SPACE)


BY_CALL = {
    ("fd.elbo.Optimal", "mse"): lambda: torch.ones(3),
    ("fd.elbo.bits_per_dim", "nats"): lambda: torch.ones(B),
    ("fd.elbo.bound", "noise"): keys,
    ("fd.elbo.denoising_kl", "q"): lambda: elbo.posterior(
        schedules.VPLinear(), torch.full((B,), 0.5), torch.full((B,), 0.25)
    ),
    ("fd.elbo.denoising_kl", "log_var"): lambda: torch.zeros(B),
    ("fd.elbo.diffusion_as_markov", "noise"): lambda: [x(), x(), x()],
    ("fd.elbo.importance_weighted", "log_weights"): lambda: torch.zeros(3, B),
    ("fd.elbo.markov_bound", "encoders"): lambda: [lambda z: (z, 0 * z)] * 2,
    ("fd.elbo.markov_bound", "decoders"): lambda: [lambda z: (z, 0 * z)],
    ("fd.elbo.markov_bound", "likelihood"): lambda: lambda z: -z.flatten(1).sum(1),
    ("fd.elbo.markov_bound", "noise"): lambda: [x(), x()],
    ("fd.elbo.mean_squared_errors", "noise"): keys,
    ("fd.elbo.prior_kl", "t"): lambda: torch.tensor(0.9),
    ("fd.grids.AYS", "model"): lambda: "sd",
    ("fd.grids.AYS.__call__", "schedule"): schedules.DiscreteBetas.scaled_linear,
    ("fd.grids.Explicit", "points"): lambda: (0.9, 0.5, 0.1, 0.0),
    ("fd.grids.Leading.__call__", "schedule"): schedules.DiscreteBetas.linear,
    ("fd.grids.Thinned", "of"): lambda: 6,
    ("fd.grids.beta_quantile", "p"): lambda: 0.3,
    ("fd.grids.beta_quantile", "a"): lambda: 0.6,
    ("fd.grids.beta_quantile", "b"): lambda: 0.6,
    ("fd.grids.check_times", "name"): lambda: "grid",
    ("fd.grids.check_times", "times"): lambda: [0.9, 0.5, 0.0],
    ("fd.grids.dynamic_shift", "tokens"): lambda: 1024,
    ("fd.grids.dynamic_shift", "base"): lambda: (256, 0.5),
    ("fd.guidance.MultiCondition", "scales"): lambda: (2.0, 3.0),
    ("fd.guidance.mix", "cond"): x,
    ("fd.guidance.mix", "uncond"): x,
    ("fd.guidance.mix", "scale"): lambda: 2.0,
    ("fd.likelihood.log_likelihood", "divergence"): fd.likelihood.Exact,
    ("fd.likelihood.log_likelihood", "solver"): lambda: sampling.RK45(rtol=1e-2, atol=1e-2),
    ("fd.losses.categorical", "level"): lambda: torch.zeros(B, 1, 4, dtype=torch.int64),
    ("fd.losses.edm_times", "mean"): lambda: -1.2,
    ("fd.losses.low_discrepancy", "generator"): lambda: torch.Generator().manual_seed(0),
    ("fd.losses.noise_and_target", "levels"): lambda: torch.ones(B, 4),
    ("fd.losses.rademacher", "keys"): keys,
    ("fd.losses.sliced", "probe"): x,
    ("fd.losses.squared_error", "mean"): lambda: False,
    ("fd.losses.squared_error", "output"): x,
    ("fd.losses.squared_error", "weight"): lambda: torch.ones(B),
    ("fd.losses.weights.find", "name"): lambda: "edm",
    ("fd.models.Gamma", "ends"): lambda: (-5.0, 5.0),
    ("fd.models.Guided", "denoiser"): lambda: _member("ddpm"),
    ("fd.models.Guided", "classifier"): lambda: _member("classifier"),
    ("fd.models.Space", "classes"): lambda: 10,
    ("fd.models.find", "name"): lambda: "vae",
    ("fd.models.UNet", "config"): lambda: UNET,
    ("fd.models.UNet.forward", "y"): lambda: torch.tensor([0, 10]),
    ("fd.noise.fold_in", "data"): lambda: 5,
    ("fd.ops.backend", "name"): lambda: "reference",
    ("fd.ops.mix_noise", "mix"): lambda: torch.ones(B, 4),
    ("fd.ops.moments", "a"): x,
    ("fd.ops.moments", "b"): x,
    ("fd.ops.randn_", "out"): lambda: torch.zeros(600),
    ("fd.ops.randn_", "generator"): lambda: torch.Generator().manual_seed(0),
    ("fd.ops.step_", "row"): lambda: torch.zeros(B, dtype=torch.int64),
    ("fd.ops.step_", "rows"): rows,
    ("fd.sampling.SamplerState.restart", "sample"): lambda: 0,
    ("fd.sampling.SamplerState.restart", "x"): lambda: x()[0],
    ("fd.sampling.SamplerState.step", "out"): x,
    ("fd.sampling.SamplerState.take", "other"): lambda: sampling.SamplerState(_table(), x()),
    ("fd.sampling.SamplerState", "noise"): lambda: "philox",
    ("fd.sampling.predictor_corrector", "noise"): lambda: "philox",
    ("fd.sampling.sample", "noise"): lambda: "philox",
    ("fd.sampling.sample_adaptive", "solver"): lambda: sampling.RK45(rtol=1e-2, atol=1e-2),
    ("fd.schedules.DiscreteBetas", "betas"): lambda: [0.1, 0.2, 0.3],
    ("fd.schedules.DiscreteBetas.from_alphas_cumprod", "alphas_cumprod"): lambda: [0.9, 0.5],
    ("fd.schedules.DiscreteSigmas", "sigmas"): lambda: [0.1, 1.0, 3.0],
    ("fd.schedules.DiscreteSigmas.of", "table"): schedules.DiscreteBetas.linear,
    ("fd.schedules.VarianceExploding", "base"): schedules.VPLinear,
    ("fd.solvers.DDPM", "variance"): lambda: "fixed_small",
    ("fd.solvers.StepTable", "exact_on_point_mass"): lambda: "full",
    ("fd.solvers.StepTable", "levels"): lambda: _table().levels,
    ("fd.solvers.StepTable", "order"): lambda: 1,
    ("fd.solvers.StepTable", "prediction_target"): lambda: "x0",
    ("fd.solvers.StepTable.pack", "dtype"): lambda: "float32",
    ("fd.solvers.StepTable", "rows"): lambda: _table().rows,
    ("fd.solvers.StepTable", "schedule"): lambda: "VPLinear",
    ("fd.solvers.StepTable", "solver"): lambda: "DDIM()",
    ("fd.solvers.get", "name"): lambda: "DDIM",
}
BY_CALL |= {
    ("fd.models.load", "path"): model_file,
    ("fd.models.save", "path"): lambda: folder() / "model.safetensors",
    ("fd.models.save", "config"): lambda: UNET,
    ("fd.models.save", "state"): _weights,
    ("fd.training.Images", "labels"): lambda: torch.tensor([0, 1, 2]),
    ("fd.training.Images", "levels"): lambda: images().levels,
    ("fd.training.Images.padded", "pixels"): lambda: 1,
    ("fd.training.Images.values", "rows"): lambda: torch.tensor([0, 2]),
    ("fd.training.TrainConfig", "batch"): lambda: B,
    ("fd.training.TrainConfig", "model"): lambda: None,
    ("fd.training.TrainConfig", "data"): lambda: "digits8",
    ("fd.training.TrainConfig.from_dict", "values"): lambda: config().to_dict(),
    ("fd.training.batch_seed", "step"): lambda: 3,
    ("fd.training.evaluate", "model"): lambda: state().model,
    ("fd.training.export", "path"): lambda: folder() / "model.safetensors",
    ("fd.training.export", "config"): unet_config,
    ("fd.training.export", "state"): lambda: training.new_state(unet_config(), images()),
    ("fd.training.export", "command"): lambda: "fastdiff train",
    ("fd.training.load", "name"): image_folder,
    ("fd.training.load_checkpoint", "path"): checkpoint,
    ("fd.training.load_model", "path"): checkpoint,
    ("fd.training.preset", "family"): lambda: "vae",
    ("fd.training.save_checkpoint", "path"): lambda: folder() / "checkpoint.safetensors",
    ("fd.training.train", "out"): folder,
    ("fd.training.train", "progress"): lambda: False,
    ("fd.integrations.diffusers.accelerate", "obj"): lambda: {"scheduler": DDIMScheduler()},
    ("fd.integrations.diffusers.accelerate", "noise"): lambda: "torch",
    ("fd.integrations.diffusers.accelerate", "report"): lambda: None,
    ("fd.integrations.diffusers.portable", "obj"): lambda: {"scheduler": DDIMScheduler()},
    ("fd.integrations.diffusers.restore", "obj"): lambda: {"scheduler": DDIMScheduler()},
    ("fd.integrations.diffusers.sampler_of", "scheduler"): scheduler,
    ("fd.integrations.score_sde.get_ode_sampler", "denoise"): lambda: True,
    ("fd.integrations.score_sde.get_pc_sampler", "denoise"): lambda: True,
    ("fd.integrations.score_sde.get_pc_sampler", "predictor"): lambda: "reverse_diffusion",
    ("fd.integrations.score_sde.get_pc_sampler", "corrector"): lambda: "langevin",
    ("fd.integrations.score_sde.get_pc_sampler", "snr"): lambda: 0.16,
    ("fd.integrations.score_sde.get_sampling_fn", "config"): score_sde_config,
}
KDIFF = "fd.integrations.k_diffusion"
BY_CALL |= {
    (f"{KDIFF}.BrownianTreeNoiseSampler.__call__", "sigma"): lambda: 3.0,
    (f"{KDIFF}.BrownianTreeNoiseSampler.__call__", "sigma_next"): lambda: 0.5,
    (f"{KDIFF}.append_zero", "x"): lambda: torch.tensor([3.0, 0.5]),
    (f"{KDIFF}.get_ancestral_step", "sigma_from"): lambda: 3.0,
    (f"{KDIFF}.get_ancestral_step", "sigma_to"): lambda: 0.5,
    (f"{KDIFF}.log_likelihood", "atol"): lambda: 1e-2,
    (f"{KDIFF}.log_likelihood", "rtol"): lambda: 1e-2,
    (f"{KDIFF}.to_d", "denoised"): lambda: 0.5 * x(),
    (f"{KDIFF}.to_d", "sigma"): lambda: torch.full((B,), 0.5),
}
for name in fd.integrations.k_diffusion.__dict__:
    if name.startswith(("sample_", "get_sigmas_", "log_")):
        BY_CALL[f"{KDIFF}.{name}", "n"] = lambda: 3
        BY_CALL[f"{KDIFF}.{name}", "disable"] = lambda: True
        BY_CALL[f"{KDIFF}.{name}", "callback"] = lambda: lambda info: None
for name in ("VPSDE", "subVPSDE", "VESDE"):
    BY_CALL[f"fd.integrations.score_sde.{name}.schedule", "continuous"] = lambda: True
for member in models.FAMILY.values():
    BY_CALL[f"fd.models.{member.__name__}", "config"] = lambda m=member: m.Config(hidden=8)
    BY_CALL[f"fd.models.{member.__name__}", "space"] = lambda: SPACE
for name in ("VE", "VP", "SubVP", "RectifiedFlow"):
    of = getattr(fd.processes, name).family
    for method in ("", ".diffusion", ".diffusion2", ".drift", ".marginal", ".reverse"):
        BY_CALL[f"fd.processes.{name}{method}", "schedule"] = of
for name in ("Process", "VE", "VP", "SubVP", "RectifiedFlow"):
    call = f"fd.processes.{name}.reverse"
    BY_CALL[call, "t"] = BY_CALL[call, "noise"] = lambda: 0.5
    BY_CALL[call, "score"] = x
for name in ("SubVP", "VPLinear"):
    BY_CALL[f"fd.schedules.{name}.t_of_integral", "B"] = lambda: 0.5
for name in ("Linspace", "SGMUniform", "Simple", "Trailing"):
    BY_CALL[f"fd.grids.{name}.__call__", "schedule"] = schedules.DiscreteBetas.linear


def find(call: str, parameter: str):
    """What makes a right value for the parameter, or None."""
    return BY_CALL.get((call, parameter)) or BY_NAME.get(parameter)
