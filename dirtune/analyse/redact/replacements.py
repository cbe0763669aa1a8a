"""The replacements that the rules of a redaction use, and the type of these rules."""

from collections.abc import Callable
from dataclasses import dataclass

from dirtune.analyse.redact.addresses import Addresses
from dirtune.analyse.redact.names import Names
from dirtune.analyse.redact.texts import Texts


@dataclass(frozen=True, slots=True)
class Replacements:
    """The replacements of addresses, of names, and of both in free text."""

    addresses: Addresses
    names: Names
    texts: Texts


Rule = Callable[[Replacements, str], str]
"""A function that returns the redacted text of a file."""
