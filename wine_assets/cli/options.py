"""Command-line options made from the fields of typed configs, and messages about those fields in words of options."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from wine_assets.config import StrictModel
from wine_assets.errors import WineAssetsError
from wine_assets.evaluation.cross_validation import EvaluationParams
from wine_assets.models.prediction import PredictionsParams
from wine_assets.models.registry import families
from wine_assets.search.backends.registry import BACKENDS
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.study import Budget, Failures

_NUMBERS: dict[Any, tuple[type[int | float], str]] = {int: (int, "a whole number"), float: (float, "a number")}


@dataclass(frozen=True)
class OptionGroup:
    """The fields of one model as options: `--name`, or `--prefix-name` where a prefix keeps names apart."""

    model: type[StrictModel]
    panel: str
    prefix: str = ""
    skip: frozenset[str] = frozenset()

    def parameters(self) -> list[inspect.Parameter]:
        """Return a keyword-only parameter for each field, None when the option isn't given."""
        return [
            self._parameter(name, field) for name, field in self.model.model_fields.items() if name not in self.skip
        ]

    def values(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields whose options were given, by field name."""
        given = {name: options.get(self._argument(name)) for name in self.model.model_fields}
        return {name: value for name, value in given.items() if value is not None and value != []}

    def in_flags(self, message: str) -> str:
        """Return a message about fields of a run config with the options of these fields in their place."""
        for name in self.model.model_fields:
            dotted = f"`{self.model.config_path}.{name}`"
            message = message.replace(f"{dotted} in the run config", self._flag(name)).replace(dotted, self._flag(name))
        return message

    def _argument(self, name: str) -> str:
        """Return the name of an argument; a field `count` is called as its prefix is."""
        if self.prefix and name == "count":
            return self.prefix
        return f"{self.prefix}_{name}" if self.prefix else name

    def _flag(self, name: str) -> str:
        return "--" + self._argument(name).replace("_", "-")

    def _parameter(self, name: str, field: FieldInfo) -> inspect.Parameter:
        flag = self._flag(name)
        declaration = f"{flag}/--no-{flag[2:]}" if field.annotation is bool else flag
        option = typer.Option(
            declaration, help=_help(field), rich_help_panel=self.panel, show_default=False, **_parsing(field)
        )
        return _parameter(self._argument(name), _annotation(field), option)


@dataclass(frozen=True)
class FamilyOptions:
    """The fields of the models of all families as options: one for each name, and --family, which says whose they are.

    Fields of one name are of one type in every family; which fields belong together is for the models to say.
    """

    models: Sequence[type[StrictModel]]
    panel: str
    tag: str = "family"
    """The field that tells the models apart."""
    flag: str = "family"
    """The option of that field."""
    skip: frozenset[str] = frozenset()

    def parameters(self) -> list[inspect.Parameter]:
        """Return a keyword-only parameter for each name, those of several families first."""
        skip = self.skip | {*self._shared}
        groups = [OptionGroup(model, f"{self.panel} of {self._family(model)}", skip=skip) for model in self.models]
        shared = [self._parameter(name) for name in self._shared]
        return [*shared, *(parameter for group in groups for parameter in group.parameters())]

    def values(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields whose options were given, by field name, of whatever family."""
        return {name: value for group in self._groups for name, value in group.values(options).items()}

    def in_flags(self, message: str) -> str:
        """Return a message about fields of a run config with the options of these fields in their place."""
        return functools.reduce(lambda text, group: group.in_flags(text), self._groups, message)

    @property
    def _groups(self) -> list[OptionGroup]:
        return [OptionGroup(model, self.panel) for model in self.models]

    @property
    def _shared(self) -> list[str]:
        names = [name for model in self.models for name in model.model_fields if name not in self.skip]
        return list(dict.fromkeys(name for name in names if names.count(name) > 1))

    def _family(self, model: type[StrictModel]) -> str:
        return str(model.model_fields[self.tag].default)

    def _parameter(self, name: str) -> inspect.Parameter:
        models = {self._family(model): model for model in self.models if name in model.model_fields}
        fields = {family: model.model_fields[name] for family, model in models.items()}
        if name == self.tag:
            argument, annotation = self.flag, Literal[tuple(fields)]
            texts = {family: field.description or models[family].__doc__ or "" for family, field in fields.items()}
        else:
            argument, annotation = name, _annotation(next(iter(fields.values())))
            texts = {family: _help(field) for family, field in fields.items()}
        option = typer.Option(
            "--" + argument.replace("_", "-"),
            help=_by_family(texts),
            rich_help_panel=self.panel,
            show_default=False,
            **_parsing(next(iter(fields.values()))),
        )
        return _parameter(argument, annotation, option)


@dataclass(frozen=True)
class BackendOptions:
    """The fields of all trial backends as options; each field of a model within a backend has that model's prefix.

    A model that may be left out is a switch as well.
    """

    backends: Mapping[str, type[StrictModel]]

    def parameters(self) -> list[inspect.Parameter]:
        """Return a keyword-only parameter for each option, with --backend, which says whose they are."""
        switches = [self._switch(name) for name, (_, is_optional) in self._models.items() if is_optional]
        inner = [parameter for group in self._groups.values() for parameter in group.parameters()]
        return [*self._fields.parameters(), *switches, *inner]

    def values(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields whose options were given, by field name, of whatever backend."""
        fields = self._fields.values(options)
        for name, group in self._groups.items():
            if (inner := group.values(options)) or options.get(name) is True:
                fields[name] = inner
        return {name: value for name, value in fields.items() if name != self._fields.tag}

    def in_flags(self, message: str) -> str:
        """Return a message about fields of a run config with the options of these fields in their place."""
        return functools.reduce(lambda text, group: group.in_flags(text), self._groups.values(), message)

    @property
    def _fields(self) -> FamilyOptions:
        skip = frozenset(self._models)
        return FamilyOptions([*self.backends.values()], "Backend", tag="kind", flag="backend", skip=skip)

    @property
    def _groups(self) -> dict[str, OptionGroup]:
        return {name: OptionGroup(model, "Backend", prefix=name) for name, (model, _) in self._models.items()}

    @property
    def _models(self) -> dict[str, tuple[type[StrictModel], bool]]:
        """The models within backends by their field, and whether each may be left out."""
        found = {}
        for backend in self.backends.values():
            for name, field in backend.model_fields.items():
                kinds = get_args(field.annotation) or (field.annotation,)
                model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrictModel)), None)
                if model is not None:
                    found[name] = model, field.default is None
        return found

    def _switch(self, name: str) -> inspect.Parameter:
        field = next(backend.model_fields[name] for backend in self.backends.values() if name in backend.model_fields)
        option = typer.Option(f"--{name}", help=field.description, rich_help_panel="Backend", show_default=False)
        return _parameter(name, bool, option)


Options = OptionGroup | FamilyOptions | BackendOptions
HYPERPARAMETERS = FamilyOptions([family.hyperparameters for family in families().values()], "Hyperparameters")
EVALUATION = OptionGroup(EvaluationParams, "Evaluation")
PREDICTIONS = OptionGroup(PredictionsParams, "Predictions", prefix="predictions")
OBJECTIVE = OptionGroup(ObjectiveParams, "Objective", skip=frozenset({"seed"}))
BUDGET = OptionGroup(Budget, "Budget")
FAILURES = OptionGroup(Failures, "Failures")
TRIAL_BACKENDS = BackendOptions(BACKENDS)
GROUPS: tuple[Options, ...] = (HYPERPARAMETERS, EVALUATION, PREDICTIONS)
"""The options of `wine-assets run` that fields stand behind."""
SEARCH_GROUPS = (OBJECTIVE, BUDGET, FAILURES, TRIAL_BACKENDS)
"""Those of `wine-assets search`."""

_FLAGS = {
    "path": "--source",
    "query": "--query",
    "url": "--database",
    "url_variable": "--database-variable",
    "class_column": "--class-column",
    "features": "--feature",
    "negative_classes": "--negative-class",
}
_NAMES = "|".join(_FLAGS)
_MENTIONS = (
    re.compile(rf"()`source[.]({_NAMES})`(?: in the run config)?"),
    re.compile(rf"\b([Cc]heck |[Cc]hange |[Uu]se |[Ww]ith |[Ii]n |[Aa]s )`({_NAMES})`(?: in the run config)?"),
    re.compile(rf"()`({_NAMES})`(?= names | must leave | must be one | must not hold | otherwise)"),
)
"""Where a message means the field: a column of the user's may have the same name, and keeps it."""
_SEARCHED = (
    (
        re.compile(r"(Change )?`space[.]\w+[.](\w+)` to (\w+)"),
        lambda mention: f"{'Give ' if mention[1] else ''}--space {mention[2]}={mention[3]}",
    ),
    (re.compile(r"`space[.]\w+(?:[.]\w+)?`(?: in the run config)?"), lambda _: "--space"),
    (re.compile(r"`space` in the run config"), lambda _: "--family"),
    (
        re.compile(r"`(?:search|strategy|backend)[.](\w+)`(?: in the run config)?"),
        lambda mention: "--" + mention[1].replace("_", "-"),
    ),
)
"""Where a message means a field of a search."""


def with_options(groups: Sequence[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of `groups` to a command, which gets those that belong to none of its arguments as `options`.

    The errors of the command name options where they mean fields.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        made = [parameter for group in groups for parameter in group.parameters()]

        def call(**options: Any) -> None:
            try:
                command(**options)
            except WineAssetsError as error:
                error.args = (in_flags(str(error)),)
                raise

        call.__doc__, call.__name__ = command.__doc__, command.__name__
        keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        call.__signature__ = inspect.Signature([*keyword, *made])  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in (*keyword, *made)}
        return call

    return decorate


def in_flags(message: str) -> str:
    """Return a message with options in place of the fields that they set."""
    message = functools.reduce(lambda text, group: group.in_flags(text), (*GROUPS, *SEARCH_GROUPS), message)
    message = functools.reduce(
        lambda text, mention: mention.sub(lambda found: found[1] + _FLAGS[found[2]], text), _MENTIONS, message
    )
    return functools.reduce(lambda text, searched: searched[0].sub(searched[1], text), _SEARCHED, message)


def _by_family(texts: Mapping[str, str]) -> str:
    """Return the text of an option: each once, after the families that it is of unless all have the same."""
    families = {text: [family for family, own in texts.items() if own == text] for text in texts.values()}
    if len(families) == 1:
        return next(iter(families))
    return "; ".join(f"{', '.join(names)}: {text.rstrip('.')}" for text, names in families.items())


def _parameter(argument: str, kind: Any, option: Any) -> inspect.Parameter:
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(argument, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _annotation(field: FieldInfo) -> Any:
    """Return the type that typer parses: that of the field; a list stays one of its item's type, else of text."""
    if get_origin(field.annotation) is list:
        item = get_args(field.annotation)[0]
        return list[str] if item is Any else list[item]  # type: ignore[valid-type]
    return field.annotation


def _parsing(field: FieldInfo) -> dict[str, Any]:
    """Return how the text of a number is read, so that what is none is refused with what was given."""
    if field.annotation not in _NUMBERS:
        return {}
    kind, wanted = _NUMBERS[field.annotation]

    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise typer.BadParameter(f"must be {wanted}, got {text!r}") from None

    return {"parser": parse, "metavar": kind.__name__.upper()}


def _help(field: FieldInfo) -> str:
    description = field.description or ""
    if field.default is PydanticUndefined or field.default in ("", []):
        return description
    return f"{description} \\[default: {field.default}]"
