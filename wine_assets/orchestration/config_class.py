"""Dagster configs that are built from typed models, so that no field is written twice."""

import copy
import functools
import types
from typing import Any, Union, get_args, get_origin

import dagster as dg
from pydantic import create_model

from wine_assets.config import StrictModel


@functools.cache
def config_class(model: type[StrictModel]) -> Any:
    """Return a Dagster config with the fields and rules of a model, and with configs for the models within it."""
    changed: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        annotation = _with_configs(field.annotation)
        if annotation == field.annotation:
            continue
        own = copy.copy(field)
        own.annotation = annotation
        if isinstance(field.default, StrictModel):
            own.default = config_class(type(field.default)).model_validate(field.default.model_dump())
        changed[name] = (annotation, own)
    name = f"{model.__name__.removesuffix('Params')}Config"
    return create_model(name, __base__=(dg.Config, model), __doc__=model.__doc__, __module__=__name__, **changed)


def _with_configs(annotation: Any) -> Any:
    """Return a type with a config in place of each model, however deep it lies."""
    if isinstance(annotation, type) and not get_args(annotation):
        return config_class(annotation) if issubclass(annotation, StrictModel) else annotation
    parts = get_args(annotation)
    if not parts or all(_with_configs(part) == part for part in parts):
        return annotation
    inner = tuple(map(_with_configs, parts))
    return Union[inner] if get_origin(annotation) in (Union, types.UnionType) else get_origin(annotation)[inner]  # noqa: UP007 - made at run time
