"""The forward process in training loops: a x0 + b noise with a and b of each sample's timestep.

One look-up and one fused multiply-add, in float32 whatever the dtype of the samples; nothing is
read back from a device.
"""

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .step_index import on_host, version_of
from .stock import BeforeStock


class Noising(BeforeStock):
    """Base: tables, kept for as long as what they are made of is the scheduler's, unchanged."""

    def _kept(self, name: str, source: Tensor, like: Tensor, make):
        """What ``make(dtype, device)`` makes of ``source`` for samples such as ``like``."""
        kept = self.__dict__.setdefault("_tables", {})
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        key, version = (name, dtype, like.device), version_of(source)
        found = kept.get(key)
        if found is None or found[0] is not source or found[1] != version:
            with torch.inference_mode(False):
                kept[key] = found = source, version, make(dtype, like.device)
        return found[2]


def mix(coefficients: Tensor, one: Tensor, other: Tensor, sign: int = 1) -> Tensor:
    """a one + sign b other, (a, b) [n, 2] for n samples or for all."""
    shape = (len(coefficients), *[1] * (one.dim() - 1))
    a, b = (part.reshape(shape) for part in coefficients.unbind(1))
    wanted = torch.promote_types(one.dtype, other.dtype)
    if one.dtype == other.dtype == coefficients.dtype and one.shape == other.shape:
        return torch.mul(one, a).addcmul_(other, b, value=sign)
    return torch.add(torch.mul(one, a), torch.mul(other, b), alpha=sign).to(wanted)


class ByTimestep(Noising):
    """The timestep is an index into ``alphas_cumprod``."""

    def add_noise(self, original_samples, noise, timesteps):
        if is_compiling():  # tables are kept by what a tensor is, which a graph cannot ask
            return self.stock.add_noise(self, original_samples, noise, timesteps)
        return mix(self._levels_of(timesteps, original_samples), original_samples, noise)

    def _levels_of(self, timesteps, like):
        source = self.alphas_cumprod

        def make(dtype, device):
            alpha2 = on_host(self, "alphas_cumprod").double()  # a device need not have float64
            levels = torch.stack((alpha2.sqrt(), (1 - alpha2).sqrt()), dim=1)
            return levels.to(dtype).to(device)

        table = self._kept("alphas", source, like, make)
        return table[timesteps.to(like.device, non_blocking=True).flatten()]


class WithVelocity(ByTimestep):
    """These have ``get_velocity``, too."""

    def get_velocity(self, sample, noise, timesteps):
        if is_compiling():
            return self.stock.get_velocity(self, sample, noise, timesteps)
        return mix(self._levels_of(timesteps, sample), noise, sample, -1)


class LooksUp(Noising):
    """Base: the timestep is looked up in ``timesteps``; the level is the sigma there."""

    missing_is_last = False  # an unknown timestep is the last; else it is an error

    def _pair(self, sigma):
        """(a, b) of a sigma."""
        return torch.ones_like(sigma), sigma

    def _sigmas_of(self, timesteps, like):
        """[n, 2] (a, b), or None if the stock method is to raise, or to be traced."""
        if is_compiling():
            return None
        source = self.sigmas

        def make(dtype, device):
            levels = self._pair(on_host(self, "sigmas").double())
            return torch.stack(levels, dim=1).to(dtype).to(device)

        table = self._kept("sigmas", source, like, make)
        if self.begin_index is not None:  # one level for all: where the sampling begins or is
            at = self.begin_index if self.step_index is None else self.step_index
            return table[at : at + 1]
        dtype = _common(self.timesteps.dtype, timesteps.dtype)
        known = self._kept(
            f"indices {dtype}", self.timesteps, like,
            lambda *_: _indices(on_host(self, "timesteps"), like, dtype),
        )  # fmt: skip
        if like.is_cpu and timesteps.is_cpu:
            return self._on_cpu(known, timesteps.flatten().tolist(), table)
        return self._on_device(known, timesteps.to(like.device, non_blocking=True), table)

    def _on_cpu(self, known, timesteps, table):
        indices = [known.get(t) for t in timesteps]
        if None in indices:
            if not self.missing_is_last:
                return None
            indices = [len(self.timesteps) - 1 if k is None else k for k in indices]
        return table[indices]

    def _on_device(self, known, timesteps, table):
        values, indices = known
        timesteps = timesteps.flatten().to(values.dtype)
        at = torch.searchsorted(values, timesteps).clamp_(max=len(values) - 1)
        found, indices = values[at] == timesteps, indices[at]
        if self.missing_is_last:
            return table[torch.where(found, indices, len(self.timesteps) - 1)]
        return table[indices].masked_fill(~found[:, None], torch.nan)  # an error would take a sync


class BySigma(LooksUp):
    """x = x0 + sigma noise."""

    def add_noise(self, original_samples, noise, timesteps):
        found = self._sigmas_of(timesteps, original_samples)
        if found is None:
            return self.stock.add_noise(self, original_samples, noise, timesteps)
        return mix(found, original_samples, noise)


class ByRatio(BySigma):
    """sigma is sigma / alpha of a variance-preserving process, or sigma of a flow."""

    missing_is_last = True

    def _pair(self, sigma):
        return self._sigma_to_alpha_sigma_t(sigma)


class ByFlow(LooksUp):
    """x = (1 - sigma) x0 + sigma noise, under the name of ``scale_noise``."""

    def _pair(self, sigma):
        return 1 - sigma, sigma

    def scale_noise(self, sample, timestep, noise=None):
        found = None if noise is None else self._sigmas_of(timestep, sample)
        if found is None:
            return self.stock.scale_noise(self, sample, timestep, noise)
        return mix(found, sample, noise)


def _common(own: torch.dtype, given: torch.dtype) -> torch.dtype:
    """In which timesteps are compared: float64 only where those that are given are, as it may not
    be there on their device."""
    if not (own.is_floating_point or given.is_floating_point):
        return torch.int64
    return torch.float64 if given == torch.float64 else torch.float32


def _indices(timesteps: Tensor, like: Tensor, dtype: torch.dtype):
    """Where each timestep is, the second index of two: a dict; on a device the different timesteps
    in order, and their indices."""
    indices: dict[float, list[int]] = {}
    for k, t in enumerate(timesteps.tolist()):
        indices.setdefault(t, []).append(k)
    found = {t: at[1] if len(at) > 1 else at[0] for t, at in sorted(indices.items())}
    if like.is_cpu:
        return found
    values = torch.tensor(list(found), dtype=dtype).to(like.device)
    return values, torch.tensor(list(found.values())).to(like.device)
