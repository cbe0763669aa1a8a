"""Find the checks by walking the folders of this package, and choose among them by id."""

import functools
import importlib
import pkgutil

from dirtune import checks, nearest
from dirtune.checks import Check


def all_checks() -> tuple[Check, ...]:
    """Return every check in the package, sorted by id."""
    modules = (
        importlib.import_module(info.name)
        for info in pkgutil.walk_packages(checks.__path__, f"{checks.__name__}.")
        if info.name.count(".") > checks.__name__.count(".") + 1  # a module in a family's folder
    )
    values = (value for module in modules for value in vars(module).values())
    # Another module may import a check to name it as a cause; count the check once.
    by_id = {value.id: value for value in values if isinstance(value, Check)}
    return tuple(by_id[name] for name in sorted(by_id))


def chosen(
    checks: tuple[Check, ...], select: tuple[str, ...] = (), ignore: tuple[str, ...] = ()
) -> tuple[Check, ...]:
    """Return the checks whose id begins with one of *select* but with none of *ignore*.

    An empty *select* selects all checks.
    """
    return tuple(
        c
        for c in checks
        if (not select or c.id.startswith(select)) and not c.id.startswith(ignore)
    )


def no_such(word: str, *, prefix: bool = False) -> str | None:
    """Return an error message with similar ids if *word* is not a check's id, else None.

    If *prefix* is set, *word* may also be the beginning of an id.
    """
    ids = _ids()
    if word in ids or (prefix and word and any(known.startswith(word) for known in ids)):
        return None
    families = {f"{known.partition('/')[0]}/" for known in ids} if prefix else set()
    return nearest.no_such("check", word, ids | families, "`dirtune explain` lists them.")


@functools.cache
def _ids() -> frozenset[str]:
    return frozenset(check.id for check in all_checks())
