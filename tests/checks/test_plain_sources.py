"""Paths that only a record has, `/cmd` and `/netlink`, are in no sentence that a user reads."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import dirtune
from dirtune import checks
from dirtune.archive import save
from dirtune.checks import Cluster
from dirtune.checks.discovery import all_checks
from dirtune.cli import main
from dirtune.host import LiveHost, RecordedHost
from dirtune.snapshot import patterns_of, take

PACKAGE = Path(dirtune.__file__).parent
OURS = re.compile(r"/(cmd|netlink)\b")
PSEUDO = [path.replace("[glckSx]/*", "g/eth0") for path in patterns_of() if OURS.match(path)]
LOADED = {"/proc/net/ip_vs": "IP Virtual Server version 1.2.1 (size=4096)\n"}
ODD = "1: lo inet 10.0.0.1/x\nPre-set maximums:\nRX: " + "9" * 5000 + "\n"
HOSTS = {
    "nothing": RecordedHost({}, {}),
    "no output": RecordedHost(LOADED, {}),
    "refused": RecordedHost(LOADED, {}, frozenset(PSEUDO)),
    "odd": RecordedHost(LOADED | dict.fromkeys(PSEUDO, ODD), {}),
    "odd without netlink": RecordedHost(
        LOADED | {path: ODD for path in PSEUDO if "netlink" not in path}, {}
    ),
}


def sentences(host):
    snapshot = take(host)
    yield from snapshot.errors.values()
    cross = checks.run_cross(all_checks(), Cluster({"lb1": snapshot, "lb2": snapshot}))
    for outcome in (*checks.run(all_checks(), snapshot), *cross):
        yield outcome.reason or ""
        for finding in outcome.findings:
            yield finding.message
            yield from (fix.title for fix in finding.fixes)


def test_there_are_such_paths():
    assert {"/cmd/ip-addr", "/cmd/ethtool/g/eth0", "/netlink/ipvs.json"} <= {*PSEUDO}


@pytest.mark.parametrize("name", [*HOSTS, "tree"])
def test_no_sentence_of_an_audit_holds_one(name, tmp_path):
    host = HOSTS.get(name, LiveHost(tmp_path))

    assert [text for text in sentences(host) if OURS.search(text)] == []


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
@pytest.mark.parametrize("name", sorted(HOSTS.keys() - {"nothing"}))
def test_no_line_of_a_printed_audit_holds_one(name, form, tmp_path):
    file = tmp_path / "host.tar.gz"
    save((HOSTS[name],), file)

    said = CliRunner().invoke(main, ["audit", "-v", "--from", str(file), "--format", form])

    assert said.exit_code in {0, 1}, said.output
    assert OURS.findall(said.output) == []


def test_what_could_not_be_had_is_named():
    errors = take(HOSTS["no output"]).errors

    assert "`ip -o addr show`" in errors["interface_addresses"]
    assert "needs root" in errors["kernel_log"]
    assert "netlink" in errors["ipvs"]
    assert "nft, iptables-save, arptables-save, ip and tc" in errors["rulesets"]
    odd = take(HOSTS["odd"]).errors
    assert odd["interface_addresses"].startswith("`ip -o addr show`: ")
    assert odd["ipvs"].startswith("netlink's answer about IPVS: ")
    assert take(HOSTS["odd without netlink"]).errors["ethtool"].startswith("`ethtool -g`: ")


def named_by_a_path_of_ours(path):
    """Yield the lines where a reader or an error is given such a path."""
    module = importlib.import_module(
        ".".join(("dirtune", *path.relative_to(PACKAGE).with_suffix("").parts))
    )
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(attr="read"), args=[ast.Name(id=name), *_]):
                pass
            case ast.Call(
                func=ast.Name(id="parsing" | "ParseError"), args=[ast.Name(id=name), *_]
            ):
                pass
            case _:
                continue
        value = getattr(module, name, None)
        if isinstance(value, str) and OURS.match(value):
            yield f"{path.name}:{node.lineno}"


def test_no_source_is_called_by_one():
    modules = [path for path in (PACKAGE / "collect").glob("*.py") if path.stem != "__init__"]

    assert [line for path in modules for line in named_by_a_path_of_ours(path)] == []
    assert "addresses" in {path.stem for path in modules}
