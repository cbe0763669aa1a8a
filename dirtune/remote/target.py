"""Another name and settings of ssh for a host, as an Ansible inventory gives them. Pure."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.errors import NotPossible

_FLAGS = {"C": "Compression yes", "4": "AddressFamily inet", "6": "AddressFamily inet6"}
_VALUES = {"i": "IdentityFile", "J": "ProxyJump", "p": "Port", "l": "User", "c": "Ciphers"}
# They forward what dirtune never forwards, or only change what ssh prints.
_UNUSED = frozenset("aAfgknNqtTvxXyY")
_OPTION = re.compile(r"(?P<keyword>[A-Za-z0-9]+)([ \t]*=[ \t]*|[ \t]+)\S[^\n\r\0]*", re.ASCII)
_BLOCKS = frozenset({"host", "match", "include"})
_PATTERN = frozenset("*?!,\"' ")


@dataclass(frozen=True, slots=True)
class Target:
    """How ssh reaches a host that has another name in dirtune's messages."""

    name: str
    """The name that ssh gets, or `local` for this machine."""
    rows: tuple[str, ...] = ()
    """Settings of ssh_config(5) for this name; those that dirtune forces come before them."""

    @property
    def section(self) -> str:
        """The settings as the beginning of a configuration file; what follows is for any host."""
        if not self.rows or _PATTERN & set(self.name):
            return ""
        return "".join(f"{row}\n" for row in (f"Host {self.name}", *self.rows, "Host *"))


def setting(keyword: str, value: str) -> str:
    """Return a row of ssh_config(5); raises `NotPossible` if *value* cannot be in such a row."""
    if '"' in value or not value.isprintable():
        raise NotPossible(f"{value!a} cannot be the {keyword} of ssh")
    return f'{keyword} "{value}"'


def rows(arguments: str) -> Iterator[str]:
    """Yield the settings of ssh_config(5) that the *arguments* of an ssh command mean.

    Raises `NotPossible` for an argument that is no setting of a connection.
    """
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise NotPossible(f"{arguments!a} are no arguments of ssh ({error})") from error
    while words:
        word = words.pop(0)
        letters = word[1:] if word.startswith("-") else ""
        if letters and set(letters) <= _UNUSED | set(_FLAGS):
            yield from (_FLAGS[letter] for letter in letters if letter in _FLAGS)
        elif letters[:1] in {"o", *_VALUES}:
            yield _with_value(letters[0], letters[1:] or _next(words, word))
        else:
            raise NotPossible(f"dirtune cannot use the argument {word!a} of ssh")


def _with_value(letter: str, value: str) -> str:
    if letter != "o":
        return setting(_VALUES[letter], value)
    option = _OPTION.fullmatch(value.strip())
    if option is None or option["keyword"].lower() in _BLOCKS:
        raise NotPossible(f"dirtune cannot use the option {value!a} of ssh")
    return value.strip()


def _next(words: list[str], word: str) -> str:
    if not words:
        raise NotPossible(f"The argument {word!a} of ssh lacks its value")
    return words.pop(0)
