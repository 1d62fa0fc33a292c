"""The group that keeps every test of the browser, and of `dagster dev`, on one worker."""

import pytest

pytestmark = pytest.mark.xdist_group("browser")


def test_group_reaches_the_scheduler(request: pytest.FixtureRequest) -> None:
    """`--dist loadgroup` reads a test's group from its id: pytest-xdist 3.8 can't write it there in pytest 9.2."""
    grouped = request.config.getoption("loadgroup", default=False)
    assert request.node.nodeid.endswith("@browser") is bool(grouped)
