"""What another user put where all may write is neither used nor written to, whatever it is."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune.bench import store
from dirtune.cli import _reports, main
from dirtune.errors import NotPossible, TrialError
from dirtune.host import command
from dirtune.jobs import inventories, plan_files
from dirtune.jobs.snapshots import Source
from dirtune.tune import session
from tests.plans import plan_of

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@pytest.fixture(params=[0o1777, 0o777], ids=["sticky", "not sticky"])
def shared(request, tmp_path, monkeypatch):
    """The current folder, which all users write to."""
    tmp_path.chmod(request.param)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plant(path):
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    return path


def begun(out):
    return store.create(out, store.example("paper"))


@pytest.mark.parametrize(
    "use",
    [
        lambda: begun(store.OUT),
        lambda: _reports.write(store.example("paper"), store.OUT / "page"),
        lambda: session.resume(store.OUT, plan_of(""), print),
    ],
    ids=["run", "report", "session"],
)
def test_the_folder_of_runs_is_not_another_users(shared, use):
    planted = plant(shared / store.OUT)

    with pytest.raises(TrialError, match=f"^{planted} belongs to user {NOBODY} "):
        use()

    assert [path for path in shared.rglob("*") if path.is_file()] == []


def test_a_run_within_another_users_is_not_gone_on_with(shared):
    kept = begun(Path("dirtune-runs"))
    folder, name = kept.folder.absolute(), kept.run.id
    del kept
    os.chown(shared / "dirtune-runs", NOBODY, NOBODY)
    before = sorted(folder.iterdir())

    with pytest.raises(TrialError, match=f"^{shared}/dirtune-runs belongs to user {NOBODY}"):
        store.resume(Path("dirtune-runs") / name)

    assert sorted(folder.iterdir()) == before


def test_a_plan_that_nobody_named_is_not_another_users(shared):
    Path("dirtune.toml").touch()
    assert plan_files.locate(None) == Path("dirtune.toml")
    os.chown("dirtune.toml", NOBODY, NOBODY)

    with pytest.raises(NotPossible, match=f"^{shared}/dirtune.toml belongs to user {NOBODY}"):
        plan_files.locate(None)

    assert plan_files.locate("dirtune.toml") == Path("dirtune.toml")


@pytest.mark.parametrize("owner", ["folder and plan", "folder", "plan"])
def test_a_plan_that_nobody_named_is_not_used_in_another_users_folder(
    tmp_path, monkeypatch, owner
):
    """Root goes there to see what this user is doing."""
    for caller in ("SUDO_UID", "PKEXEC_UID"):
        monkeypatch.delenv(caller, raising=False)
    home = tmp_path / "home"
    home.mkdir(0o755)
    monkeypatch.chdir(home)
    Path("dirtune.toml").touch()
    for path in (home, home / "dirtune.toml"):
        if owner != "plan" if path == home else owner != "folder":
            os.chown(path, NOBODY, NOBODY)

    with pytest.raises(NotPossible, match=f" belongs to user {NOBODY}, .* name it .*dirtune.toml"):
        plan_files.locate(None)

    assert plan_files.locate("dirtune.toml") == Path("dirtune.toml")


def test_a_plan_that_nobody_named_is_not_used_below_a_planted_folder(shared, monkeypatch):
    monkeypatch.setenv("SUDO_UID", str(os.geteuid()))
    monkeypatch.chdir(plant(shared / "work"))
    Path("dirtune.toml").touch()

    with pytest.raises(NotPossible, match=f"^{shared}/work belongs to user {NOBODY}"):
        plan_files.locate(None)


@pytest.mark.parametrize("caller", ["SUDO_UID", "PKEXEC_UID"])
def test_what_the_owner_of_a_folder_has_there_is_used(tmp_path, monkeypatch, caller):
    """With sudo(8) or pkexec(1), in that user's own folder."""
    monkeypatch.setenv(caller, str(NOBODY))
    monkeypatch.chdir(plant(tmp_path / "home"))
    plant(tmp_path / "home/dirtune-runs")
    Path("dirtune.toml").touch()
    os.chown("dirtune.toml", NOBODY, NOBODY)

    kept = begun(Path("dirtune-runs"))

    assert (kept.folder / "run.json").is_file()
    assert plan_files.locate(None) == Path("dirtune.toml")


def test_a_plan_that_nobody_named_is_not_used_if_all_users_can_write_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dirtune.toml").touch()
    Path("dirtune.toml").chmod(0o666)

    with pytest.raises(NotPossible, match=r"All users can write to .*, and a plan may name"):
        plan_files.locate(None)


@pytest.mark.parametrize("way", ["owner", "folder", "mode"])
def test_an_ansible_cfg_that_nobody_named_is_not_another_users(tmp_path, monkeypatch, way):
    """ansible-core runs the plugins that it names, so nothing of it may run."""
    for name in ("SUDO_UID", "PKEXEC_UID", "ANSIBLE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("ansible.cfg").write_text("[defaults]\n")
    match way:
        case "owner":
            os.chown("ansible.cfg", NOBODY, NOBODY)
        case "folder":
            os.chown(".", NOBODY, NOBODY)
        case _:
            Path("ansible.cfg").chmod(0o666)
    monkeypatch.setattr(command, "run_bounded", lambda *_, **_options: pytest.fail("it ran"))

    with pytest.raises(NotPossible, match=r"may name plugins.* ANSIBLE_CONFIG=ansible.cfg"):
        inventories.read(["lb1,"], None, Source())

    monkeypatch.setenv("ANSIBLE_CONFIG", "ansible.cfg")
    monkeypatch.setattr(command, "run_bounded", lambda *_, **_options: '{"hosts": []}')
    with pytest.raises(NotPossible, match="names no host"):
        inventories.read(["lb1,"], None, Source())


@pytest.mark.parametrize("planted", ["the folder above", "the folder above, by its mode"])
def test_root_keeps_no_evidence_where_another_user_could_exchange_the_folder(
    tmp_path, monkeypatch, planted
):
    monkeypatch.delenv("SUDO_UID", raising=False)
    above = tmp_path / "theirs"
    above.mkdir()
    if planted.endswith("mode"):
        above.chmod(0o777)
    else:
        os.chown(above, NOBODY, NOBODY)
    words = ("watch", "--when", "cpu.steal >= 99.9 % on all", "--duration", "0.2")

    done = CliRunner().invoke(main, [*words, "--out", str(above / "out")])

    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert f"could replace {above}/out" in done.output
    assert not (above / "out").exists()
    if not planted.endswith("mode"):
        monkeypatch.setenv("SUDO_UID", str(NOBODY))
        assert CliRunner().invoke(main, [*words, "--out", str(above / "out")]).exit_code == 0
