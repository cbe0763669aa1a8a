"""The one file goes to a host that lacks dirtune, and goes away again, whatever happens.

The host is OpenSSH's own sshd in a mount namespace; a script stands in for the one file, which
tests/dist tries. `PLACES` are the host's folders, seen from here.
"""

import asyncio
import contextlib
import getpass
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from dirtune import remote, sending
from dirtune.errors import NodeUnreachable, NotInstalled, NotPossible
from dirtune.remote import far_dirtune, one_file, pushing
from dirtune.remote.far_dirtune import FarDirtune
from dirtune.sending import Sending
from tests.test_remote import SSHD, keygen

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or SSHD is None, reason="sshd is needed, and root for a mount namespace"
)
PLACES = ("run", "var/tmp")
TRACE = """#!/bin/sh
echo "$(stat -c '%a %u' "${0%/*}") $DIRTUNE_CACHE" >>TRACE
while [ "$1" = --require-version ]; do shift 2; done
"""
ANSWER = """printf '{"journal": "J1"}'"""


class Answer(msgspec.Struct):
    journal: str


class Host:
    """A host behind SSH; `folders` are its /run and /var/tmp, and `bin` is first on its PATH."""

    def __init__(self, folder):
        self.folder = folder
        self.trace = folder / "trace"
        self.bin = folder / "bin"
        self.folders = [folder / "places" / name for name in PLACES]
        for path in (self.bin, *self.folders):
            path.mkdir(parents=True)
        host_key, user_key = keygen(folder / "host"), keygen(folder / "user")
        (folder / "authorized").write_text(user_key)
        (folder / "known").write_text(f"far {host_key}")
        self.serve()

    def serve(self, settings="", prepare=""):
        """Let sshd use *settings*, after the script *prepare* in its mount namespace."""
        folder = self.folder
        (folder / "sshd_config").write_text(
            f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\n"
            "PidFile none\nPasswordAuthentication no\nUsePAM no\n"
            f"SetEnv PATH={self.bin}:/usr/bin:/bin\n{settings}"
        )
        binds = "".join(
            f"mount --bind {here} /{there}\n"
            for here, there in zip(self.folders, PLACES, strict=True)
        )
        # sshd wants /run/sshd, which is not a folder of the host.
        (folder / "enter").write_text(
            f"set -e\n{binds}mkdir -p /run/sshd\n{prepare}\n"
            f"exec {SSHD} -i -f {folder}/sshd_config\n"
        )
        self.config = folder / "config"
        self.config.write_text(
            f"Host far\n  ProxyCommand unshare --mount sh {folder}/enter\n  "
            f"User {getpass.getuser()}\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  "
            f"UserKnownHostsFile {folder}/known\n"
        )

    def has(self, name, script):
        """Put a program on the PATH of the host."""
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def pushed(self):
        """Return the folders of a sent dirtune that are on the host."""
        return [path for place in self.folders for path in place.glob("dirtune-push.*")]

    def gone(self, seconds=10):
        end = time.monotonic() + seconds
        while self.pushed() and time.monotonic() < end:
            time.sleep(0.05)
        return not self.pushed()

    def connect(self, use, *, become=False):
        async def body():
            async with await remote.connect("far", ssh_config=self.config, become=become) as node:
                return await use(FarDirtune(node, "dirtune"))

        return asyncio.run(body())

    def ask(self, *words, become=False):
        return self.connect(
            lambda far: far.ask(words or ("x",), Answer, timeout_s=20), become=become
        ).document.journal

    def refusal(self, **more):
        with pytest.raises((NotPossible, NodeUnreachable)) as caught:
            self.ask(**more)
        text = str(caught.value)
        assert text.startswith("far: ")
        assert "\n" not in text
        assert self.gone()
        return text.removeprefix("far: ")


@pytest.fixture
def host(tmp_path, monkeypatch):
    found = Host(tmp_path)
    standing_in(found, ANSWER, monkeypatch)
    monkeypatch.setattr(pushing, "_PLACES", "/run /var/tmp")
    monkeypatch.setattr(sending, "_Chosen", type("Chosen", (), {"sending": Sending()}))
    return found


def standing_in(host, script, monkeypatch, size=300_000):
    """Let *script* stand in for the one file, in a file of *size* bytes."""
    text = TRACE.replace("TRACE", str(host.trace)) + script + "\nexit\n"
    data = text.encode().ljust(size, b"\n")
    file = one_file.OneFile(Path("dirtune"), data, hashlib.sha256(data).hexdigest(), 10_000)
    found = {"x86_64": file}

    def find(machine):
        if machine not in found:
            raise NotPossible(f"the machine there is {machine}")
        return file

    monkeypatch.setattr(one_file, "find", find)


def test_it_is_sent_into_a_private_folder_used_and_removed(host):
    said = []
    sending.choose(Sending(say=said.append))

    async def twice(far):
        await far.ask(("x",), Answer, timeout_s=20)
        assert len(host.pushed()) == 1
        return (await far.ask(("x",), Answer, timeout_s=20)).document.journal

    assert host.connect(twice) == "J1"
    assert host.gone()
    assert len(said) == 1
    assert said[0].startswith("far: sending dirtune, 0 MB, to /run/dirtune-push.")
    folder = said[0].split()[-1]
    assert host.trace.read_text() == f"700 0 {folder}/cache\n" * 2


def test_a_session_sends_it_once_over_a_connection_of_its_own(host):
    said = []
    sending.choose(Sending(say=said.append))

    def connect():
        return remote.connect("far", ssh_config=host.config)

    async def ask():
        async with await connect() as node:
            return await FarDirtune(node, "dirtune").ask(("x",), Answer, timeout_s=20)

    async def session():
        async with far_dirtune.lending("far", connect):
            await ask()
            await ask()
            assert len(host.pushed()) == 1
            shutil.rmtree(host.pushed()[0])  # as a reboot does, before the connection is missed
            await ask()
        assert host.gone()
        await ask()

    asyncio.run(session())

    assert host.gone()
    assert len(said) == 3
    assert len(host.trace.read_text().splitlines()) == 4


@pytest.mark.parametrize("way", ["owner", "link", "holder"])
def test_a_lent_folder_is_used_again_only_while_it_is_ours_and_held(host, way, tmp_path):
    """Another user may have made a folder of its name, once its holder was gone."""

    def connect():
        return remote.connect("far", ssh_config=host.config)

    async def ask():
        async with await connect() as node:
            return await FarDirtune(node, "dirtune").ask(("x",), Answer, timeout_s=20)

    async def session():
        async with far_dirtune.lending("far", connect):
            await ask()
            (lent,) = host.pushed()
            used_by = [int(use.suffix[1:]) for use in lent.glob("use.*")]
            (holder,) = [pid for pid in used_by if Path(f"/proc/{pid}").exists()]
            (lent / "dirtune").write_text(f"#!/bin/sh\ntouch {tmp_path}/planted\n")
            if way == "owner":
                os.chown(lent, 65534, 65534)
            elif way == "link":
                lent.rename(tmp_path / "theirs")
                lent.symlink_to(tmp_path / "theirs")
            else:
                os.kill(holder, signal.SIGKILL)
                await asyncio.sleep(1)
            answer = await ask()
            if way == "link":
                shutil.rmtree(tmp_path / "theirs")
                lent.unlink(missing_ok=True)
            return answer.document.journal

    assert asyncio.run(session()) == "J1"
    assert not (tmp_path / "planted").exists()
    assert host.gone()


def test_a_session_with_an_installed_dirtune_opens_no_connection_of_its_own(host):
    host.has("dirtune", """printf '{"journal": "installed"}'""")

    def connect():
        raise AssertionError

    async def session():
        async with (
            far_dirtune.lending("far", connect),
            await remote.connect("far", ssh_config=host.config) as node,
        ):
            return await FarDirtune(node, "dirtune").ask(("x",), Answer, timeout_s=20)

    assert asyncio.run(session()).document.journal == "installed"


@pytest.mark.parametrize("shell", ["tcsh", "fish", "rbash"])
def test_any_login_shell_will_do(host, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    host.serve(f'ForceCommand exec {shell} -c "$SSH_ORIGINAL_COMMAND"')

    assert host.ask(become=True) == "J1"
    assert host.gone()


def test_a_dirtune_of_this_version_is_used_where_it_is(host):
    host.has("dirtune", """printf '{"journal": "installed"}'""")

    assert host.ask() == "installed"
    assert not host.trace.exists()


@pytest.mark.parametrize(
    "complaint",
    [
        "Error: No such option '--require-version'.",
        "dirtune: This dirtune is version 0.0.1, and the dirtune that calls it is version 1. Do.",
    ],
)
def test_one_of_another_version_is_left_alone(host, complaint):
    host.has("dirtune", f'echo "{complaint}" >&2; exit 2')

    assert host.ask() == "J1"
    assert host.gone()
    sending.choose(Sending(send=False, kept=False))
    assert "version" in host.refusal()


def test_a_dirtune_that_the_plan_names_is_not_replaced(host):
    async def ask(far):
        return await FarDirtune(far.node, "/opt/ours").ask(("x",), Answer, timeout_s=20)

    with pytest.raises(NotInstalled):
        host.connect(ask)
    assert not host.trace.exists()


def test_a_place_that_lets_nothing_be_executed_is_passed_over(host):
    host.serve(prepare="mount -t tmpfs -o noexec none /run; mkdir /run/sshd")
    said = []
    sending.choose(Sending(say=said.append))

    assert host.ask() == "J1"
    assert " to /var/tmp/dirtune-push." in said[0]
    assert host.gone()


FULL = "mount -t tmpfs -o size=1m none /{0}; head -c 2M /dev/zero >/{0}/full || :; "
NOEXEC = "mount -t tmpfs -o noexec none /{0}; "
SSHD_S = "mkdir -p /run/sshd"


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (NOEXEC + FULL.format("var/tmp"), "/run lets no program be executed, /var/tmp has 0 MB"),
        (
            "mount -t tmpfs -o size=3m none /run; " + NOEXEC.format("var/tmp"),
            "/run has 3 MB free, /var/tmp lets no program be executed",
        ),
    ],
)
def test_without_a_place_it_says_which_were_tried_and_why(host, prepare, why):
    host.serve(prepare=prepare.format("run") + SSHD_S)

    text = host.refusal()

    assert text.startswith("there is no place for dirtune, which needs 4 MB: ")
    assert why in text
    assert text.endswith(". Free that much in /var/tmp, or install the package of dirtune there.")
    assert not host.trace.exists()


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ({"uname": "echo aarch64"}, "the machine there is aarch64"),
        ({"sha256sum": "echo 00ff -"}, "arrived damaged: its SHA-256 differs, so it was not ex"),
        ({"mktemp": "mkdir -p '/run/x y'; echo '/run/x y'"}, "shell there did not answer as exp"),
        ({"mktemp": "exit 1"}, "/run cannot be written to, /var/tmp cannot be written to"),
    ],
)
def test_what_does_not_fit_or_arrives_otherwise_is_never_executed(host, programs, said):
    for name, script in programs.items():
        host.has(name, script)

    assert said in host.refusal()
    assert not host.trace.exists()


def test_a_file_system_that_fills_up_during_the_copy_is_an_error(host, monkeypatch):
    host.serve(prepare="mount -t tmpfs -o size=100k none /run; mkdir /run/sshd")
    host.has("df", "echo; echo none 9 9 99999999 0% /")
    standing_in(host, ANSWER, monkeypatch, size=3_000_000)

    assert "was full before the one file was complete" in host.refusal()


@pytest.mark.parametrize("tool", ["openssl", "busybox", "python3"])
def test_the_digest_is_checked_with_what_is_there(host, tool):
    path = shutil.which(tool, path="/usr/bin:/bin")
    if path is None:
        pytest.skip(f"{tool} is not installed")
    for name in ("cat", "chmod", "df", "env", "head", "id", "mktemp", "rm", "sh", "stat", "wc"):
        (host.bin / name).symlink_to(shutil.which(name, path="/usr/bin:/bin"))
    (host.bin / "uname").symlink_to(shutil.which("uname", path="/usr/bin:/bin"))
    (host.bin / tool).symlink_to(path)
    # Without the files that the login shell of this machine reads.
    host.serve(f'ForceCommand exec env PATH={host.bin} /bin/sh -c "$SSH_ORIGINAL_COMMAND"')

    assert host.ask() == "J1"
    assert host.gone()


def test_a_user_who_is_not_root_becomes_root_by_sudo(host):
    host.has("id", "echo 1000")
    host.has("sudo", f'printf "%s\\n" "$1" >{host.folder}/sudo; shift; exec "$@"')

    assert host.ask(become=True) == "J1"
    assert (host.folder / "sudo").read_text() == "-n\n"
    assert host.gone()


@pytest.mark.parametrize(
    ("sudo", "said"),
    [
        ("", "sudo: not found"),
        ("echo 'sudo: a password is required' >&2; exit 1", "sudo: a password is required"),
    ],
)
def test_without_sudo_it_says_how_to_become_root(host, sudo, said):
    host.has("id", "echo 1000")
    if sudo:
        host.has("sudo", sudo)
    elif shutil.which("sudo", path="/usr/bin:/bin"):
        pytest.skip("sudo is installed")

    text = host.refusal(become=True)

    assert text.startswith("the user there is not root, and sudo -n failed (")
    assert said in text
    assert text.endswith("Log in as root, or let that user run sudo without a password")


def test_a_connection_that_is_cut_in_the_middle_of_the_copy_leaves_nothing(host, monkeypatch):
    seen = []

    async def cut(process, data):
        await whole(process, data[: len(data) // 2])
        while not any(path.stat().st_size for path in host.pushed()[0].glob("dirtune")):
            await asyncio.sleep(0.02)
        seen.extend(host.pushed())
        process._pipes.kill()

    whole = remote.Process.send_bytes
    monkeypatch.setattr(remote.Process, "send_bytes", cut)

    assert host.refusal()
    assert len(seen) == 1
    assert not host.trace.exists()


WAITS = """
import asyncio, sys
from pathlib import Path
from dirtune.remote import one_file, pushing
from dirtune.remote.far_dirtune import opened
pushing._PLACES = "/run /var/tmp"
data = Path(sys.argv[2]).read_bytes()
import hashlib
sent = one_file.OneFile(Path("dirtune"), data, hashlib.sha256(data).hexdigest(), 1)
one_file.find = lambda _: sent
async def main():
    async with opened("far", ssh_config=Path(sys.argv[1])) as far:
        await far.ask(("x",), dict, timeout_s=60)
from dirtune import signals
signals.prepare()
with signals.interruptible():
    signals.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_caller_is_ended(host, monkeypatch, number, tmp_path):
    standing_in(host, "sleep 60", monkeypatch)
    file = tmp_path / "file"
    file.write_bytes(one_file.find("x86_64").data)
    argv = (sys.executable, "-c", WAITS, host.config, file)
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as caller:
        while not host.trace.exists():
            time.sleep(0.05)
            assert caller.poll() is None
        assert len(host.pushed()) == 1
        caller.send_signal(number)

    assert host.gone()


def test_a_dirtune_that_undoes_its_changes_keeps_its_files_until_it_is_done(host, monkeypatch):
    undone = host.folder / "undone"
    standing_in(
        host,
        f"trap 'sleep 2; ls ${{0%/*}} >{undone}; exit 1' TERM; sleep 60 & wait",
        monkeypatch,
    )

    async def cut(far):
        task = asyncio.create_task(far.ask(("x",), Answer, timeout_s=60))
        while not host.trace.exists():
            await asyncio.sleep(0.05)
        far.node._keeper._pipes.kill()  # the connection's own ssh
        with contextlib.suppress(NodeUnreachable):
            await task

    host.connect(cut)

    assert host.gone()
    assert "dirtune" in undone.read_text().split()


def test_a_kept_file_is_used_again_and_removed_by_the_next_command_without_keep(host):
    said = []
    sending.choose(Sending(keep=True, say=said.append))
    assert host.ask() == host.ask() == "J1"
    time.sleep(0.2)
    (folder,) = host.pushed()
    assert len(said) == 1

    sending.choose(Sending(kept=False, send=False))
    with pytest.raises(NotInstalled):
        host.ask()
    assert host.pushed() == [folder]

    sending.choose(Sending(send=False, say=said.append))
    assert host.ask() == "J1"
    assert host.gone()
    assert len(said) == 1
    assert "no file that --keep left is there. Leave out --no-push" in host.refusal()


def test_a_kept_file_that_differs_is_not_used(host, monkeypatch):
    sending.choose(Sending(keep=True))
    host.ask()
    (old,) = host.pushed()
    standing_in(host, """printf '{"journal": "newer"}'""", monkeypatch)

    sending.choose(Sending())
    assert host.ask() == "newer"
    assert host.pushed() == [old]


def test_a_kept_file_is_not_used_where_all_users_may_write(host):
    sending.choose(Sending(keep=True))
    host.ask()
    (old,) = host.pushed()
    old.rename(host.folders[1] / old.name)

    sending.choose(Sending())
    assert host.ask() == "J1"

    sent = {line.split("/cache")[0].split()[-1] for line in host.trace.read_text().splitlines()}
    assert sorted(path.rsplit("/", 1)[0] for path in sent) == ["/run", "/run"]


def test_a_folder_stays_while_a_watchdog_needs_it(host, monkeypatch):
    standing_in(host, ': >"${0%/*}/watch.J1"; ' + ANSWER, monkeypatch)

    host.ask()
    time.sleep(0.5)

    (folder,) = host.pushed()
    assert (folder / "dirtune").is_file()


def test_what_dead_holders_left_is_removed_and_nothing_else(host):
    run = host.folders[0]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    spare = subprocess.Popen(["true"])
    spare.wait()
    # proc(5): the start is the 22nd cell, and the name in the second may have blanks.
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])

    def folder(name, *files, boot=boot):
        made = run / f"dirtune-push.{name}"
        made.mkdir()
        for file in files:
            name, _, content = file.partition("=")
            (made / name).write_text(content)
        if boot:
            (made / "boot").write_text(boot)
        return made

    gone = [
        folder("dead0000", f"use.{spare.pid}"),
        folder("reboot00", "watch.J1", "kept", boot="another\n"),
        folder("reused00", f"use.{os.getpid()}={start - 1}\n"),
    ]
    stay = [
        folder("alive000", f"use.{os.getpid()}"),
        folder("alive001", f"use.{os.getpid()}={start}\n"),
        folder("watched0", f"use.{spare.pid}", "watch.J1"),
        folder("kept0000", "kept"),
        folder("new00000", boot=None),
    ]
    os.chown(folder("theirs00", f"use.{spare.pid}"), 1234, 1234)
    (run / "dirtune-push.link0000").symlink_to(host.bin)

    host.ask()

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stay if not path.exists()] == []
    assert (run / "dirtune-push.theirs00").exists()
    assert host.bin.is_dir()
