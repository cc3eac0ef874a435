"""What every test shares: reproducible hypothesis, the quick run."""

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.support.covering import thin

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
