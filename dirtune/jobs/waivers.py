"""Read waivers from /etc/dirtune/dirtune.toml and ~/.config/dirtune/dirtune.toml."""

from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec

from dirtune import reading
from dirtune.checks import Waiver
from dirtune.checks.discovery import no_such
from dirtune.errors import PlanError
from dirtune.formats import from_toml

_SYSTEM = Path("/etc/dirtune/dirtune.toml")
_OWN = Path(".config/dirtune/dirtune.toml")

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    check: _Text
    reason: _Text
    expires: date
    subject: str | None = None
    host: str | None = None


class _Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The complete configuration file. Other TOML tables are refused as misspelt waivers."""

    waivers: tuple[_Row, ...] = ()


def waivers(given: Path | None) -> tuple[Waiver, ...]:
    """Return the waivers in the file *given*, or in the configuration files that exist.

    Raises `PlanError`, which names the file and the key, if a waiver is wrong.
    """
    if given is not None:
        return _read(given)
    paths = (path for path in (_SYSTEM, *_own()) if _exists(path))
    return tuple(waiver for path in paths for waiver in _read(path))


def _own() -> tuple[Path, ...]:
    try:
        return (Path.home() / _OWN,)
    except RuntimeError:  # $HOME is unset, and the user database has no entry for this user
        return ()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the home belongs to another user, as after `sudo -u` without -H
        return False


def _read(path: Path) -> tuple[Waiver, ...]:
    try:
        document = from_toml(reading.read_text(path))
        config = msgspec.convert(document, _Config)
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is not UTF-8 text. Save it as UTF-8.") from error
    except (PlanError, msgspec.ValidationError) as error:
        raise PlanError(f"{path}: {error}") from error
    for number, row in enumerate(config.waivers):
        if refusal := no_such(row.check):
            raise PlanError(f"{path}: waivers[{number}].check: {refusal}")
    return tuple(Waiver(r.check, r.reason, r.expires, r.subject, r.host) for r in config.waivers)
