"""A dirtune elsewhere: called as one version, and believed only as far as its document goes."""

import asyncio
import contextlib
import json
import shlex
import sys
import time
from typing import Literal

import msgspec
import pytest

from dirtune import __version__, remote
from dirtune.cli import main
from dirtune.errors import NodeUnreachable, NotInstalled, NotPossible
from dirtune.remote.far_dirtune import FarDirtune

INSTALL = f"Install dirtune {__version__} there"


class Settled(msgspec.Struct):
    journal: str
    schema: Literal["dirtune/settled/1"]


GOOD = {"schema": "dirtune/settled/1", "journal": "J1"}


@pytest.fixture
def far(tmp_path):
    """Return a function that calls a program elsewhere, which the shell *script* is."""
    program = tmp_path / "far"

    def ask(script, *words, kind=Settled, timeout_s=10, **options):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

        async def asked():
            async with await remote.connect("local") as node:
                called = FarDirtune(node, str(program))
                return await called.ask(words, kind, timeout_s=timeout_s, **options)

        return asyncio.run(asked())

    return ask


def printing(answer):
    return f"printf %s {shlex.quote(answer if isinstance(answer, str) else json.dumps(answer))}"


def test_it_is_asked_for_json_by_a_caller_of_this_version(far, tmp_path):
    answer = far(f'echo "$*" >{tmp_path}/words; {printing(GOOD)}', "rollback", "J 1")

    assert answer.document == Settled("J1", "dirtune/settled/1")
    words = (tmp_path / "words").read_text()
    assert words == f"--require-version {__version__} rollback J 1 --format json\n"


def test_its_input_is_the_text_and_its_warnings_are_kept_apart(far):
    script = 'read -r row; echo "dirtune: $row" >&2; echo two >&2; ' + printing(GOOD) + "; exit 1"
    answer = far(script, "x", text="a plan\n", ok=(0, 1))

    assert (answer.status, answer.warnings) == (1, ("a plan", "two"))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'dirtune: row' >&2; echo 'dirtune: no such journal' >&2; exit 2",
            "no such journal",
        ),
        ("echo only here; exit 2", "only here"),
        ("exit 3", "dirtune ended with exit status 3"),
        (printing(GOOD) + "; exit 1", json.dumps(GOOD)),
        (
            "echo \"Error: No such option '--require-version'.\" >&2; exit 2",
            f"the dirtune there has another version. {INSTALL}",
        ),
    ],
)
def test_a_refusal_is_one_line_with_the_host(far, script, said):
    with pytest.raises(NotPossible) as refusal:
        far(script, "rollback")

    assert str(refusal.value) == f"local: {said}"


@pytest.mark.parametrize(
    "answer",
    ["", "rows", "{}", "[1]", '{"a": NaN}', "{} {}", "\x1b[31m{}", '{"schema": 1}', "[" * 100_000]
    + [GOOD | {"schema": schema} for schema in ("dirtune/settled/2", "dirtune/applied/1", None)]
    + [{"schema": GOOD["schema"]}, GOOD | {"journal": None}, GOOD | {"journal": ["J1"]}],
)
def test_what_is_not_the_document_is_refused_with_the_remedy(far, answer):
    with pytest.raises(NotPossible) as refusal:
        far(printing(answer), "rollback", "J1")

    text = str(refusal.value)
    assert text.startswith("local: `dirtune rollback J1` did not print its JSON document (")
    assert text.endswith(f"). {INSTALL}")
    assert len(text.splitlines()) == 1
    assert len(text) < 500


def test_a_host_without_dirtune_is_told_from_one_that_refuses():
    async def asked():
        async with await remote.connect("local") as node:
            await FarDirtune(node, "no-such-dirtune").ask(("x",), Settled, timeout_s=5)

    with pytest.raises(NotInstalled) as refusal:
        asyncio.run(asked())

    assert str(refusal.value) == f"local: no-such-dirtune is not installed there. {INSTALL}"


def test_bytes_and_time_are_bounded(far):
    with pytest.raises(NodeUnreachable, match=r"local: .*longer than 8 MiB"):
        far("yes | head -c 9000000", "x")
    began = time.monotonic()
    with pytest.raises(NodeUnreachable, match=r"local: .*answer in time"):
        far("sleep 60", "x", timeout_s=0.5)

    assert time.monotonic() - began < 10


@pytest.mark.parametrize("end", ["cancelled", "late"])
def test_what_it_changed_is_undone_although_that_takes_its_time(tmp_path, end):
    setting, program = tmp_path / "setting", tmp_path / "far"
    undo = f"sleep 3; echo old >{setting}; exit 1"
    # The sleep begins first: a shell that gets SIGTERM before it would sleep to the end.
    program.write_text(f"#!/bin/sh\ntrap '{undo}' TERM\nsleep 60 &\necho new >{setting}\nwait\n")
    program.chmod(0o755)

    async def asked():
        async with await remote.connect("local") as node:
            far, within_s = FarDirtune(node, str(program)), 1 if end == "late" else 60
            task = asyncio.create_task(far.ask(("fix",), Settled, timeout_s=within_s))
            while not setting.exists():
                await asyncio.sleep(0.02)
            if end == "cancelled":
                task.cancel()
            await task

    began = time.monotonic()
    with pytest.raises((asyncio.CancelledError, NodeUnreachable)):
        asyncio.run(asked())

    assert setting.read_text() == "old\n"
    assert time.monotonic() - began < 50  # not the 60 s that the program would take


def test_words_stay_words(far, tmp_path):
    canary = tmp_path / "OWNED"
    far(printing(GOOD), "rollback", f"$(touch {canary})", f"`touch {canary}`", f"; touch {canary}")

    assert not canary.exists()


def run_main(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main([*words])
    return end.value.code, capsys.readouterr()


def test_another_caller_is_refused_before_anything_is_done(capsys):
    code, printed = run_main(capsys, "--require-version", "9.9", "explain")

    assert (code, printed.out) == (2, "")
    assert printed.err == (
        f"dirtune: This dirtune is version {__version__}, and the dirtune that calls it is "
        "version 9.9. Install one version on both hosts.\n"
    )
    assert run_main(capsys, "--require-version", __version__, "explain")[0] == 0


def test_a_real_dirtune_of_another_version_is_named(tmp_path, monkeypatch):
    """The whole way: the version of the far side is that of its own package."""
    there = tmp_path / "dirtune"
    there.write_text(
        f"#!{sys.executable}\nimport sys\nimport dirtune\n"
        "dirtune.__version__ = '0.0.9'\nfrom dirtune.start import main\nmain()\n"
    )
    there.chmod(0o755)

    async def asked():
        async with await remote.connect("local") as node:
            await FarDirtune(node, str(there)).ask(("explain",), Settled, timeout_s=60)

    with pytest.raises(NotPossible) as refusal, contextlib.chdir(tmp_path):
        asyncio.run(asked())

    text = str(refusal.value)
    assert text.startswith(
        "local: This dirtune is version 0.0.9, and the dirtune that calls it is "
    )
