"""SSH is tried against OpenSSH's own sshd, started by ProxyCommand: no port, no network."""

import asyncio
import contextlib
import errno
import fcntl
import gc
import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from dirtune import remote, signals
from dirtune.errors import NodeUnreachable, NotPossible, ParseError, PlanError
from dirtune.remote import config, spawn

SERVERS = {
    "node": "PasswordAuthentication no\nUsePAM no\n",
    "password": "PasswordAuthentication yes\nPubkeyAuthentication no\nUsePAM no\n",
    "prompts": "PasswordAuthentication no\nPubkeyAuthentication no\nUsePAM yes\n",
}
"""sshd's settings, by the name that a host is reached by."""
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture(autouse=True)
def leave_nothing_to_the_collector():
    yield
    gc.collect()  # what is left open is this test's error, and not a later one's


def keygen(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


def server(folder, settings):
    serve = f"{SSHD} -i -f {folder}/{settings}"
    if os.geteuid() != 0 or Path("/run/sshd").is_dir():
        return serve
    # As root it wants /run/sshd; it gets one that nobody else sees.
    return f"unshare --mount sh -c 'mount -t tmpfs none /run && mkdir /run/sshd && exec {serve}'"


@pytest.fixture(scope="module")
def ssh_config(tmp_path_factory):
    if SSHD is None:
        pytest.skip("OpenSSH's sshd is not installed")
    folder = tmp_path_factory.mktemp("ssh")
    host_key, user_key = keygen(folder / "host"), keygen(folder / "user")
    (folder / "authorized").write_text(user_key)
    (folder / "known").write_text(f"{','.join(SERVERS)} {host_key}")
    rows = []
    for name, settings in SERVERS.items():
        (folder / name).write_text(
            f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            f"StrictModes no\nPidFile none\n{settings}"
        )
        rows.append(f"Host {name}\n  ProxyCommand {server(folder, name)}\n")
    rows.append(f"Host stranger\n  ProxyCommand {server(folder, 'node')}\n")
    config = folder / "config"
    config.write_text(
        "".join(rows) + f"Host *\n  User {getpass.getuser()}\n  IdentityFile {folder}/user\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known\n"
    )
    return config


@pytest.fixture(params=["local", "node"])
def target(request):
    """A name and the ssh_config that knows it: this machine, and one behind SSH."""
    if request.param == "local":
        return "local", None
    return "node", request.getfixturevalue("ssh_config")


def on(target, use):
    host, config = target

    async def body():
        async with await remote.connect(host, ssh_config=config) as node:
            return await use(node)

    return asyncio.run(body())


def fetch(host, script, *, ssh_config=None):
    found = remote.fetch_all((host,), script, str, ssh_config=ssh_config)[host]
    if isinstance(found, Exception):
        raise found
    return found


def group_members(group):
    return [
        stat
        for stat in Path("/proc").glob("[0-9]*/stat")
        if _fields(stat)[2:3] == [str(group)] and _fields(stat)[0] != "Z"
    ]


def _fields(stat):
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def wait_gone(group):
    for _ in range(50):
        if not group_members(group):
            return True
        time.sleep(0.05)
    return False


def test_output_of_a_script(target):
    host, config = target

    assert fetch(host, "echo one; echo two", ssh_config=config) == "one\ntwo\n"


def test_arguments_are_not_read_by_the_shell_again(target):
    argv = ["printf", "%s", "$HOME 'and' `more`"]

    assert on(target, lambda node: node.run(argv)) == "$HOME 'and' `more`"


def test_findings_are_an_answer_and_a_failure_is_not(target):
    assert on(target, lambda node: node.run("echo {}; exit 1", ok=(0, 1))) == "{}\n"
    with pytest.raises(NotPossible, match=f"{target[0]}: echo: no such luck"):
        on(target, lambda node: node.run("echo no such luck >&2; exit 2", ok=(0, 1)))


def test_a_timeout_ends_the_whole_group(target):
    async def use(node):
        process = await node.start("sleep 61 & echo started; sleep 61")
        await process.line(timeout_s=5)
        assert len(group_members(process.group)) >= 2
        with pytest.raises(NodeUnreachable, match="not answer in time"):
            await process.finish(timeout_s=0.2)
        await process.end()
        return process.group

    assert wait_gone(on(target, use))


def test_a_closed_connection_leaves_nothing_running(target):
    async def use(node):
        process = await node.start("sleep 62 & echo started; sleep 62")
        await process.line(timeout_s=5)
        # What a killed dirtune or a cut line leaves: end of file on the command's input.
        process._pipes.stdin.close()
        return process.group, (await process.finish(timeout_s=5)).status

    group, status = on(target, use)
    assert status == (-15 if target[0] == "local" else None)
    assert wait_gone(group)


def test_a_command_that_ends_early_is_noticed_at_once(target):
    async def use(node):
        async with await node.start("exit 3", guarded=False) as process:
            started = time.monotonic()
            with pytest.raises(NodeUnreachable, match="ended too early"):
                await process.line(timeout_s=30)
            return time.monotonic() - started

    assert on(target, use) < 5


def test_a_dialogue(target):
    async def use(node):
        script = "while read -r word; do echo heard $word; done"
        async with await node.start(script, guarded=False) as process:
            await process.send("a\n")
            first = await process.line(timeout_s=5)
            await process.send("b\n")
            return first, await process.line(timeout_s=5)

    assert on(target, use) == ("heard a", "heard b")


def test_an_unknown_host_key_is_refused(ssh_config):
    with pytest.raises(
        NodeUnreachable, match="stranger: the host key of stranger is not in known_"
    ):
        fetch("stranger", "true", ssh_config=ssh_config)


@pytest.mark.parametrize("name", ["password", "prompts"])
def test_a_host_that_insists_on_a_password_says_so_and_holds_nobody_up(ssh_config, name):
    found = remote.fetch_all((name, "local", "node"), "echo here", str, ssh_config=ssh_config)

    assert isinstance(found[name], NodeUnreachable)
    assert str(found[name]).startswith(
        f"{name}: {getpass.getuser()}@{name}: the server asks for a password, which dirtune never "
        f"gives. Set up a key. Run `ssh -F {ssh_config} -o BatchMode=yes {name} true` "
    )
    assert found["local"] == found["node"] == "here\n"


def test_a_config_that_trusts_anyone_is_not_believed(ssh_config, tmp_path):
    lax = tmp_path / "config"
    lax.write_text(
        "Host *\n  UserKnownHostsFile none\n  GlobalKnownHostsFile none\n"
        "  StrictHostKeyChecking no\n" + ssh_config.read_text()
    )

    with pytest.raises(NodeUnreachable, match=r"node: .*host key is not in known_hosts"):
        fetch("node", "true", ssh_config=lax)


def test_the_remedy_is_a_command_to_try(tmp_path):
    config = tmp_path / "config"
    config.write_text("Host gone\n  ProxyCommand false\n")

    with pytest.raises(NodeUnreachable, match=f"gone: .*`ssh -F {config} .*gone true`"):
        fetch("gone", "true", ssh_config=config)


def test_a_missing_config_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DIRTUNE_SSH_CONFIG", str(tmp_path / "absent"))

    with pytest.raises(PlanError, match="absent: The ssh_config file does not exist"):
        fetch("any", "true")


def test_those_that_answer_and_those_that_do_not(tmp_path):
    config = tmp_path / "config"
    config.write_text("Host gone\n  ProxyCommand false\n")

    nodes, lost = asyncio.run(remote.connect_all(["local", "gone", "local"], ssh_config=config))

    assert list(nodes) == ["local"]
    assert list(lost) == ["gone"]


def test_no_host_waits_for_another(ssh_config, tmp_path):
    config = tmp_path / "config"
    config.write_text("Host gone\n  ProxyCommand false\n" + ssh_config.read_text())
    hosts = ("local", "gone", "node", "stranger")
    began = time.monotonic()

    found = remote.fetch_all(hosts, "echo here; sleep 4", str.split, ssh_config=config)

    took = time.monotonic() - began
    assert took < 8  # one after the other: 8 s and the connections
    assert list(found) == list(hosts)
    assert found["local"] == found["node"] == ["here"]
    assert "gone" in str(found["gone"])
    assert "host key" in str(found["stranger"])


def test_a_script_that_fails_is_its_hosts_own_error():
    found = remote.fetch_all(("local",), "echo no such luck >&2; exit 3", str)

    assert isinstance(found["local"], NotPossible)


def test_no_more_than_the_limit_are_connected_at_once(monkeypatch):
    here = {"now": 0, "most": 0}

    class Node:
        async def __aenter__(self):
            here["now"] += 1
            here["most"] = max(here.values())
            return self

        async def __aexit__(self, *_):
            here["now"] -= 1

        async def run(self, script, **_):
            await asyncio.sleep(0.01)
            return script

    async def connect(host, **_):
        return Node()

    monkeypatch.setattr(remote, "connect", connect)
    monkeypatch.setattr(remote, "CONNECTIONS_AT_ONCE", 4)
    names = [f"n{i}" for i in range(40)]
    used = []

    def use(text):
        used.append(here["now"])
        return f"{text}!"

    found = remote.fetch_all(names, "x", use)

    assert here == {"now": 0, "most": 4}
    assert found == dict.fromkeys(names, "x!")
    assert max(used) > 0, "a host's answer is used while others are still asked"


def test_an_answer_that_cannot_be_read_is_its_hosts_own_error():
    def use(text):
        raise ParseError("fetched sources", "cut off before the end")

    found = remote.fetch_all(("local",), ":", use)

    assert str(found["local"]) == "local: fetched sources: cut off before the end"
    assert isinstance(found["local"], NotPossible)


def test_what_nobody_expected_of_an_answer_is_its_hosts_own_error():
    def use(text):
        raise KeyError(text.strip())

    found = remote.fetch_all(("local",), "echo x", use)

    assert isinstance(found["local"], NotPossible)
    assert str(found["local"]).startswith("local: internal error: KeyError: 'x'")


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), KeyError("odd")])
def test_no_host_is_lost_without_a_word(monkeypatch, error):
    def way(*_):
        raise error

    monkeypatch.setattr(remote.config, "way", way)
    nodes, lost = signals.run(remote.connect_all(["h1", "local", "h2"]))

    assert (list(nodes), list(lost)) == (["local"], ["h1", "h2"])
    assert all(isinstance(each, NodeUnreachable) for each in lost.values())


def test_a_process_that_ends_by_itself_leaves_no_words_of_asyncio(caplog):
    async def leave():
        for _ in range(20):
            pipes = await spawn.spawn(("true",), ssh=False)
            end = time.monotonic() + 60
            # It ends, and the loop, which stands still meanwhile, has not heard of it.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                while Path(f"/proc/{pipes.pid}/stat").read_text().split()[2] != "Z":
                    assert time.monotonic() < end
            await spawn.reap(pipes)
            assert pipes.returncode == 0

    signals.run(leave())

    assert caplog.messages == []


def test_input_that_was_never_read_is_no_words_of_asyncio(caplog):
    async def leave():
        pipes = await spawn.spawn(("sleep", "30"), ssh=False)
        written = asyncio.create_task(spawn.write(pipes, bytes(2**20)))
        await asyncio.sleep(0.1)
        os.kill(pipes.pid, signal.SIGKILL)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await written
        await spawn.reap(pipes)

    signals.run(leave())
    gc.collect()

    assert caplog.messages == []


@pytest.fixture
def temporary(monkeypatch):
    """A folder for temporary files, and a process that has not looked there."""
    with tempfile.TemporaryDirectory(prefix="d") as folder:  # short: it holds a socket
        monkeypatch.setattr("tempfile.tempdir", folder)
        config.remove_abandoned.cache_clear()
        yield Path(folder)
    config.remove_abandoned.cache_clear()


def abandoned(folder, *names, age_s=3600, text=config.FORCED):
    folder.mkdir(mode=0o700)
    for name in names:
        (folder / name).write_text(text)
    os.utime(folder, (time.time() - age_s,) * 2)
    return folder


def test_what_a_killed_process_left_is_removed_by_the_next(temporary):
    left = abandoned(temporary / "dirtune-a", "config", "operator", "s", "s.1FVgXy9TzKq0abcd")

    config.remove_abandoned()

    assert not left.exists()


def test_nothing_else_is_removed(temporary):
    locked = abandoned(temporary / "dirtune-locked", "config")
    with (locked / "config").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        kept = [
            locked,
            abandoned(temporary / "dirtune-young", "config", age_s=5),
            abandoned(temporary / "dirtune-with-more", "config", "notes"),
            abandoned(temporary / "dirtune-empty"),
            abandoned(temporary / "dirtune-trial", "config", "s", text="[my]\nown=1\n"),
            abandoned(temporary / "dirtune-other-lock", "s"),
            abandoned(temporary / "other", "config"),
        ]
        kept.append(abandoned(temporary / "dirtune-pipe"))
        os.mkfifo(kept[-1] / "config")
        os.utime(kept[-1], (1, 1))
        (temporary / "dirtune-link").symlink_to(abandoned(temporary / "elsewhere", "config"))
        (temporary / "dirtune-file").write_text("x")
        if os.geteuid() == 0:
            kept.append(abandoned(temporary / "dirtune-of-another", "config"))
            os.chown(kept[-1], 65534, 65534)
        before = sorted(temporary.rglob("*"))

        config.remove_abandoned()

    assert sorted(temporary.rglob("*")) == before
    assert all(folder.is_dir() for folder in kept)


def test_a_folder_is_locked_while_its_connection_is_open(temporary):
    way = config.way("node", None, "")
    folder = Path(way.folder.name)
    os.utime(folder, (1, 1))
    config.remove_abandoned.cache_clear()

    config.remove_abandoned()
    assert folder.is_dir()

    way.close()
    assert not folder.exists()
