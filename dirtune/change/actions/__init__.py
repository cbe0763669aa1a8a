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

    def __getattr__(name: str) -> object:
        """Make `AnyAction`, the union of all kinds, when a decoder first asks for it.

        msgspec distinguishes the kinds by their tags. To make a plan, only the kinds that the plan
        uses are imported.
        """
        if name != "AnyAction":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return functools.reduce(operator.or_, kinds())
