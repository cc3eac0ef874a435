"""The keyword arguments with which a model is asked: one set for each output that is mixed."""

import torch


def conditions_of(guidance, cond, uncond) -> dict[str, dict]:
    """Name -> keyword arguments, in the order of the outputs.

    Raises:
        TypeError, ValueError: ``cond`` or ``uncond`` is not what ``sample`` says.
    """
    if guidance is not None and cond is None and uncond is None:
        raise ValueError(
            "cond: expected the model's keyword arguments with the condition, and in uncond those "
            "without, for guidance between the two, got neither; {} if the model needs none"
        )
    if guidance is None and cond is None and uncond is None:
        return {"cond": {}}
    mixed = 1 if guidance is None else guidance.outputs
    if mixed <= 2:
        conditions = {"cond": _arguments("cond", cond)}
    elif isinstance(cond, (list, tuple)) and len(cond) == mixed - 1:
        conditions = {f"cond[{k}]": _arguments(f"cond[{k}]", c) for k, c in enumerate(cond)}
    else:
        got = f"{len(cond)}" if isinstance(cond, (list, tuple)) else type(cond).__name__
        raise TypeError(f"cond: expected a list of {mixed - 1} dicts, one per scale, got {got}")
    without = _arguments("uncond", uncond)
    if guidance is None:
        if without:
            raise ValueError(
                "uncond: expected None without guidance, which alone reads it, got a dict"
            )
        return conditions
    for name, values in conditions.items():
        if set(values) != set(without):
            raise ValueError(
                f"uncond: expected the keys of {name}, {sorted(values)}, got {sorted(without)}"
            )
    return {"uncond": without, **conditions}


def _arguments(name, values) -> dict:
    if values is not None and not isinstance(values, dict):
        raise TypeError(
            f"{name}: expected a dict of keyword arguments for the model, got {values!r}"
        )
    return dict(values or {})


def stacked(conditions: dict[str, dict], batch: int) -> dict:
    """One set of keyword arguments for all conditions: tensors are concatenated along the batch."""
    for label, values in conditions.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and (value.dim() < 1 or len(value) != batch):
                raise ValueError(
                    f"{label}[{name!r}]: expected a leading dimension of {batch}, "
                    f"got {list(value.shape)}"
                )
    first, *others = conditions.values()
    if not others:
        return first
    together = {}
    for name in first:
        each = [given[name] for given in conditions.values()]
        if all(isinstance(v, torch.Tensor) for v in each):
            together[name] = torch.cat(each)
        elif all(v is each[0] or v == each[0] for v in each):
            together[name] = each[0]
        else:
            raise ValueError(
                f"uncond[{name!r}]: expected a tensor, or the value of cond, got {each[0]!r}"
            )
    return together
