"""Complete what a user types after Tab: ids of checks, names of hosts, folders of runs.

A shell starts dirtune at each Tab, so a module is imported only when its words are needed. Nothing
here raises: an error message would end up in the line that the user is typing.
"""

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from dirtune import reading
from dirtune.escape import one_line

_CONFIG = Path(".ssh/config")  # below the home folder
# Where `bench run` puts them without --out, and what makes a folder a run.
_RUNS = "dirtune-runs/*/run.json"
_WILD = frozenset("*?!")


def checks(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of checks that begin with *incomplete*."""
    from dirtune.checks.discovery import all_checks

    return [check.id for check in all_checks() if check.id.startswith(incomplete)]


def hosts(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the hosts of ssh_config(5) and of ./dirtune.toml that begin with *incomplete*."""
    of_plan, config = _plan()
    names = {*of_plan, *ssh_hosts(_text(_CONFIG)), *(ssh_hosts(_text(config)) if config else ())}
    return sorted(name for name in names if name.startswith(incomplete))


def _plan() -> tuple[tuple[str, ...], Path | None]:
    """Return the hosts of ./dirtune.toml, and the ssh_config that commands use."""
    from dirtune import plan as plans
    from dirtune.errors import DirtuneError
    from dirtune.jobs import plan_files

    named = os.environ.get("DIRTUNE_SSH_CONFIG")
    config = Path(named).absolute() if named else None
    if not plan_files.DEFAULT.is_file():
        return (), config
    try:
        plan = plans.read(plan_files.locate(None))
    except (DirtuneError, OSError):
        return (), config
    names = (plan.director.host, *((plan.backup.host,) if plan.backup else ()), *plan.hosts)
    plain = tuple(name for name in names if name == one_line(name))
    return plain, Path(plan.ssh_config).absolute() if plan.ssh_config else config


def _text(path: Path) -> str:
    """Return the text of a file, whose path may be relative to the home folder; "" if unread."""
    try:
        return reading.read_text(Path.home() / path)
    except (OSError, ValueError, RuntimeError):  # no such file, not UTF-8, or no home
        return ""


def ssh_hosts(text: str) -> list[str]:
    """Return the names in the `Host` lines of an ssh_config(5) that are not patterns, sorted."""
    names: set[str] = set()
    for row in text.splitlines():
        word, *rest = row.replace("=", " ", 1).split() or [""]
        if word.lower() == "host":
            names |= {name.strip('"') for name in rest}
    return sorted(name for name in names if name and not _WILD & set(name))


def runs(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the runs below dirtune-runs, or let the shell complete a path."""
    folders = sorted(str(path.parent) for path in Path().glob(_RUNS))
    # A shell would obey a newline in a name; such a run must be typed.
    names = [name for name in folders if name.startswith(incomplete) and name == one_line(name)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]
