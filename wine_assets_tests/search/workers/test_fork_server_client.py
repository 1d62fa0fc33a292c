"""A template that loads before it is known what for."""

import os
from collections.abc import Iterator

import pytest

from wine_assets.search.workers import fork_server_client
from wine_assets.search.workers.processes import Workers
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.processes import all_gone, descendants, eventually

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    fork_server_client.discard()
    assert not fork_server_client.is_preloaded()


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.usefixtures("two_cores")
def test_a_search_takes_the_template_that_has_begun_to_load() -> None:
    fork_server_client.preload()
    [spare] = fork_server_client._spare
    fork_server_client.preload()
    assert fork_server_client._spare == [spare], "there is one at most"
    with Workers(fake_family.trial_context(), 1) as workers:
        assert workers._fork_server is spare.process
        assert not fork_server_client.is_preloaded()
        assert workers.ready(None)


@pytest.mark.usefixtures("two_cores")
def test_one_that_nobody_takes_leaves_no_process_behind() -> None:
    before = {*descendants()}
    fork_server_client.preload()
    started = {*descendants()} - before
    assert started
    fork_server_client.discard()
    eventually(lambda: all_gone(started))


def test_one_core_is_not_shared_with_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    fork_server_client.preload()
    assert not fork_server_client.is_preloaded()
