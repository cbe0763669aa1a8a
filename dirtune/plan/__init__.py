"""Read plans: TOML files that name the nodes of a set-up and the load to run on them.

This module never contacts a node. The types of a plan are in `tables` and `configuration`; the
rules that types cannot express are in `checking`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from dirtune import reading
from dirtune.errors import PlanError
from dirtune.formats import from_json, from_toml
from dirtune.nearest import near
from dirtune.plan import checking, keys, profiles
from dirtune.plan.configuration import Configuration
from dirtune.plan.example import EXAMPLE as EXAMPLE
from dirtune.plan.tables import Plan, Traffic
from dirtune.plan.toml_lines import line_of, path_of

_LONGEST_KEY = 64
_Parsed = TypeVar("_Parsed", bound=Configuration)


def read(path: Path) -> Plan:
    """Read and check the plan in the file *path*, and make its `ssh_config` an absolute path.

    Raises `PlanError` with the name of the file and the wrong key.
    """
    return _read(path, parse)


def read_configuration(path: Path) -> Configuration:
    """Read the part of a plan that sets up a director; the plan may lack a load.

    A file whose name ends in .json is read as JSON with the same keys, which is fifty times as
    fast as TOML for thousands of services. Raises `PlanError` with the name of the file and the
    wrong key.
    """
    return _read(path, parse_json if path.suffix == ".json" else parse_configuration)


def read_traffic(path: Path) -> Traffic:
    """Read the part of a plan that `dirtune tune --live` needs, from TOML or JSON."""
    return _read(path, _json_traffic if path.suffix == ".json" else _toml_traffic)


def parse(text: str) -> Plan:
    """Parse and check the text of a plan.

    Raises `PlanError` with the wrong key and its line.
    """
    with _located(text):
        plan = _converted(profiles.applied(_toml(text)), Plan)
        checking.check(plan)
    return plan


def parse_configuration(text: str) -> Configuration:
    """Parse the part of a plan that sets up a director.

    Raises `PlanError` with the wrong key and its line.
    """
    with _located(text):
        return _configuration(_toml(text))


def parse_json(text: str) -> Configuration:
    """Parse the part of a plan that sets up a director, in JSON.

    Raises `PlanError` with the wrong key.
    """
    return _configuration(_json(text))


def kept(document: dict[str, object]) -> Plan:
    """Return the plan that is stored in an unfinished run, so that the run can continue.

    The rules of the plan are not checked again, because they were checked when the run began.
    Raises `PlanError` with the key if a value has the wrong type.
    """
    return _converted(document, Plan)


def forced(plan: Plan, vip: str | None) -> Plan:
    """Return *plan* with `load.force` set to *vip*, or *plan* unchanged if *vip* is None."""
    if vip is None:
        return plan
    named = msgspec.structs.replace(plan, load=msgspec.structs.replace(plan.load, force=vip))
    checking.check(named)
    return named


def with_pairs(plan: Plan, pairs: int | None, at_most: int | None = None) -> Plan:
    """Return *plan* with other numbers of pairs; None for both leaves the plan unchanged.

    The comparison is judged after *pairs* pairs and, if that does not decide, after *at_most*
    pairs. Raises `PlanError` if *at_most* is not twice the number of pairs.
    """
    if pairs is None and at_most is None:
        return plan
    load = msgspec.structs.replace(plan.load, pairs=pairs or plan.load.pairs, at_most=at_most)
    checking.check_looks(load)
    return msgspec.structs.replace(plan, load=load)


def _read(path: Path, parsed: Callable[[str], _Parsed]) -> _Parsed:
    try:
        text = reading.read_text(path)
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is not UTF-8 text.") from error
    try:
        plan = parsed(text)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error
    if plan.ssh_config is None:
        return plan
    try:
        config = (path.parent / Path(plan.ssh_config).expanduser()).resolve()
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # the user does not exist, links form a circle, or the path contains NUL
        raise PlanError(
            f"{path}: ssh_config: {plan.ssh_config!r} cannot be resolved: {error}"
        ) from error
    return msgspec.structs.replace(plan, ssh_config=str(config))


def _configuration(document: dict[str, object]) -> Configuration:
    configuration = _part(document, Configuration)
    checking.check_services(configuration)
    return configuration


def _toml_traffic(text: str) -> Traffic:
    with _located(text):
        return _traffic(_toml(text))


def _json_traffic(text: str) -> Traffic:
    return _traffic(_json(text))


def _traffic(document: dict[str, object]) -> Traffic:
    traffic = _part(document, Traffic)
    checking.check_services(traffic)
    checking.check_compare(traffic)
    return traffic


def _part(document: dict[str, object], kind: type[_Parsed]) -> _Parsed:
    others = {*Plan.__struct_fields__} - {*kind.__struct_fields__}
    return _converted({key: document[key] for key in document if key not in others}, kind)


def _json(text: str) -> dict[str, object]:
    try:
        return from_json(text, dict[str, object])
    except msgspec.DecodeError as error:
        raise PlanError(f"The plan is not JSON: {error}") from error


def _toml(text: str) -> dict[str, object]:
    document = from_toml(text)
    if "lab" in document:
        raise PlanError(
            "[lab]: a plan cannot describe a lab, because a lab writes its own plan. "
            "Run `dirtune lab up`, then leave PLAN out"
        )
    return document


def _converted(document: dict[str, object], kind: type[_Parsed]) -> _Parsed:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$")
        key = where.strip("`.")
        raise PlanError(": ".join(filter(None, (key, _hinted(problem, key, kind))))) from error


def _hinted(problem: str, key: str, kind: type) -> str:
    """Return *problem*, and if it is an unknown key of the table *key*, the nearest known keys."""
    unknown = re.search(rf"unknown field `(\w{{1,{_LONGEST_KEY}}})`", problem)
    known = near(unknown[1], keys.at(kind, path_of(key))) if unknown else []
    return f"{problem}. Did you mean {' or '.join(known)}?" if known else problem


@contextmanager
def _located(text: str) -> Iterator[None]:
    """Add a line number to each `PlanError` that names a key of the plan *text*."""
    try:
        yield
    except PlanError as error:
        key, colon, problem = str(error).partition(": ")
        raise PlanError(_at(key, problem, text) if colon else _at("", key, text)) from error


def _at(key: str, problem: str, text: str) -> str:
    """Return a message that begins with *key* and its line number, followed by *problem*.

    If *text* lacks the key, the line number is that of the table to which the key belongs.
    """
    # Only the message names a field that is missing or unknown.
    field = re.search(r"field `(\w+)`", problem)
    line = line_of(text, (*path_of(key), *((field[1],) if field else ())))
    where = f"line {line}: " if line is not None else ""
    return f"{where}{key}: {problem}" if key else f"{where}{problem}"
