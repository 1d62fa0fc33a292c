from pathlib import Path

import pytest

from wine_assets.inference import ModelRepository
from wine_assets.inference.manifest import Content, Provenance
from wine_assets_tests.support.published_models import PROVENANCE, Publishable, publishable


@pytest.fixture(scope="session")
def first() -> Publishable:
    return publishable(1.0)


@pytest.fixture(scope="session")
def second() -> Publishable:
    """Another model than `first`."""
    return publishable(0.01)


@pytest.fixture(scope="session")
def model(first: Publishable) -> bytes:
    return first.model


@pytest.fixture(scope="session")
def other_model(second: Publishable) -> bytes:
    return second.model


@pytest.fixture(scope="session")
def content(first: Publishable) -> Content:
    return first.content


@pytest.fixture(scope="session")
def provenance() -> Provenance:
    return PROVENANCE


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """A repository in which there is nothing yet."""
    return ModelRepository(tmp_path / "models" / "wine")


@pytest.fixture
def released(repository: ModelRepository, first: Publishable) -> ModelRepository:
    """A repository whose only version is the champion."""
    first.release(repository)
    return repository
