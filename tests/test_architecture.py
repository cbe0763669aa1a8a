"""Imports run one way. This is the written-down version of ARCHITECTURE.md."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "dirtune"

# A layer may import itself and anything to its left.
LAYERS = [
    "errors",
    "host",
    "collect",
    "analyse",
    "snapshot",
    "archive",
    "fetch",
    "settings",
    "checks",
    "lvs",
    "tune",
    "probes",
    "remote",
    "bench",
    "render",
    "loop",
    "lab",
    "cli",
    "schemas",
]
# Decisions are made on data alone: these see no host, no process, no file, no clock.
PURE = [
    "analyse/**/*.py",
    "checks/**/*.py",
    "loop/decide.py",
    "lvs/change.py",
    "lvs/diff.py",
    "lvs/ipvsadm.py",
    "lvs/model.py",
    "render/**/*.py",
    "settings.py",
    "tune/culprits.py",
    "tune/guards.py",
    "tune/persist.py",
    "tune/plan.py",
    "tune/preparation.py",
    "tune/presets.py",
    "tune/table.py",
    "tune/fixes/**/*.py",
]
OUTSIDE = {"asyncssh", "bcc", "host", "os", "pathlib", "remote", "socket", "subprocess", "time"}
# The one place each of these may be used: everything else goes through it.
ONLY = {
    "asyncssh": {"remote"},
    "bcc": {"probes"},
    "pyroute2": {"collect", "lvs", "tune"},
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


def test_the_outside_is_reached_through_one_place():
    for layer, target, path in imports():
        assert layer in ONLY.get(target, {layer}), f"{path} imports {target}"
