"""A template that loads before it is known what for."""

import os
from collections.abc import Iterator

import pytest

from wine_assets.search.workers import preloading
from wine_assets.search.workers.processes import Workers
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.processes import all_gone, descendants, eventually


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    preloading.discard()
    assert not preloading.is_preloaded()


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.usefixtures("two_cores")
def test_a_search_takes_the_template_that_has_begun_to_load() -> None:
    preloading.preload()
    [spare] = preloading._spare
    preloading.preload()
    assert preloading._spare == [spare], "there is one at most"
    with Workers(fake_family.workload(), 1) as workers:
        assert workers._template is spare.process
        assert not preloading.is_preloaded()
        assert workers.ready(None)


@pytest.mark.usefixtures("two_cores")
def test_one_that_nobody_takes_leaves_no_process_behind() -> None:
    before = {*descendants()}
    preloading.preload()
    started = {*descendants()} - before
    assert started
    preloading.discard()
    eventually(lambda: all_gone(started))


def test_one_core_is_not_shared_with_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    preloading.preload()
    assert not preloading.is_preloaded()
