"""The sampler with adaptive steps: one step size for the whole batch, as in k-diffusion."""

import torch
from torch import Tensor

from ...arguments import function, number
from ...sampling.dpm_adaptive import DPMAdaptive, Run
from ...schedules import EDM
from .callback import followed
from .flow import check_without, is_flow
from .noise import independent
from .run import Call, progress
from .samplers import check_ends


class WholeBatch(Run):
    """The batch as one sample, [1, B, ...]."""

    def __init__(self, solver, call, ends, sampler, s_noise, bar):
        self.call, self.sampler, self.s_noise, self.bar = call, sampler, s_noise, bar
        self.info = {"steps": 0, "nfe": 0, "n_accept": 0, "n_reject": 0}
        self.denoised: Tensor | None = None
        x = call.x if call.x.dtype == torch.float64 else call.x.float()
        low, high = ends
        super().__init__(solver, self.evaluate, x[None], EDM(low, high), "x0", (high, low), 0, {})

    def evaluate(self, x, t):
        like, sigma = self.call.x, t.to(self.call.x.dtype)
        out = self.call.evaluate(x[0].to(like.dtype), sigma.repeat(len(like)))
        if self.denoised is None:  # the first evaluation of an attempt
            self.denoised = out
        self.bar.update()
        return out[None]

    def attempt(self, active):
        self.denoised = None
        super().attempt(active)
        self.info["steps"] += 1
        self.info["nfe"] += self.solver.order
        if self.call.callback is not None:
            self._report()

    def _report(self):
        t, x = self.lam[0].to(torch.get_default_dtype()), self.y[0].to(self.call.x.dtype).clone()
        sigma, before = torch.exp(-t), x.clone()
        self.call.callback({
            "sigma": sigma, "sigma_hat": sigma, "x": x, "i": self.info["steps"] - 1, "t": t,
            "t_up": t, "denoised": self.denoised, "error": self.error[0].to(x),
            "h": float(self.h[0]), **self.info,
        })  # fmt: skip
        self.y = followed(x, before, self.y[0])[None]
        if not self.info["n_accept"]:  # the first error is measured where the sample stands
            self.low = self.y

    def _propose(self, error, active):
        self.error = error
        return super()._propose(error, active)

    def noise(self, target, good):
        """Asked for where a step is accepted, wanted or not."""
        if not bool(good):
            self.info["n_reject"] += 1
            return 0.0
        self.info["n_accept"] += 1
        dtype = torch.get_default_dtype()
        z = self.sampler(*(torch.exp(-lam[0]).to(dtype) for lam in (self.lam, target)))
        return self.s_noise * z[None].to(self.y)


@torch.no_grad()
def sample_dpm_adaptive(
    model, x, sigma_min, sigma_max, extra_args=None, callback=None, disable=None, order=3,
    rtol=0.05, atol=0.0078, h_init=0.05, pcoeff=0.0, icoeff=1.0, dcoeff=0.0, accept_safety=0.81,
    eta=0.0, s_noise=1.0, noise_sampler=None, return_info=False, *, flow=None,
):  # fmt: skip
    """DPM-Solver-12 and -23 with adaptive steps. Lu et al. 2022, appendix C.
    ``fastdiff.sampling.DPMAdaptive``, which has a step size for each sample, on the whole batch.
    """
    call = Call(model, x, extra_args, callback, disable)
    call.check()
    ends = check_ends(sigma_min, sigma_max)
    if ends[0] > ends[1]:
        raise ValueError(f"sigma_min: expected less than sigma_max = {ends[1]:g}, got {ends[0]:g}")
    solver = DPMAdaptive(order, rtol, atol, abs(h_init), pcoeff, icoeff, dcoeff, accept_safety, eta)
    if is_flow(model, flow):
        check_without("eta", "dpm_adaptive", eta)
    if not x.numel():
        raise ValueError(f"x: expected numbers whose error sets the steps, got {list(x.shape)}")
    function("noise_sampler", noise_sampler, optional=True)
    s_noise = number("s_noise", s_noise)
    sampler = independent(x, call.seed) if noise_sampler is None else noise_sampler
    with progress(None, disable) as bar:
        run = WholeBatch(solver, call, ends, sampler, s_noise, bar)
        samples = solver.walk(run).x[0].to(x.dtype)
    return (samples, run.info) if return_info else samples
