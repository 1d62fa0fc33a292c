"""The errors this project raises: each message is a sentence that names the cause and the remedy."""


def as_sentence(message: str) -> str:
    """Return a message that ends as a sentence does: with a period, unless it does so already."""
    return message if message.endswith((".", "!", "?")) else f"{message}."


class WineAssetsError(Exception):
    """Base of every error of this project; its message is fit to be shown to a user as it is."""


class SettingsError(WineAssetsError):
    """An environment variable or a setting has a value that can't be used."""


class MissingExtraError(WineAssetsError):
    """A capability was asked for whose optional dependencies are not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the extra `{extra}`, which is not installed. "
            f"Install it with: pip install 'wine-assets[{extra}]'"
        )


class ConfigurationError(WineAssetsError):
    """A run configuration was refused before anything ran."""


class HyperparameterError(ConfigurationError):
    """A hyperparameter has a wrong name, type, value or combination."""


class FamilyError(ConfigurationError):
    """A family of models is not installed, or can't be used."""


class SearchError(ConfigurationError):
    """A hyperparameter search was refused before anything was fitted."""


class FailedSearchError(WineAssetsError):
    """Too few trials of a search came to a score."""


class _SentenceError(WineAssetsError):
    """An error whose message ends with a period, whoever raises it."""

    def __init__(self, message: str) -> None:
        super().__init__(as_sentence(message))


class SourceError(_SentenceError):
    """The rows can't be read from where the configuration says they are."""


class UnreachableSourceError(SourceError):
    """The source can't be reached at the moment; trying again may help."""


class DataError(_SentenceError):
    """The rows were read, and what they hold can't be used."""


class TrainingError(WineAssetsError):
    """An estimator can't be fitted on the data that it was given."""


class ComputeRequestError(WineAssetsError):
    """A compute request can't be understood, or can't be met on this machine."""


class MemoryLimitError(WineAssetsError):
    """A step needed more memory than its compute request grants."""


class TimeLimitError(WineAssetsError):
    """A step took longer than its compute request grants."""


class ArtifactError(WineAssetsError):
    """A stored file is missing, damaged or not what it should be."""


class InputError(WineAssetsError):
    """The rows that a caller gave can't be predicted."""


class RepositoryError(WineAssetsError):
    """A version or a name is not in the model repository, or can't be."""


class ConflictError(RepositoryError):
    """Somebody else changed the model repository in between."""


class ExportError(WineAssetsError):
    """An estimator can't be exported to ONNX."""


class ParityError(WineAssetsError):
    """An exported model doesn't answer as the estimator that it came from."""
