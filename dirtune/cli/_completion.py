"""Complete what a user types after Tab: ids of checks, names of hosts, folders of runs.

A shell starts dirtune at each Tab, so a module is imported only when its words are needed. Nothing
here raises: an error message would end up in the line that the user is typing.
"""

import ast
import os
import re
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from dirtune import reading

_CONFIG = Path(".ssh/config")  # below the home folder
# Where `bench run` puts them without --out, and what makes a folder a run.
_RUNS = "dirtune-runs/*/run.json"
_MAKE_FIXES = frozenset({"Fix", "sysctl", "commands", "boot"})
"""The functions in whose calls a check names the id of a fix, as first or second argument."""
_PLAIN = re.compile(r"[A-Za-z0-9_.,:=+/@-]+")
"""A path or a host that no shell reads as anything else."""
_WILD = frozenset("*?!")


def checks(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of checks that begin with *incomplete*."""
    from dirtune.checks.discovery import all_checks

    return [check.id for check in all_checks() if check.id.startswith(incomplete)]


def fixes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of checks, or after CHECK/ the fixes of this check, as CHECK/FIX."""
    family, _, rest = incomplete.partition("/")
    name, slash, _ = rest.partition("/")
    if not slash:
        return checks(ctx, parameter, incomplete)
    words = (f"{family}/{name}/{fix}" for fix in _fixes_in(family, name))
    return sorted(word for word in words if word.startswith(incomplete))


def _fixes_in(family: str, name: str) -> set[str]:
    """Return the ids of fixes in the source of a check, which makes them only for a finding."""
    from dirtune.checks import discovery

    if discovery.no_such(f"{family}/{name}"):
        return set()
    path = Path(discovery.__file__).parent / family / f"{name.replace('-', '_')}.py"
    try:
        nodes = ast.walk(ast.parse(reading.read_text(path)))
    except (OSError, ValueError):  # an installation without sources
        return set()
    calls = (node for node in nodes if isinstance(node, ast.Call))
    args = (a for c in calls if getattr(c.func, "id", "") in _MAKE_FIXES for a in c.args[:2])
    texts = (arg.value for arg in args if isinstance(arg, ast.Constant))
    return {text for text in texts if isinstance(text, str)} | _by_themselves(f"{family}/{name}")


def _by_themselves(check: str) -> set[str]:
    from dirtune.change.fixes import all_fixes

    return {fix.id for fix in all_fixes() if check in fix.checks}


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
    plain = tuple(name for name in names if _PLAIN.fullmatch(name))
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
    # A run with another name must be typed: bash puts a word into the line as it is.
    names = [n for n in folders if n.startswith(incomplete) and _PLAIN.fullmatch(n)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]
