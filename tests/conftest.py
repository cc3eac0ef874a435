"""What every test shares: reproducible hypothesis, importable helper modules, the quick run."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

sys.path.insert(0, str(Path(__file__).parent))

from covering import thin  # noqa: E402

settings.register_profile(
    "fastdiff",
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("fastdiff"), max_examples=200)
settings.load_profile("fastdiff")  # unless --hypothesis-profile=thorough


@pytest.hookimpl(tryfirst=True)  # before the slow ones are left out
def pytest_collection_modifyitems(items):
    thin(items)
