"""What is fuzzed: every `parse...` of the package, found by walking it, and what else reads texts.

A target takes a text and an own source of chance. It may return anything, and raise nothing but
dirtune's own errors.
"""

import contextlib
import fnmatch
import gzip
import importlib
import inspect
import json
import pkgutil
import random
import re
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

import dirtune
from dirtune import archive, checks, formats, plan, snapshot
from dirtune.analyse import capacity, cost
from dirtune.analyse.probed import ProbeCost
from dirtune.analyse.run import Run
from dirtune.bench import exchange, store
from dirtune.change import journal
from dirtune.checks import discovery
from dirtune.collect import ipvs_netlink
from dirtune.collect.ipvs_netlink import Ipvs
from dirtune.collect.kallsyms import Symbols
from dirtune.errors import DirtuneError, ParseError
from dirtune.host import RecordedHost
from dirtune.jobs import waivers
from dirtune.lvs import kernel
from dirtune.netlink import attributes, ethtool, genl, ip_vs, netdev
from dirtune.plan.load import Command, Load
from dirtune.probes import session
from dirtune.probes.probe import Context, Moment
from dirtune.render import report
from dirtune.tune.decide import Session
from tests.fuzz.mutation import WORDS, files, mutated, seeds
from tests.netlink import played
from tests.netlink.played import Played

Target = Callable[[str, random.Random], object]
EXPECTED = (DirtuneError, msgspec.DecodeError)
_NAME = re.compile(r"parse(?:_\w+)?")
_SHORT = 2 << 10
"""Characters of a file where a host has many."""
_LOAD = Load(
    rates=(9,),
    generator="command",
    command=Command("x {url}", replies=r"(\d+) requests", elapsed=r"in ([\d.]+)"),
)


def functions() -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield every public function of the package whose name begins with `parse`, where it is."""
    for module in _modules():
        for name, function in vars(module).items():
            own = inspect.isfunction(function) and function.__module__ == module.__name__
            if own and _NAME.fullmatch(name):
                yield f"{module.__name__.removeprefix('dirtune.')}.{name}", function


def _modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(dirtune.__path__, "dirtune."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def of(name: str, function: Callable[..., object]) -> Target:
    """Return *function* as a target: its first text is fuzzed, what else it wants is plain."""
    wanted = list(inspect.signature(function, eval_str=True).parameters.values())

    def target(text: str, chance: random.Random) -> object:
        given: dict[str, object] = {}
        for parameter in wanted:
            if parameter.default is not parameter.empty:
                given[parameter.name] = chance.choice((parameter.default, *_others(parameter)))
            else:
                given[parameter.name] = _argument(name, parameter, text, chance)
        found = function(**given)
        return list(found) if inspect.isgenerator(found) else found

    return target


def _others(parameter: inspect.Parameter) -> tuple[object, ...]:
    return (True, False) if isinstance(parameter.default, bool) else ()


def _argument(name: str, parameter: inspect.Parameter, text: str, chance: random.Random) -> object:
    plain = {
        "source": "/proc/x",
        "host": "lb1",
        "argv": ("x",),
        "pid": 7,
        "load": _LOAD,
        "names": ("rx", "tx"),
    }
    if parameter.name in plain:
        return plain[parameter.name]
    if parameter.annotation is bytes:
        return text.encode("utf-8", "surrogatepass")
    if parameter.annotation == Iterable[bytes]:
        return (text.encode("utf-8", "surrogatepass"),)
    if parameter.annotation in {str, "str", str | None}:
        return text
    if parameter.name in {"log", "lines", "texts", "words"}:
        return text.split("\n") if parameter.name != "log" else iter(text.split("\n"))
    if parameter.name == "rows":
        return tuple(text.split("\n"))
    pytest_says = f"{name}({parameter}): teach tests/fuzz/targets.py what to give here"
    raise LookupError(pytest_says)


# -- sources and checks ---------------------------------------------------------------------

_WILDCARDS = (
    *((r"\*:\*:\*\.\*", "0000:00:03.0"), (r"\[0-9\]\*", "0"), (r"(rx|tx)-\*", r"\1-0")),
    *((r"/\[glckSx\]/", "/g/"), (r"input\*", "input0"), (r"timeout_\*", "timeout_close")),
    *((r"\*\.conf", "a.conf"), (r"msi_irqs/\*", "msi_irqs/26"), (r"\*", "eth0")),
)


@cache
def paths() -> tuple[str, ...]:
    """Return a path for each pattern that a source reads."""
    found = list(_patterns())
    for wildcard, name in _WILDCARDS:
        found = [re.sub(wildcard, name, path) for path in found]
    return tuple(found)


def _patterns() -> tuple[str, ...]:
    return (*snapshot.patterns_of(), *(f"/cmd/ethtool/{option}/*" for option in "glckSx"))


def one_source(text: str, chance: random.Random) -> object:
    """Read one file, and judge what was read, as an audit does."""
    return snapshot.take(RecordedHost({chance.choice(paths()): text}, {}))


def audit(text: str, chance: random.Random) -> object:
    """Judge two samples of a host all of whose files hold broken texts."""
    chosen = chance.sample(paths(), chance.randint(3, 40))
    # A host's clock may stand still, or go back.
    times = chance.choice(((1.0, 6.0), (1.0, 6.0), (6.0, 6.0), (6.0, 1.0), (None, 6.0)))
    samples = tuple(
        RecordedHost({p: _fitting(p, text, chance) for p in chosen}, {}, taken_s=at)
        for at in times
    )
    outcomes = checks.run(discovery.all_checks(), snapshot.take_all(samples))
    broken = [outcome.reason for outcome in outcomes if outcome.status is checks.Status.ERROR]
    assert not broken, broken[0]
    return outcomes


def _fitting(path: str, text: str, chance: random.Random) -> str:
    fits = _fits(path)
    chosen = chance.choice(fits) if fits and chance.random() < 0.9 else text[:_SHORT]
    return mutated(chosen, chance)[:_SHORT] if chance.random() < 0.7 else chosen


@cache
def _fits(path: str) -> tuple[str, ...]:
    """Return the texts that tests have for the files of one source, else any."""
    pattern = dict(zip(paths(), _patterns(), strict=True))[path]
    return tuple(text for at, text in files() if fnmatch.fnmatchcase(at, pattern)) or seeds()


# -- files ----------------------------------------------------------------------------------


def an_archive(text: str, chance: random.Random) -> object:
    """Read an archive whose unpacked bytes are broken."""
    data = bytearray(_archive())
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                # A header's checksum is made right again, or it is all that is ever tried.
                _spoil_header(data, at // 512 * 512, text.encode(errors="replace"), chance)
            case _:
                del data[at : at + chance.choice((1, 512, 4096))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tgz")
        path.write_bytes(gzip.compress(bytes(data), 1))
        return snapshot.take_all(archive.load(path))


def _spoil_header(data: bytearray, at: int, text: bytes, chance: random.Random) -> None:
    block = data[at : at + 512]
    if len(block) < 512:
        return
    place, width = chance.choice(((0, 100), (124, 12), (156, 1), (157, 100), (345, 155)))
    given = chance.choice((text, b"LKxg1235S", b"\x80" + b"\xff" * 11, b"77777777777", b"../.."))
    begin = chance.randrange(max(1, len(given)))
    block[place : place + width] = given[begin : begin + width].ljust(width, b"\0")[:width]
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    data[at : at + 512] = block


@cache
def _archive() -> bytes:
    host = RecordedHost(
        {"/proc/stat": "cpu 1 2 3 4\n", "/proc/cmdline": "x\n", f"/sys/{'a' * 200}/x": "1\n"},
        {"/sys/class/net/eth0": "../../devices/pci0000:00/0000:00:03.0/net/eth0"},
        frozenset({"/proc/interrupts"}),
        1.0,
        {"/proc/irq/1/smp_affinity": 0o444},
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.save((host, host), Path(folder, "a.tgz"))
        return gzip.decompress(Path(folder, "a.tgz").read_bytes())


def _in_file(name: str, read: Callable[[Path], object], text: str, _: random.Random) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return read(path)


def a_plan(text: str, chance: random.Random) -> object:
    """Read a plan that nearly is one."""
    del text
    return _in_file("p.toml", plan.read, mutated(plan.EXAMPLE, chance), chance)


def a_journal(text: str, _: random.Random) -> object:
    """Read a journal, and say what it leaves open."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "20260101-000000-aaaa.journal")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return journal.load(path)


# -- documents ------------------------------------------------------------------------------


def run_and_report(text: str, chance: random.Random) -> object:
    """Read a run some of whose values are broken, and make all that is made of runs."""
    run = _broken(store.example("paper"), Run, text, chance)
    for make in (cost.price_per_rate, cost.scaling, cost.by_clients, cost.forwarded):
        make(run)
    for trial in run.trials[:5]:
        cost.node_costs(trial)
        cost.network_io(trial, 1e9)
    capacity.peak(capacity.curve(run.trials))
    for knee in run.knees:
        capacity.in_words(knee)
    return report.markdown(run), report.markdown(run, paper=True)


def a_session(text: str, chance: random.Random) -> object:
    """Read a session of the closed loop."""
    return formats.from_json(text, Session) if chance else None


def pyperf(text: str, chance: random.Random) -> object:
    """Read a file of pyperf that nearly is one."""
    run = {"metadata": {"dirtune_metric": "reply_rate"}, "values": [0.1, 0.2]}
    benchmark = {"metadata": {"name": "a", "unit": "second"}, "runs": [run]}
    suite = {"version": "1.0", "benchmarks": [benchmark]}
    return exchange.from_pyperf(Path("p.json"), json.dumps(_spoilt(suite, text, chance)).encode())


def _broken(value: object, kind: Any, text: str, chance: random.Random) -> Any:
    document = msgspec.json.decode(msgspec.json.encode(value))
    for _ in range(30):
        try:
            spoilt = _spoilt(document, text, chance)
            return formats.from_json(json.dumps(spoilt, allow_nan=False), kind)
        except (msgspec.DecodeError, ValueError):
            continue
    return value


def _spoilt(document: Any, text: str, chance: random.Random) -> Any:
    """Return *document* with a few values of it replaced."""
    document = json.loads(json.dumps(document))
    for _ in range(chance.choice((1, 2, 5))):
        parent: Any = None
        here = document
        while isinstance(here, dict | list) and here and (parent is None or chance.random() < 0.9):
            key = chance.choice(list(here) if isinstance(here, dict) else range(len(here)))
            parent, at, here = here, key, here[key]
        if parent is not None:
            parent[at] = chance.choice(
                (
                    *(0, -1, 1, 0.0, 1e308, 5e-324, -1e308, 2**62, None, [], {}, "", True, -5),
                    *(text[:50], [here, here], {"a": here}, chance.choice(WORDS), "1"),
                )
            )
    return document


# -- bytes of the kernel --------------------------------------------------------------------


def netlink(text: str, chance: random.Random) -> object:
    """Read an IPVS some of whose answers are broken, for the audit and for the configurator."""
    broken = Played(
        change=lambda data: data if chance.random() < 0.9 else _spoilt_bytes(data, text, chance)
    )
    ipvs = kernel.Kernel(broken)
    audited = _or_error(ipvs_netlink.ipvs_of, ip_vs.Reader(broken))
    json.dumps(msgspec.to_builtins(audited) if isinstance(audited, Ipvs) else None)
    return audited, _or_error(ipvs.read), _or_error(ipvs.read_counted)


def generic_netlink(text: str, chance: random.Random) -> object:
    """Take messages apart that are broken; an answer may look like a refusal or never end."""
    socket = object.__new__(genl.Socket)
    socket._sequence = socket._first = 7
    head = struct.Struct("=IHHII")
    rows = (data for data, _ in played.recorded()[0])
    messages = [head.pack(20 + len(data), 31, 2, 7, 0) + b"\1\1\0\0" + data for data in rows]
    whole = b"".join(messages[: chance.randint(0, 9)]) + head.pack(20, 3, 2, 7, 0) + bytes(4)
    datagrams = [_spoilt_bytes(whole, text, chance), b""]

    class Answers:
        def recv(self, _: int) -> bytes:
            if not datagrams:
                raise BlockingIOError
            return datagrams.pop(0)

    socket._socket = Answers()
    with contextlib.suppress(InterruptedError):
        chance.choice((socket._answers, partial(socket._await_all, 0)))()
    genl._family(datagrams[0] if datagrams else _spoilt_bytes(messages[0], text, chance))
    return None


def ethtool_answers(text: str, chance: random.Random) -> object:
    """Decode what drivers answer, broken."""
    names = ("rx_drops", "", "tx_drops")
    strings = struct.pack("=III96s", 0x1B, 1, 3, b"rx_drops".ljust(64, b"\0") + b"tx_drops")
    rings = attributes.nest(1, b"") + attributes.u32(2, 4096) + attributes.raw(13, b"\1")
    for parse, answer in (
        (ethtool.parse_rings, rings),
        (lambda answer: netdev.parse_queues([answer]), attributes.u32(1, 0) * 4),
        (ethtool.parse_strings, strings),
        (partial(ethtool.parse_numbers, names=names), bytes(16)),
        (partial(ethtool.parse_features, names=names), bytes(24)),
        (partial(ethtool.parse_statistics, names=names), struct.pack("=II24x", 0x1D, 3)),
    ):
        _or_error(parse, _spoilt_bytes(answer, text, chance))
    return None


def _spoilt_bytes(data: bytes, text: str, chance: random.Random) -> bytes:
    """Return *data* cut off, with a few bytes changed, or with some of *text* in it."""
    spoilt = bytearray(data)
    for _ in range(chance.choice((0, 1, 2, 8)) if spoilt else 0):
        at = chance.randrange(len(spoilt))
        spoilt[at] = chance.choice((0, 1, 3, 255, chance.randrange(256)))
        match chance.randrange(8):
            case 0:
                del spoilt[at:]
                break
            case 1:
                spoilt[at:at] = text[:40].encode(errors="replace")
    return bytes(spoilt)


def _or_error(read: Callable[..., object], *given: object) -> object:
    """Return what is read, or the one error that a broken answer may be."""
    try:
        return read(*given)
    except (ParseError, genl.Refused) as error:
        return error


def probes(text: str, chance: random.Random) -> object:
    """Decode maps of probes that hold anything their types allow."""
    module = importlib.import_module(f"dirtune.probes.{chance.choice(_PROBES)}")
    before, after = (_value(module.Reading, text, chance) for _ in range(2))
    cost_of_it = ProbeCost("irq", "kprobes", 1.0, 1, 1)
    context = Context(cost_of_it, 1.0, lambda: Symbols((4096,), ("a",)))
    return module.PROBE.decode(Moment(1.0, before), Moment(3.0, after), context)


_PROBES = tuple(probe.name for probe in session.all_probes())
_PLAIN: dict[object, Callable[[str, random.Random], object]] = {
    int: lambda _, chance: chance.choice((0, 1, 7, 4096, -14, 2**32, 2**64 - 1)),
    str: lambda text, chance: chance.choice((_TABLE, text)),
    bool: lambda _, chance: chance.random() < 0.5,
    float: lambda _, chance: chance.choice((0.0, 1.5, 1e308)),
}
_TABLE = "  CPU0 CPU1\n 10: 40 2 XT-PIC eth1, usb1\n"


def _value(kind: Any, text: str, chance: random.Random) -> Any:
    """Return a value of the type *kind*; tuples of one length, for there is one for each CPU."""
    if kind in _PLAIN:
        return _PLAIN[kind](text, chance)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        kinds = inner[:1] * 2 if inner[-1] is Ellipsis else inner
        return tuple(_value(one, text, chance) for one in kinds)
    if origin in {Mapping, dict}:
        pairs = ([_value(one, text, chance) for one in inner] for _ in range(chance.randrange(4)))
        return {key: value for key, value in pairs}  # noqa: C416  (pairs are lists)
    if origin in {UnionType, Union}:
        return None if chance.random() < 0.3 else _value(inner[0], text, chance)
    hints = get_type_hints(kind)
    return kind(**{name: _value(one, text, chance) for name, one in hints.items()})


OTHERS: dict[str, Target] = {
    "one source": one_source,
    "audit": audit,
    "archive": an_archive,
    "plan": a_plan,
    "plan of any text": partial(_in_file, "p.toml", plan.read_configuration),
    "plan in JSON": partial(_in_file, "p.json", plan.read_configuration),
    "waivers": partial(_in_file, "c.toml", waivers._read),
    "run of any text": partial(_in_file, "run.json", store.load),
    "session": a_session,
    "journal": a_journal,
    "pyperf": pyperf,
    "report": run_and_report,
    "netlink": netlink,
    "generic netlink": generic_netlink,
    "ethtool": ethtool_answers,
    "probes": probes,
}


def prepare() -> None:
    """Do now what is done once, so that no input's time has it in it."""
    for path in paths():
        _fits(path)
    _archive()


def everything() -> dict[str, Target]:
    """Return all targets by name."""
    return {name: of(name, function) for name, function in functions()} | OTHERS
