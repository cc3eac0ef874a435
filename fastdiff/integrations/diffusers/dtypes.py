"""The dtypes of schedulers. Knows no scheduler."""

from dataclasses import dataclass

import torch

from .adapters.lowering import Rows

FLOAT32 = torch.float32


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
        "single": torch.promote_types(output, FLOAT32),
        "wide": torch.promote_types(promoted, FLOAT32),
    }[kind]


#: Of schedulers that compute in what they get.
PROMOTES = DtypePolicy("promoted", second="promoted")
#: ... and return what they were given.
OF_SAMPLE = DtypePolicy("sample", second="sample", hands_on=False)
