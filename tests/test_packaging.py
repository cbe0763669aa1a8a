"""The lock holds what pyproject.toml asks for; an older Python and a new machine are told."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements/dev.txt").read_text()
# A row and its hashes, as pip reads them: "name==1.2 ; marker \" and what is indented below.
ROW = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?P<rest>.*(?:\n    .*)*)", re.M)


def required():
    """Return each direct requirement of every extra as (name, floor)."""
    extras = PROJECT["optional-dependencies"].values()
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    parts = [text.partition(">=") for text in texts if not text.startswith("dirtune[")]
    return [(name.lower(), floor) for name, _, floor in parts]


def numbers(version):
    return tuple(int(part) for part in re.findall(r"\d+", version))


@pytest.mark.parametrize(("name", "floor"), required())
def test_the_lock_has_each_direct_requirement(name, floor):
    locked = [row["version"] for row in ROW.finditer(LOCK) if row["name"] == name]

    assert locked, "run `make lock`"
    assert floor, "a requirement without a floor promises what nobody tried"
    assert all(numbers(version) >= numbers(floor) for version in locked), "run `make lock`"


def test_each_module_that_is_imported_belongs_to_a_direct_requirement():
    # One that only another requirement brings is gone with another version of that.
    paths = [path for folder in ("dirtune", "tests") for path in (ROOT / folder).rglob("*.py")]
    rows = (re.findall(r"^ *(?:from|import) (\w+)", path.read_text(), re.M) for path in paths)
    owners = metadata.packages_distributions()
    owned = {module: owners[module] for names in rows for module in names if module in owners}
    names = {name for name, _ in required()} | {"dirtune", "bcc"}

    assert {"click", "hypothesis", "markdown_it", "pytest"} <= owned.keys()
    assert [
        module
        for module, found in owned.items()
        if not names & {re.sub(r"[-_.]+", "-", name.lower()) for name in found}
    ] == []


@pytest.mark.skipif(
    os.environ.get("RESOLUTION") != "lowest-direct" or sys.version_info >= (3, 12),
    reason="the floors are installed by make test-lowest, with the oldest Python",
)
@pytest.mark.parametrize(("name", "floor"), required())
def test_the_lowest_environment_holds_each_floor(name, floor):
    # Without a word, the resolver takes a newer one where an earlier choice asks for it.
    installed = numbers(metadata.version(name))

    assert installed[: len(numbers(floor))] == numbers(floor)


def test_every_row_of_the_lock_has_hashes_and_no_host():
    rows = list(ROW.finditer(LOCK))
    rest = ROW.sub("", LOCK)

    assert len(rows) > 40
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", row["rest"]) for row in rows)
    assert all(not line or line.startswith("#") for line in rest.splitlines())
    assert not re.search(r"://|--(?!hash=)\w|@ ", LOCK)


def test_the_lock_builds_what_setup_installs():
    backend = re.search(r'requires = \["(.*)"\]', (ROOT / "pyproject.toml").read_text())

    assert backend is not None
    assert {backend[1], "editables"} <= {row["name"] for row in ROW.finditer(LOCK)}


@pytest.mark.parametrize(
    "start", ["runpy.run_module('dirtune', run_name='__main__')", "import dirtune.cli"]
)
def test_an_older_python_is_told_in_one_line(start):
    pretend = f"import sys, runpy; sys.version_info = (3, 9, 2, 'final', 0); {start}"

    ended = subprocess.run(
        (sys.executable, "-c", pretend), check=False, capture_output=True, text=True, cwd=ROOT
    )

    assert ended.stderr == "dirtune needs Python 3.11 or newer; this is 3.9\n"
    assert (ended.returncode, ended.stdout) == (2, "")


@pytest.mark.parametrize("name", ["__init__", "__main__"])
def test_an_older_python_can_read_what_tells_it(name):
    text = (ROOT / f"dirtune/{name}.py").read_text()

    assert ast.parse(text, feature_version=(3, 7))
    # What Python 2 and 3.5 stumble over.
    assert not re.search(r"\bf\"|->|:=|match ", text)


def test_the_floor_of_python_is_told_everywhere_alike():
    from dirtune import MINIMUM

    floor = ".".join(map(str, MINIMUM))
    assert PROJECT["requires-python"] == f">={floor}"
    assert f"Programming Language :: Python :: {floor}" in PROJECT["classifiers"]
    assert f"--python-version {floor}" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "dirtune/probes").glob("*.bpf.[ch]")), ids=str)
def test_bpf_sources_may_be_loaded_and_given_away(path):
    assert path.read_text().startswith("// SPDX-License-Identifier: GPL-2.0-only OR MIT\n")


def test_bpf_objects_declare_a_licence_that_the_kernel_lends_helpers_to():
    # The names in license_is_gpl_compatible(), include/linux/license.h.
    text = (ROOT / "dirtune/probes/common.bpf.h").read_text()

    assert re.findall(r"^#define BPF_LICENSE (.*)$", text, re.M) == ["Dual MIT/GPL"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    assert PROJECT["license"] == "MIT"


def test_no_remedy_asks_an_index_for_dirtune_or_leaves_the_interpreter_open():
    texts = {path: path.read_text() for path in (ROOT / "dirtune").rglob("*.py")}
    open_ = [path for path, text in texts.items() if re.search(r"(?<!m )pip install", text)]

    assert open_ == []
    assert not [path for path, text in texts.items() if re.search(r"install .?dirtune\b", text)]


def test_a_missing_module_names_the_interpreter_that_runs(monkeypatch, capsys):
    from dirtune import exit_status

    def lack():
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy.stats")

    monkeypatch.setattr(sys, "executable", "/opt/my tools/bin/python")
    with pytest.raises(SystemExit) as ended:
        exit_status.outermost(lack)

    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "dirtune: The Python module scipy is not installed. Install it: "
        "'/opt/my tools/bin/python' -P -m pip install scipy\n"
    )


def test_a_standalone_dirtune_names_the_wheel_instead_of_pip(monkeypatch, tmp_path):
    from dirtune import extras

    monkeypatch.setattr(extras, "STANDALONE", tmp_path)

    assert extras.pip_install("scipy", "pyperf") == (
        "Use dirtune's wheel in a virtual environment that has scipy, pyperf"
    )
    assert "Install it" not in (extras.lacking("scipy") or "")


def test_a_module_that_nothing_provides_is_no_missing_extra(capsys):
    from dirtune import exit_status

    def lack():
        raise ModuleNotFoundError("No module named 'tomlib'", name="tomlib")

    with pytest.raises(SystemExit):
        exit_status.outermost(lack)

    assert "internal error: ModuleNotFoundError" in capsys.readouterr().err


def test_each_extra_has_its_package_in_the_project():
    from dirtune.extras import PACKAGES

    assert {package.lower() for package in PACKAGES.values()} <= {name for name, _ in required()}
