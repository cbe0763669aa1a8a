"""The kinds of action: one module per kind, found by walking this package."""

import functools
import importlib
import operator
import pkgutil
from typing import TYPE_CHECKING

from dirtune.change.action import Action


def kinds() -> tuple[type[Action], ...]:
    """Return every kind of action in the package, in the order of their modules' names."""
    modules = (
        importlib.import_module(info.name)
        for info in pkgutil.iter_modules(__path__, f"{__name__}.")
    )
    return tuple(
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
        if issubclass(value, Action)
    )


if TYPE_CHECKING:
    AnyAction = Action
else:
    # msgspec distinguishes the kinds by their tags.
    AnyAction = functools.reduce(operator.or_, kinds())
