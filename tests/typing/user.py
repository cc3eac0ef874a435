"""A user's script. mypy reads it, nobody runs it: what is right has no error, and what is wrong
has the one that its comment names, or the comment itself is an error (``warn_unused_ignores``)."""

import numpy as np
import torch
from torch import Tensor, nn

import fastdiff as fd

# What is right.

schedule = fd.schedules.VPCosine()
table = fd.solvers.DPMpp2M(eta=0.5).lower(schedule, 20, prediction="v", clip=(-1, 1))
of_times = fd.solvers.UniPC(order=3).lower(schedule, grid=np.linspace(0.99, 0.0, 11), clip=2)
of_betas = fd.solvers.DDPM().lower(
    fd.schedules.DiscreteBetas(np.full(100, 0.02)), 10, grid=fd.grids.Trailing()
)
threshold = fd.solvers.DDIM().lower(schedule, 5, clip=fd.solvers.DynamicThreshold())
x = torch.randn(4, 3, 8, 8)


def function(x: Tensor, t: Tensor) -> Tensor:
    return x


def conditional(x: Tensor, t: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
    return x


class Module(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x


def show(state: fd.SamplerState) -> None:
    print(state.step_index, state.x.shape)


samples: Tensor = fd.sample(function, x, table)
fd.sample(conditional, x, table, cond={"y": torch.zeros(4)}, callback=show, graph=False)
fd.sample(
    Module(), x, [table] * 4, seeds=[1, 2, 3, 4], guidance=fd.guidance.CFG(2.0), cond={}, uncond={}
)
fd.sample(function, x, table, noise=torch.Generator(), seeds=fd.noise.keys(0, 4))
fd.sample(function, x, table, noise=lambda number, shape: torch.randn(*shape))

state = fd.SamplerState(table, x, guidance=fd.guidance.APG(5.0, momentum=-0.5), noise="torch")
while not state.done:
    state.step([function(part, state.t[:4]) for part in state.model_input.chunk(2)])
steps: int = table.nfe

loss: Tensor = fd.losses.denoising_loss(
    Module(), x, torch.rand(4), torch.randn_like(x), schedule=schedule, prediction="flow",
    weight=fd.losses.weights.MinSNR(),
)  # fmt: skip


class Average(fd.guidance.Guidance):
    outputs = 2

    def weights(self, noise_levels: np.ndarray, batch: int) -> np.ndarray:
        return np.full((1, 1, 2), 0.5)


fd.sample(function, x, table, guidance=Average(), cond={}, uncond={})


class Mine(fd.solvers.Solver):
    order = 1
    prediction_target = "eps"

    @property
    def stochastic(self) -> bool:
        return False


# What is wrong.


def without_time(x: Tensor) -> Tensor:
    return x


def text(x: Tensor, t: Tensor) -> str:
    return "x"


fd.solvers.DDIM().lower(schedule, 5, prediction="epsilom")  # type: ignore[arg-type]
fd.solvers.DDIM().lower(schedule, "5")  # type: ignore[arg-type]
fd.solvers.DDIM().lower(schedule, 5, clip="no")  # type: ignore[arg-type]
fd.solvers.DDIM().lower(fd.schedules.VPCosine, 5)  # type: ignore[arg-type]
fd.solvers.UniPC(prediction_target="v")  # type: ignore[arg-type]
fd.solvers.DDIM(ets=0.5)  # type: ignore[call-arg]
fd.sample(without_time, x, table)  # type: ignore[arg-type]
fd.sample(text, x, table)  # type: ignore[arg-type]
fd.sample(function, x, schedule)  # type: ignore[arg-type]
fd.sample(function, x, table, guidance=2.0)  # type: ignore[arg-type]
fd.sample(function, x, table, noise="brown")  # type: ignore[arg-type]
fd.sample(function, x, table, graph="yes")  # type: ignore[arg-type]
fd.grids.Karas()  # type: ignore[attr-defined]
fd.sample(function, x, table, callback=text)  # type: ignore[arg-type]
fd.sample(function, x, table, seed=1)  # type: ignore[call-arg]
fd.SamplerState(table, [1.0, 2.0])  # type: ignore[arg-type]
fd.losses.denoising_loss(
    function, x, x[:, 0, 0, 0], x, schedule=schedule, prediction="epsilon"  # type: ignore[arg-type]
)  # fmt: skip
state.step("out")  # type: ignore[arg-type]
fd.solvers.DDMI()  # type: ignore[attr-defined]
