"""What is said to those who write what other libraries understand, or what nearly works."""

import warnings

import numpy as np
import pytest
import torch

import fastdiff as fd
from fastdiff import grids, guidance, sampling, schedules, solvers

X, VP = torch.zeros(2, 3), schedules.VPLinear()
TABLE = solvers.DDIM().lower(VP, 3)


def model(x, t, **cond):
    return 0.1 * x


class Output:
    sample = X


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: solvers.DPMpp2M.lower(VP, 5), TypeError, r"write DDIM\(\).lower\(schedule, steps"),
        (lambda: solvers.DDIMInverse.lower(VP, 5), TypeError, "^self: expected a solver, got VPL"),
        (lambda: solvers.DDIM().lower(schedules.VPLinear, 5), TypeError, r"write VPLinear\("),
        (lambda: solvers.DDIM().lower(VP), ValueError, "^steps: expected a positive integer, or a"),
        (lambda: solvers.DDIM().lower(VP, 5, grid="karras"), TypeError, r"fastdiff.grids.Karras\("),
        (lambda: solvers.DDIM().lower(VP, 5, grid=grids.Karras), TypeError, r"write Karras\(\)"),
        (lambda: solvers.get("DPMPP2M"), ValueError, "Did you mean 'DPMpp2M'"),
        (lambda: fd.sample(model, X, TABLE, guidance=2.0), TypeError, r"write CFG\(2.0\)"),
        (lambda: fd.sample(model, X, TABLE, guidance=guidance.CFG), TypeError, r"write CFG\("),
        (lambda: fd.sample(model, X, TABLE, guidance=guidance.CFG(2.0)), ValueError, "^cond: exp"),
        (lambda: fd.sample(lambda x, t: Output(), X, TABLE), ValueError, r"^out: .*its \.sample"),
        (lambda: fd.sample(lambda x, t: {"sample": x}, X, TABLE), ValueError, "values: .'sample'"),
        (lambda: fd.sample(lambda x, t: (x, None), X, TABLE), ValueError, "its first item alone"),
        (lambda: fd.sample(lambda x, t: None, X, TABLE), ValueError, "^out: expected a tensor"),
        (lambda: fd.sample(model, X, TABLE, callback=lambda s: s.x), TypeError, "^callback: .*rep"),
        (lambda: sampling.sample_adaptive(lambda x, t: Output(), X, VP), TypeError, r"\.sample$"),
        (lambda: sampling.sample_adaptive(model, X, VP, sampling.RK45), TypeError, r"RK45\(.*\)"),
    ],
)  # fmt: skip
def test_hint(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [("epsilon", "eps"), ("v_prediction", "v"), ("sample", "x0"), ("flow_prediction", "flow")],
)
def test_predictions_of_diffusers(foreign, ours):
    with pytest.raises(ValueError, match=f"prediction .*got '{foreign}'. Did you mean '{ours}'"):
        solvers.DDIM().lower(VP, 3, prediction=foreign)


def test_a_grid_of_times_has_the_number_of_steps():
    times = [1.0, 0.6, 0.2, 0.0]
    expected = solvers.DDIM().lower(VP, 3, grid=times)
    for grid in (times, np.array(times), torch.tensor(times, dtype=torch.float64)):
        assert solvers.DDIM().lower(VP, grid=grid) == expected
    assert solvers.DDIM().lower(VP, grid=grids.Explicit(times)) == expected


@pytest.mark.parametrize(
    ("module", "typo", "meant"),
    [
        (solvers, "DPMPP2M", "DPMpp2M"), (solvers, "Unipc", "UniPC"),
        (grids, "karras", "Karras"), (guidance, "cfg_", "CFG"), (fd, "Sample", "sample"),
        (fd.losses, "denoising_los", "denoising_loss"), (fd.losses.weights, "MinSnr", "MinSNR"),
        (fd.elbo, "bounds", "bound"), (fd.models, "Unet", "UNet"), (fd.noise, "normals", "normal"),
        (fd.likelihood, "dequantize", "dequantise"), (fd, "solver", "solvers"),
        (fd.processes, "Proces", "Process"), (sampling, "RK54", "RK45"),
    ],
)  # fmt: skip
def test_a_typo(module, typo, meant):
    with pytest.raises(AttributeError, match=f"has no attribute '{typo}'. Did you mean '{meant}"):
        getattr(module, typo)
    with pytest.raises(AttributeError, match="has no attribute 'something_else'$"):
        module.something_else  # noqa: B018


def test_integrations_are_imported_when_asked_for():
    assert fd.integrations.k_diffusion.sample_euler is not None


@pytest.mark.parametrize("solver", [solvers.DDIM(), solvers.UniPC(), solvers.EulerMaruyama()])
def test_schedules_at_the_edge_of_numbers(solver):
    """What is computed at all is computed without a warning, and right."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = schedules.VPLinear(0.1, 1e6)
        table = solver.lower(schedule, 4, prediction="v")
        assert table.alpha[0] == 0
    t = np.array([1e-4, 1e-3, 1e-2, 0.1, 1.0])
    B = t * (0.1 + 0.5 * t * (1e6 - 0.1))
    with np.errstate(over="ignore"):
        exact = np.where(B < 600, -0.5 * np.log(np.expm1(B)), -0.5 * B)
    np.testing.assert_allclose(schedule.lam(t), exact, rtol=1e-15)
    assert torch.isfinite(schedule.lam(torch.tensor(t, dtype=torch.float32))).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.VE(1e-300), "VE: sigma_min must be > 0, from 1e-18"),
        (lambda: schedules.VE(sigma_max=1e20), "VE: sigma_max must be > 0, from 1e-18 to 1e\\+18"),
        (lambda: schedules.EDM(sigma_max=1e20), "EDM: sigma_max must be"),
        (lambda: guidance.CFG(1e38), "^scale: expected a finite number"),
        (lambda: guidance.CFG([1.0, -1e38]), "^scale: expected a finite number"),
        (
            lambda: solvers.DDIM().lower(schedules.LogSNR((-1000.0, 1000.0)), 4),
            "row 1: p_x must be a number in float32",
        ),
    ],
)
def test_numbers_beyond_float32(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fd.likelihood.dequantise(X, 1, fd.noise.keys(0, 2)), "^depth: expected an int"),
        (lambda: grids.Thinned(grids.Uniform(), 10**400), "^of: expected an integer"),
        (lambda: grids.beta_quantile(0.5, 1e308, 1), "^a: expected a finite number"),
        (lambda: grids.beta_quantile(10**400, 1, 1), "^p: expected real numbers"),
        (lambda: fd.losses.low_discrepancy(2**62, torch.Generator()), "^batch: expected an int"),
        (lambda: fd.losses.levels(VP, [0.5], "eps"), "^t: expected a tensor"),
        (lambda: fd.elbo.posterior(VP, 0.5, 0.25), "^t: expected a floating-point tensor"),
        (lambda: fd.elbo.prior_kl(None, VP, torch.tensor(0.5)), "^x0: expected a floating-point"),
        (lambda: fd.losses.standard_normal(None, X), "^noise: expected a tensor"),
        (lambda: fd.losses.standard_normal(X.to_sparse(), X), "^noise: expected a tensor in dense"),
        (lambda: VP.alpha("half"), "^t: expected real numbers"),
        (lambda: VP.alpha(None), "^t: expected real numbers"),
        (lambda: VP.alpha(torch.zeros(2, dtype=torch.complex64)), "^t: expected a tensor"),
    ],
)
def test_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
