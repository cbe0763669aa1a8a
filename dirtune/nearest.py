"""Refuse an unknown name, and suggest the nearest known names."""

from collections.abc import Iterable

# Smallest ratio of difflib: as near as "irc" is to "irq/".
_ALIKE = 0.55


def no_such(kind: str, word: str, names: Iterable[str], remedy: str = "") -> str:
    """Return the message that no *kind* is called *word*, and suggest the nearest *names*.

    If no name is near, the message ends with *remedy*, which says how to list the names.
    """
    known = near(word, names)
    hint = f"Did you mean {' or '.join(known)}?" if known else remedy
    return f"No such {kind}: {word or '(no name)'}. {hint}".rstrip()


def near(word: str, names: Iterable[str]) -> list[str]:
    """Return up to three of *names* that begin with *word*, or else look like it."""
    known = sorted(set(names))
    longer = [name for name in known if word and name.startswith(word)]
    if longer:
        return longer[:3]
    import difflib  # noqa: PLC0415  (only a mistake needs it)

    return difflib.get_close_matches(word, known, cutoff=_ALIKE)
