"""Imports run one way. This is the written-down version of ARCHITECTURE.md."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "dirtune"

# A layer may import itself and anything to its left.
LAYERS = [
    "addresses",
    "errors",
    "extras",
    "packages",
    "ssh_names",
    "escape",
    "nearest",
    "sending",
    "signals",
    "exit_status",
    "formats",
    "locking",
    "cpu_sets",
    "latency",
    "reading",
    "writing",
    "host",
    "tar_members",
    "netlink",
    "keepalived",
    "collect",
    "lvs",
    "plan",
    "analyse",
    "snapshot",
    "competitors",
    "archive",
    "sosreport",
    "history",
    "fetch",
    "settings",
    "checks",
    "change",
    "probes",
    "remote",
    "bench",
    "watch",
    "render",
    "tune",
    "lab",
    "jobs",
    "field_descriptions",
    "schemas",
    "cli",
    "start",
]
# Decisions are made on data alone: these see no host, no process, no file, no clock.
PURE = [
    "analyse/**/*.py",
    "addresses.py",
    "change/boot_files.py",
    "change/command_line.py",
    "change/fixes/**/*.py",
    "change/lines.py",
    "change/guards.py",
    "change/persist.py",
    "change/plan.py",
    "change/preparation.py",
    "change/presets.py",
    "change/table.py",
    "change/through_keepalived.py",
    "checks/**/*.py",
    "competitors.py",
    "cpu_sets.py",
    "keepalived/*.py",
    "lvs/diff.py",
    "lvs/documents.py",
    "lvs/drift.py",
    "lvs/ipvsadm.py",
    "lvs/keepalived_conf.py",
    "lvs/keepalived_text.py",
    "lvs/model.py",
    "plan/generators/[a-z]*.py",
    "plan/checking.py",
    "plan/configuration.py",
    "plan/example.py",
    "latency.py",
    "plan/load.py",
    "plan/metrics.py",
    "plan/profiles.py",
    "plan/recorded.py",
    "plan/tables.py",
    "plan/toml_lines.py",
    "plan/values.py",
    "render/**/*.py",
    "settings.py",
    "tune/decide.py",
    "watch/decision.py",
    "watch/documents.py",
    "watch/expression.py",
    "watch/judge.py",
    "watch/metrics.py",
    "watch/moment.py",
    "watch/ring.py",
    "watch/seconds.py",
]
# An action reaches a machine by the host that its methods are handed, and in no other way: whoever
# decides has no host to hand it.
HANDED = {
    "change/action.py",
    "change/actions/*.py",
    "change/expected.py",
    "change/kernel_text.py",
    "change/pci.py",
}
HOST = {"FileContents", "Host", "WritableHost", "literal", "readable", "recorded_text"}
OUTSIDE = {"bcc", "host", "netlink", "os", "pathlib", "remote", "socket", "subprocess", "time"}
# The one place each of these may be used: everything else goes through it.
ONLY = {
    "bcc": {"probes"},
    "click": {"cli", "render", "start"},
    "pyroute2": {"change"},
    "subprocess": {"host", "lab"},
}


def imported_names(node):
    match node:
        case ast.ImportFrom(module="dirtune"):
            return [f"dirtune.{alias.name}" for alias in node.names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case ast.Import():
            return [alias.name for alias in node.names]
    return []


def imports():
    """Yield (importing layer, imported layer or outside package, file)."""
    for path in PACKAGE.rglob("*.py"):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            for name in imported_names(node):
                yield layer, name.removeprefix("dirtune.").split(".")[0], path


def test_every_package_has_a_layer():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}

    assert found - {"__init__", "__main__", "__pycache__"} <= set(LAYERS)


def test_imports_run_one_way():
    for layer, target, path in imports():
        if layer in LAYERS and target in LAYERS:
            assert LAYERS.index(target) <= LAYERS.index(layer), f"{path} imports {target}"


def test_decisions_are_made_on_data_alone():
    pure = {path for pattern in PURE for path in PACKAGE.glob(pattern)}

    assert pure
    for _, target, path in imports():
        assert not (path in pure and target in OUTSIDE), f"{path} imports {target}"


def test_an_action_reaches_a_machine_by_the_host_that_it_is_handed():
    for path in (path for pattern in HANDED for path in PACKAGE.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text())):
            for name in imported_names(node):
                target = name.removeprefix("dirtune.").split(".")[0]
                assert target not in OUTSIDE - {"host"}, f"{path} imports {target}"
                if target == "host":
                    names = {alias.name for alias in node.names}
                    assert names <= HOST, f"{path} imports {names - HOST}"


def test_the_outside_is_reached_through_one_place():
    for layer, target, path in imports():
        assert layer in ONLY.get(target, {layer}), f"{path} imports {target}"


def test_work_returns_data_and_the_command_renders_it():
    # The lab writes keepalived.conf(5) with it, and declares the document of its state there.
    for layer, target, path in imports():
        assert target != "render" or layer in {"render", "cli", "schemas", "lab"}, path


PRINTS = {
    "echo",
    "secho",
    "echo_via_pager",
    "confirm",
    "prompt",
    "progressbar",
    "getchar",
    "pause",
}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def prints(node):
    """Tell whether *node* writes to a terminal; whether there is one may be asked anywhere."""
    match node:
        case ast.Call(func=ast.Name(id="print")):
            return True
        case ast.Attribute(value=ast.Name(id="click"), attr=name):
            return name in PRINTS
        case ast.ImportFrom(module="click", names=names):
            return any(alias.name in PRINTS for alias in names)
        case ast.ImportFrom(module="sys", names=names):
            return any(alias.name in STREAMS for alias in names)
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="sys"), attr=name), attr=used):
            return name in STREAMS and used not in {"isatty", "fileno"}
    return False


def test_everything_printed_goes_through_one_place():
    printing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(map(prints, ast.walk(ast.parse(path.read_text()))))
    }
    drawing = {
        path.relative_to(PACKAGE).as_posix() for _, target, path in imports() if target == "rich"
    }

    # An older Python can read nothing but __init__.py, which has one line of two numbers for it.
    assert printing <= {"__init__.py", "cli/_output.py", "exit_status.py", "tune/watchdog.py"}
    # A table drawn anew each second; its test looks for what a name can do there.
    assert drawing == {"cli/_live.py"}
