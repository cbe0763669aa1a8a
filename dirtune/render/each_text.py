"""Change every text in plain data."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any


def each_text(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401  (data of any kind)
    """Return the nested data *value* with the function *change* applied to every string in it."""
    if type(value) is str:  # a member of a StrEnum is kept
        return change(value)
    if isinstance(value, list | tuple | frozenset) and not hasattr(value, "_fields"):
        return type(value)(each_text(item, change) for item in value)
    if isinstance(value, Mapping):
        return {each_text(key, change): each_text(item, change) for key, item in value.items()}
    if names := getattr(type(value), "__struct_fields__", None):
        return type(value)(**{name: each_text(getattr(value, name), change) for name in names})
    if is_dataclass(value) and not isinstance(value, type):
        own = (field.name for field in fields(value) if field.init)
        return replace(value, **{name: each_text(getattr(value, name), change) for name in own})
    return value
