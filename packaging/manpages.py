"""Make a man page of every command, from the docstrings and options that help shows."""

import inspect
import time
from collections.abc import Iterator

import click

from dirtune import __version__
from dirtune.cli import main

_FILES = {
    "": (
        "/etc/dirtune/dirtune.toml",
        "Waivers of this host; ~/.config/dirtune/dirtune.toml adds more.",
    ),
    "plan": (
        "dirtune.toml",
        "The plan, in the current folder, if the command line names no other one.",
    ),
    "host": (
        "~/.ssh/config",
        (
            "How ssh(1) reaches a host. DIRTUNE_SSH_CONFIG names another file; dirtune uses no "
            "password, and the host key must be in known_hosts."
        ),
    ),
    "out": (
        "dirtune-runs",
        "Folders of runs, below the current folder, unless --out names another one.",
    ),
    "journal": (
        "/var/lib/dirtune",
        "Journals of changes, for `dirtune rollback`. DIRTUNE_STATE overrides it.",
    ),
}
"""The files of a page, by the parameter of commands that read or write them; "" is any command."""
_OF_PARAMETERS = {
    "hosts": "host",
    "inventories": "host",
    "nodes": "host",
    "runs": "out",
    "run": "out",
    "before": "out",
    "confirm_s": "journal",
}
_EXAMPLES = "Examples:\n"
_STATUS = "Exit status"


def pages(epoch: int) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page, dated at *epoch* in seconds since 1970."""
    with click.Context(main, info_name="dirtune", **main.context_settings) as ctx:
        yield from _pages(ctx, time.strftime("%Y-%m-%d", time.gmtime(epoch)))


def _pages(ctx: click.Context, date: str) -> Iterator[tuple[str, str]]:
    yield ctx.command_path.replace(" ", "-"), page(ctx, date)
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            if command is None or command.hidden:
                continue
            with click.Context(command, info_name=name, parent=ctx) as inner:
                yield from _pages(inner, date)


def page(ctx: click.Context, date: str) -> str:
    """Return the man page of the command of *ctx* in roff."""
    name = ctx.command_path.replace(" ", "-")
    paragraphs = inspect.cleandoc(ctx.command.help or "").replace("\b\n", "").split("\n\n")
    first = paragraphs[0].replace("\n", " ").rstrip(".")
    status = [text for text in paragraphs if text.startswith(_STATUS)]
    examples = [text for text in paragraphs if text.startswith(_EXAMPLES)]
    rest = [text for text in paragraphs if text not in (*status, *examples)]
    usage = " ".join(ctx.command.collect_usage_pieces(ctx))
    out = [
        f'.TH {_text(name.upper())} 1 {date} "dirtune {__version__}" "dirtune"',
        f".SH NAME\n{_text(name)} \\- {_text(first)}",
        f".SH SYNOPSIS\n.B {_text(ctx.command_path)}\n{_text(usage)}",
        ".SH DESCRIPTION\n" + "\n.PP\n".join(map(_text, rest)),
        *_commands(ctx),
        ".SH OPTIONS\n" + "\n".join(_options(ctx)),
        ".SH EXIT STATUS\n" + "\n.PP\n".join(map(_text, status or (_common(),))),
        ".SH FILES\n"
        + "\n".join(f".TP\n.I {_text(path)}\n{_text(what)}" for path, what in _files(ctx)),
        *(
            f".SH EXAMPLES\n.nf\n{_text(inspect.cleandoc(text.removeprefix(_EXAMPLES)))}\n.fi"
            for text in examples
        ),
        ".SH SEE ALSO\n" + "\n".join(f".BR {_text(one)} (1)" for one in _others(ctx)),
    ]
    return "\n".join(out) + "\n"


def _common() -> str:
    """Return the paragraph of `dirtune --help` about exit statuses."""
    text = inspect.cleandoc(main.help or "")
    return next(one for one in text.split("\n\n") if one.startswith(_STATUS))


def _files(ctx: click.Context) -> list[tuple[str, str]]:
    """Return the files of a command; a group has those of all its commands."""
    names = {""} | set(_parameters(ctx))
    names |= {_OF_PARAMETERS[name] for name in names & _OF_PARAMETERS.keys()}
    return [row for name, row in _FILES.items() if name in names]


def _parameters(ctx: click.Context) -> Iterator[str]:
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name != "out" or str(parameter.default) == "dirtune-runs":
            yield name
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            if command is not None and not command.hidden:
                with click.Context(command, info_name=name, parent=ctx) as inner:
                    yield from _parameters(inner)


def _commands(ctx: click.Context) -> Iterator[str]:
    if not isinstance(ctx.command, click.Group):
        return
    yield ".SH COMMANDS"
    for name in ctx.command.list_commands(ctx):
        command = ctx.command.get_command(ctx, name)
        if command is not None and not command.hidden:
            yield f".TP\n.B {_text(name)}\n{_text(command.get_short_help_str(200))}"


def _options(ctx: click.Context) -> Iterator[str]:
    for parameter in ctx.command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            yield f".TP\n.B {_text(record[0])}\n{_text(record[1])}"


def _others(ctx: click.Context) -> list[str]:
    if ctx.parent is None:
        return ["dirtune-audit"]
    return [ctx.parent.command_path.replace(" ", "-")]


def _text(text: str) -> str:
    """Return *text* with what roff reads as requests or hyphens made literal."""
    rows = text.replace("\\", "\\e").replace("-", "\\-").split("\n")
    return "\n".join(f"\\&{row}" if row[:1] in (".", "'") else row for row in rows)
