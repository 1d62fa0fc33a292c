"""The base of every typed configuration: frozen, closed, and refused with one sentence."""

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from wine_assets.errors import ConfigurationError

_CLEAR_WORDS = {
    "Value error, ": "",
    ", unable to parse string as an integer": "",
    ", got a number with a fractional part": "",
    ", unable to parse string as a number": "",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "Input should be": "must be",
}
"""What takes the place of pydantic's words, in this order."""


class StrictModel(BaseModel):
    """A frozen model that forbids unknown fields and raises ConfigurationError, in words, for what it refuses.

    A rule across fields (a model validator of a subclass) raises the error itself: pydantic asks it last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    config_path: ClassVar[str] = ""
    """How the run config calls this object, such as `hyperparameters`; empty at its top."""
    error_class: ClassVar[type[ConfigurationError]] = ConfigurationError

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_with_a_sentence(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise cls.error_class(" ".join(_sentence(cls, detail) for detail in error.errors())) from None


def clear_message(message: str) -> str:
    """Return a message of pydantic in the project's words."""
    for clumsy, clear in _CLEAR_WORDS.items():
        message = message.replace(clumsy, clear)
    return message


def _sentence(model: type[StrictModel], detail: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] in ("extra_forbidden", "invalid_key"):
        return _unknown(model, name)
    if detail["type"] == "missing":
        return f"{_dotted(model, name)} is missing. {_remedy(model, name)}"
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return _without_kind(_dotted(model, name), detail["ctx"], detail["input"]) + f" {_remedy(model, name)}"
    if not name:
        return f"{model.config_path or model.__name__} {clear_message(detail['msg'])}."
    about = _description(model, name)
    return f"{name} {clear_message(detail['msg'])}, got {detail['input']!r}{about}. {_remedy(model, name)}"


def _without_kind(dotted: str, context: Mapping[str, Any], given: Any) -> str:
    """Say which kinds there are, but not what else was given: it may hold what nobody is to read."""
    kind = context["discriminator"].strip("'")
    if "tag" in context:
        return f"`{kind}` of {dotted} must be one of {context['expected_tags']}, got {context['tag']!r}."
    fields = ", ".join(map(repr, given)) if isinstance(given, Mapping) else type(given).__name__
    return f"{dotted} must have a field `{kind}`, got {fields or 'no field'}."


def _unknown(model: type[StrictModel], name: str) -> str:
    close = difflib.get_close_matches(name.lower(), {field.lower(): field for field in model.model_fields}, n=1)
    meant = next((f" Did you mean `{field}`?" for field in model.model_fields if [field.lower()] == close), "")
    fields = ", ".join(model.model_fields)
    return f"{_dotted(model, name)} is not known.{meant} The fields are: {fields}."


def _description(model: type[StrictModel], name: str) -> str:
    field = model.model_fields.get(name.partition(".")[0])
    return f" ({field.description})" if field is not None and field.description else ""


def _remedy(model: type[StrictModel], name: str) -> str:
    return f"Change `{_dotted(model, name)}` in the run config."


def _dotted(model: type[StrictModel], name: str) -> str:
    return f"{model.config_path}.{name}" if model.config_path else name
