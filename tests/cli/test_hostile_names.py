"""Whatever things are called, by a machine or a user: no terminal and no Markdown obeys it."""

import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import unicodedata
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dirtune import plan as plans
from dirtune import remote, signals
from dirtune.analyse.cpu import Sample
from dirtune.change import in_effect, transaction
from dirtune.change.plan import Plan, Refusal
from dirtune.change.preparation import Done
from dirtune.checks import discovery
from dirtune.cli import _live, _output, main
from dirtune.errors import NodeUnreachable
from dirtune.escape import one_line
from dirtune.jobs import far_directors, fixes, notes, real_servers
from dirtune.plan.configuration import Director
from dirtune.render import plan as plan_text
from dirtune.render import preparation, readiness

# Colour, title, clipboard, link, device control, 8-bit controls, overwriting, direction, tags.
TERMINAL = (
    "\x1b[31mA\x1b]0;t\x07\x1b]52;c;aWQ=\x07\x1b]8;;http://x\x1b\\\x1bPq\x1b\\\x9b2J\x9d0;x\x9c"
    "\r\x08\x7f\u202e\u2066\u200b\u2028\U000e0041Z"
)
MARKDOWN = "<img src=x onerror=alert(1)>[x](javascript:1)`|**b**"
EVIL = f"{TERMINAL}{MARKDOWN}"
COLOUR = re.compile(r"\x1b\[(?:0|1|2|3[1346]|91)m")
PARSER = MarkdownIt("commonmark").enable(["table"])


def clean(text):
    """Assert that a terminal does nothing on *text* but show it."""
    bad = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert bad <= {"\n", "\t"}, text[:2000]


def inert(text):
    """Assert that Markdown makes no HTML, link, image or raw cell of *text*."""
    every = PARSER.parse(text)
    kinds = {leaf.type for token in every for leaf in [token, *(token.children or [])]}
    assert not kinds & {"html_inline", "html_block", "link_open", "image"}


def run(*words, **options):
    done = CliRunner().invoke(main, list(words), **options)
    assert done.exit_code in {0, 1, 2}
    assert "Traceback" not in done.output
    return done


@pytest.fixture
def root(tmp_path):
    """Return a recorded director on which everything that can be named is named EVIL."""
    name = EVIL.replace("/", "_")
    one_line = EVIL.replace("\u2028", "").replace("\r", "")
    files = {
        "proc/interrupts": (
            f"           CPU0\n 10:  40  XT-PIC  {one_line}, sym53c8xx, eth1\n"
            f" 11:  9  {one_line.replace(' ', '')}  11-edge  eth1-rx, {one_line}\n"
        ),
        "proc/cmdline": f"quiet noapic {one_line}\n",
        "proc/stat": "cpu  10 2 3 4 5 6 7 8 0 0\ncpu0 10 2 3 4 5 6 7 8 0 0\n",
        "proc/cpuinfo": f"processor\t: 0\nmodel name\t: {one_line}\n",
        "proc/sys/kernel/hostname": one_line,
        "proc/sys/kernel/osrelease": one_line,
        "proc/sys/kernel/version": one_line,
        "proc/sys/net/ipv4/vs/conn_reuse_mode": one_line,
        "proc/sys/net/core/netdev_budget": one_line,
        "proc/modules": f"{one_line} 16384 0 - Live 0x0\nip_vs 180224 2 {one_line}, Live 0x0\n",
        "proc/swaps": f"Filename\tType\tSize\tUsed\tPriority\n/dev/{one_line} partition 9 0 -2\n",
        "proc/self/mountinfo": f"22 1 8:1 / /{name} rw - ext4 /dev/{name} rw\n",
        "proc/mounts": f"/dev/{name} /{name} ext4 rw 0 0\n",
        "proc/700/stat": f"700 ({one_line}) S 1 700 700 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 9\n",
        "proc/701/stat": "701 (irqbalance) S 1 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 9\n",
        "proc/net/ip_vs": (
            "IP Virtual Server version 1.2.1 (size=4096)\n"
            "Prot LocalAddress:Port Scheduler Flags\n"
            "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
            f"TCP  C6336464:0050 {one_line}\n  -> C633640B:0050      Masq    1      0          0\n"
        ),
        "proc/net/dev": f"x\ny\n{name}: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n",
        "cmd/dmesg": f"irq 10: nobody cared (try booting {one_line})\nDisabling IRQ #10\n",
        "etc/sysctl.d/99-x.conf": f"net.ipv4.vs.conn_reuse_mode = {one_line}\n{one_line} = 1\n",
        "etc/default/irqbalance": f'IRQBALANCE_ARGS="{one_line}"\n',
        "sys/devices/system/cpu/online": "0\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": one_line,
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": one_line,
        f"sys/class/net/{name}/mtu": "1500\n",
        f"sys/class/net/{name}/operstate": "up\n",
        f"sys/class/net/{name}/speed": "1000\n",
        f"sys/class/net/{name}/device/uevent": f"DRIVER={one_line}\n",
        f"sys/class/net/{name}/queues/rx-0/rps_cpus": "1\n",
        f"sys/class/net/{name}/statistics/rx_packets": "9\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(text.encode())
    return str(tmp_path)


def in_each_format(*words, more=()):
    """Yield the command *words* once with each format that it offers."""
    command, ctx = main, click.Context(main)
    for word in words:
        command = command.get_command(ctx, word)
    (choice,) = (o.type for o in command.params if "--format" in o.opts)
    yield from ((*words, *more, "--format", form) for form in choice.choices)


COMMANDS = [
    *in_each_format("audit", more=("-v",)),
    *in_each_format("irqs", more=("-v",)),
    *in_each_format("fix", "plan"),
    *in_each_format("fix", "plan", more=("irq/shared-with-nic", "irq/xtpic-mode")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_name_of_a_recorded_host_is_obeyed(root, command):
    done = run(*command, "--root", root)

    assert done.stdout
    clean(done.stdout)
    clean(done.stderr)
    if "json" in command:
        assert done.stdout.isascii()
        json.loads(done.stdout)
    elif "markdown" in command:
        inert(done.stdout)


def test_json_keeps_a_name_to_the_letter(root):
    lines = json.loads(run("irqs", "--format", "json", "--root", root).stdout)["lines"]

    assert any("\x1b[31mA\x1b]0;t\x07" in action for line in lines for action in line["actions"])


@pytest.mark.parametrize("command", [("audit", "-v"), ("irqs", "-v")], ids=" ".join)
def test_with_colours_the_only_escapes_are_our_own(root, command):
    done = run(*command, "--root", root, color=True)

    assert COLOUR.search(done.stdout), "no colour was forced"
    assert "\x1b[31mA" not in done.stdout, "a name had a colour of its own"
    clean(COLOUR.sub("", done.stdout))
    assert r"\x1b[31mA" in done.stdout, "a name is no longer shown"


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
def test_no_name_in_a_difference_is_obeyed(root, tmp_path_factory, form):
    other = tmp_path_factory.mktemp("other")
    (other / "proc").mkdir()
    (other / "proc/interrupts").write_text("           CPU0\n 10:  40  XT-PIC  eth0\n")
    (other / "proc/cmdline").write_text("quiet\n")
    done = run("audit", "--diff", root, str(other), "--format", form)

    assert done.exit_code == 1
    clean(done.output)
    if form == "markdown":
        inert(done.stdout)


WORDS = [
    ("{evil}",),
    ("--{evil}",),
    ("audit", "--{evil}"),
    ("audit", "--interval", "{evil}"),
    ("audit", "--format", "{evil}"),
    ("audit", "--root", "{evil}"),
    ("audit", "--from", "{evil}"),
    ("audit", "--select", "{evil}"),
    ("audit", "--config", "{evil}"),
    ("audit", "--baseline", "{evil}"),
    ("audit", "--cluster", "{evil}"),
    ("audit", "--host", "@{evil}"),
    ("audit", "--diff", "{evil}", "/nonexistent"),
    ("irqs", "--root", "{evil}"),
    ("explain", "{evil}"),
    ("snapshot", "-o", "/nonexistent/{evil}", "--interval", "0"),
    ("fix", "{evil}"),
    ("fix", "plan", "{evil}"),
    ("fix", "apply", "{evil}"),
    ("fix", "plan", "--root", "{evil}"),
    ("lvs", "plan", "{evil}"),
    ("lvs", "import", "{evil}"),
    ("lvs", "export", "{evil}"),
    ("bench", "check", "{evil}"),
    ("bench", "run", "{evil}"),
    ("bench", "export", "{evil}"),
    ("compare", "{evil}", "{evil}"),
    ("report", "{evil}"),
    ("rollback", "{evil}"),
    ("confirm", "{evil}"),
    ("tune", "{evil}"),
    ("lab", "up", "--scenario", "{evil}"),
    ("profile", "--duration", "0.01", "--probes", "{evil}"),
    ("profile", "--compare", "{evil}", "--duration", "0.01"),
]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
@pytest.mark.parametrize("evil", [TERMINAL, f"{TERMINAL}\n{MARKDOWN}\n"], ids=["one", "lines"])
def test_no_argument_is_obeyed_and_a_refusal_is_one_line(monkeypatch, tmp_path, words, evil):
    monkeypatch.setenv("DIRTUNE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DIRTUNE_RUN", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    done = run(*(word.format(evil=evil) for word in words))

    assert (done.exit_code, done.stdout) == (2, "")
    clean(done.stderr)
    assert done.stderr.startswith("dirtune: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words", [("fix", "verify"), ("confirm",), ("rollback",), ("fix", "apply"), ("bench", "check")]
)
def test_a_result_that_is_plain_text_is_a_block_in_markdown(monkeypatch, tmp_path, words):
    text = f"done: {MARKDOWN}\n```\n{MARKDOWN}"
    done = transaction.Settled("j", "confirmed", already=False, note=EVIL)
    made = SimpleNamespace(
        plan=Plan(),
        kept=Plan(),
        forced=None,
        left_out=(),
        notes=(),
        ready=True,
        changes=(),
        by_hand=(),
        outcomes=(),
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("verify", "elsewhere"):
        monkeypatch.setattr(in_effect, name, lambda *_: ())
    for name in ("confirm", "take_back"):
        monkeypatch.setattr(transaction, name, lambda *_, **__: done)
    monkeypatch.setattr(transaction, "unreadable", lambda _: False)
    at = transaction.Place(tmp_path / "state", tmp_path / "run")
    monkeypatch.setattr(transaction, "place", lambda: at)
    monkeypatch.setattr(fixes, "make", lambda *_: made)
    monkeypatch.setattr(signals, "run", lambda it: it.close() or made)
    for module, name in (
        (plan_text, "applied_table"), (plan_text, "verify_table"), (plan_text, "settled_table"),
        (readiness, "text"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *_, **__: text)
    (tmp_path / "plan.toml").write_text(plans.EXAMPLE)

    given = (str(tmp_path / "plan.toml"),) if words[0] == "bench" else ()
    shown = run(*words, *given, "--format", "markdown")

    assert shown.exit_code == 0, shown.output
    inert(shown.stdout)
    clean(shown.stderr)
    assert [token.type for token in PARSER.parse(shown.stdout)] == ["fence"]


@settings(max_examples=60)
@given(st.text(st.characters(codec=None), min_size=1, max_size=30).filter(lambda t: "\0" not in t))
def test_no_text_at_all_is_obeyed_as_a_name(text):
    # hypothesis also draws texts that stand in the code, among them the ids of checks.
    assume(text not in {check.id for check in discovery.all_checks()})
    for words in (
        ("explain", text),
        ("audit", "--select", f"x{text}"),
        ("fix", "plan", f"x{text}"),
    ):
        done = run(*words)
        clean(done.output)
        assert done.exit_code == 2


def test_what_a_far_host_says_is_no_command_of_the_terminal(monkeypatch):
    def fail(names, *_, **__):
        return {name: NodeUnreachable(f"{name}: {EVIL}\nsecond line") for name in names}

    monkeypatch.setattr(remote, "fetch_all", fail)
    for words in (("--host", "lb1"), ("--host", "lb1", "--host", "lb2")):
        done = run("audit", *words)
        assert done.exit_code == 2
        clean(done.output)
        assert done.stderr.count("\n") == len(words) // 2


def test_what_a_far_dirtune_warns_of_is_cleaned(capsys):
    far_directors._relay(Director("lb1"), (EVIL, "plain"))

    clean(capsys.readouterr().err)


@pytest.mark.parametrize("journal", [f"x;id>OWNED{EVIL}", "$(id>OWNED)", "x\nid>OWNED", "`id`"])
def test_the_name_of_a_far_journal_is_one_word_of_the_command_that_takes_it_back(journal):
    (row,) = preparation._done("rs1", Done(journal, ()), 0)

    clean(row)
    assert "\n" not in row
    words = shlex.split(row.removeprefix("rs1: roll back on rs1 with: "))
    assert words == ["dirtune", "rollback", one_line(journal)]


@pytest.mark.parametrize("name", [f"x;id>OWNED{EVIL}", "$(id>OWNED)", "x\nid>OWNED", "`id`"])
def test_what_a_far_dirtune_refuses_is_one_word_of_the_option_that_overrules_it(name, capsys):
    notes.hear(_output.progress, _output.warning)
    refusal = Refusal("realserver/arp-leak", "", "198.18.0.1", "is on eth0", name)
    real_servers.warn({"rs1": Plan((), (refusal,))})

    (row,) = capsys.readouterr().err.splitlines()
    clean(row)
    assert row.partition("--force ")[2].removesuffix(" allows the change") == one_line(
        shlex.quote(name)
    )


def test_the_live_view_takes_no_markup_from_a_name():
    def sample(at, count):
        return Sample(at_s=at, lines={f"[bold]x[/bold]{TERMINAL}": count})

    table = _live._table((sample(1.0, 0), sample(2.0, 500)))
    out = io.StringIO()
    _live._console(out).print(table)

    clean(out.getvalue())
    assert "[bold]x[/bold]" in out.getvalue()


def test_the_output_is_the_last_fence(capsys):
    _output.result(EVIL)
    _output.result(EVIL, coloured=True)
    _output.result(json.dumps(EVIL, ensure_ascii=False), "json")
    _output.progress(f"{EVIL}\n{EVIL}")
    _output.warning(f"{EVIL}\n{EVIL}")

    done = capsys.readouterr()
    clean(done.out.replace("\x1b[31m", ""))
    clean(done.err)
    assert done.err.count("\n") == 2, "a name begins no line"
    assert json.loads(done.out.splitlines()[-1]) == EVIL


LOGS = """
import asyncio, logging, sys, warnings
from dirtune.exit_status import guard_streams
guard_streams()
logging.getLogger("asyncio").error("said \\x1b[31m%s", "\\x9b2J")
warnings.warn("warned \\x1b]0;t\\x07")
sys.stderr.write("wrote \\u202e")
raise ValueError("raised \\x1b[2J")
"""


def test_what_libraries_print_by_themselves_is_cleaned():
    done = subprocess.run([sys.executable, "-c", LOGS], capture_output=True, check=False)

    text = done.stderr.decode()
    clean(text)
    for word in ("said \\x1b[31m\\x9b2J", "warned \\x1b]0;t", "wrote \\u202e", "raised \\x1b[2J"):
        assert word in text


def test_the_live_view_moves_the_cursor_and_no_name_does():
    """It is drawn on a real terminal, beside a standard error that is cleaned."""
    script = (
        "import sys; from dirtune.exit_status import guard_streams; guard_streams()\n"
        "from dirtune.cli import _live; from dirtune.analyse.cpu import Sample\n"
        "name = '[bold]x' + '\\x1b]0;t\\x07'\n"
        "with _live.shown(quiet=False) as show:\n"
        "    show([Sample(at_s=1.0, lines={name: 0}), Sample(at_s=2.0, lines={name: 500})])\n"
    )
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", script], stderr=theirs, check=True)
        os.close(theirs)
        drawn = os.read(ours, 65536).decode()
    finally:
        os.close(ours)

    assert "\x1b[" in drawn, "no live view was drawn"
    assert r"[bold]x\x1b]0;t\x07: 500/s" in drawn
    assert "\x1b]" not in drawn


def test_metrics_are_what_their_reader_can_read(root, tmp_path):
    run("audit", "--root", root, "--format", "prometheus", "--output", str(tmp_path / "m.prom"))

    text = (tmp_path / "m.prom").read_text()
    clean(text)
    # A backslash of a label's value stands as two (the text format's escaping).
    assert r'host="\\x1b[31mA\\x1b]0;t' in text
