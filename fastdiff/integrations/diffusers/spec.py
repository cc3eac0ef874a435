"""How one scheduler of diffusers differs from another, as a record."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

import torch

from .adapters.lowering import Rows, Sampler


@dataclass(frozen=True)
class DtypePolicy:
    """Which dtypes a scheduler returns and draws, given those of a sample and of a model's output.

    Each is a dtype, or a name: "output", "sample", "promoted" (that to which both are promoted),
    "single" (to which the output and float32 are), "wide" (to which all three are), or "converted":
    "output" if the model predicts what the solver works in, else "promoted".

    Attributes:
        result: of the next sample.
        noise: in which noise is drawn.
        second: of the second result.
        hands_on: where the second result is what the model predicts, it is of the output's dtype.
    """

    result: str | torch.dtype = "output"
    noise: str | torch.dtype = "output"
    second: str | torch.dtype = "single"
    hands_on: bool = True

    def dtypes(self, sample: torch.dtype, output: torch.dtype, rows: Rows) -> tuple:
        """The dtypes of the next sample, of the second result and of noise."""
        second = "output" if self.hands_on and rows.predicts_x0 else self.second
        kinds = self.result, second, self.noise
        return tuple(_chosen(kind, sample, output, rows.predicts_target) for kind in kinds)


def _chosen(kind, sample, output, as_predicted):
    if isinstance(kind, torch.dtype):
        return kind
    promoted = torch.promote_types(sample, output)
    return {
        "output": output,
        "sample": sample,
        "promoted": promoted,
        "converted": output if as_predicted else promoted,
        "single": torch.promote_types(output, torch.float32),
        "wide": torch.promote_types(promoted, torch.float32),
    }[kind]


#: These compute in what they get.
PROMOTES = DtypePolicy("promoted", second="promoted")
#: These return what they were given, too.
OF_SAMPLE = DtypePolicy("sample", second="sample", hands_on=False)


@dataclass(frozen=True)
class Spec:
    """One scheduler.

    Attributes:
        adapter: (scheduler, [begin,] *options) -> ``Sampler``; ``begin`` is the count at the first
            step, which multistep methods need.
        kind: the class that keeps the memory of a multistep method in the attributes of the stock
            one, or that has code of its own for this scheduler; None: ``Fused``.
        multistep: whether a step depends on those before it; the kind says so.
        stored: the attributes that hold the stock scheduler's memory, if not those of the kind.
        add_noise: the class whose ``add_noise`` and ``get_velocity`` it has; None: the stock ones.
        index: what says which step it is: the timestep, the count of steps, or both, which have to
            agree.
        counter: the attribute that counts the steps; None: there is none.
        levels: the tensor of the noise levels.
        tensors: further tensors that the adapter reads; they are made together with the levels.
        depends_on: further attributes that the adapter reads, besides the config.
        dtypes: of results and noise.
        returns: how many results a step has.
        options: arguments of ``step`` that are given to the adapter, in its order.
        refuses: arguments of ``step`` for which there is no row, unless they are None.
        one_noise: it refuses a generator beside noise that is given.
        needs_timesteps: it refuses to step before the timesteps are set.
        floating_timesteps: it refuses integers as timesteps.
        scales_input: it expects ``scale_model_input`` to be called.
        noise_given: the caller always gives the noise.
        no_row: what to say of a call for which there is no row.
    """

    adapter: Callable[..., Sampler]
    kind: type | None = None
    _: KW_ONLY
    stored: tuple[str, ...] = ()
    add_noise: type | None = None
    index: Literal["timestep", "counter", "both"] = "counter"
    counter: str | None = "_step_index"
    levels: str = "sigmas"
    tensors: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    dtypes: DtypePolicy = field(default_factory=DtypePolicy)
    returns: int = 1
    options: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    needs_timesteps: bool = True
    floating_timesteps: bool = False
    scales_input: bool = False
    noise_given: bool = False
    one_noise: bool = False
    no_row: str = "timestep {}, which is none of its timesteps"
    multistep: bool = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "multistep", getattr(self.kind, "multistep", False))
