"""Write the tables of a plan as TOML. Pure."""

import re

import tomli_w

_BEYOND_ASCII = re.compile(r"[^\n -~]")


def toml(tables: dict[str, object]) -> str:
    """Return *tables* as TOML in ASCII.

    ASCII ensures that no name in the text can control a terminal.
    """
    return _BEYOND_ASCII.sub(_escaped, tomli_w.dumps(tables))


def _escaped(character: re.Match[str]) -> str:
    return f"\\U{ord(character[0]):08x}"
