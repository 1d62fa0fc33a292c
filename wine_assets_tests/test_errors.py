import inspect
import subprocess
import sys

import pytest

from wine_assets import errors
from wine_assets.errors import ConfigurationError, HyperparameterError, MissingExtraError, WineAssetsError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_can_be_caught_as_this_projects(kind: type) -> None:
    assert issubclass(kind, WineAssetsError)


def test_a_refused_hyperparameter_is_a_refused_configuration() -> None:
    assert issubclass(HyperparameterError, ConfigurationError)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [("it broke", "it broke."), ("it broke.", "it broke."), ("why?", "why?"), ("no!", "no!"), ("", ".")],
)
def test_a_message_ends_as_a_sentence_does(message: str, sentence: str) -> None:
    assert errors.as_sentence(message) == sentence


def test_a_missing_extra_is_named_with_the_command_that_installs_it() -> None:
    error = MissingExtraError("postgres", "Reading postgresql:// URLs")
    assert str(error) == (
        "Reading postgresql:// URLs needs the extra `postgres`, which is not installed. "
        "Install it with: pip install 'wine-assets[postgres]'"
    )


@pytest.mark.process
def test_errors_and_files_need_nothing_but_the_standard_library() -> None:
    """They import in a Python that sees no installed package."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); import wine_assets.errors, wine_assets.files"
    root = inspect.getfile(errors).removesuffix("wine_assets/errors.py")
    subprocess.run([sys.executable, "-I", "-S", "-c", program, root], check=True, timeout=60)
