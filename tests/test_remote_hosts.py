"""Hosts as they are found: odd shells, jump hosts, locked keys, and some that mean harm.

Against OpenSSH's own sshd, started by ProxyCommand; where one must be jumped to, on loopback.
"""

import asyncio
import errno
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from dirtune import remote
from dirtune.bench import client, sampler
from dirtune.errors import NodeUnreachable, NotInstalled, NotPossible, PlanError
from dirtune.remote import config, node, reasons, spawn, streams
from dirtune.remote.far_dirtune import FarDirtune

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ROOT = os.geteuid() == 0
pytestmark = pytest.mark.skipif(SSHD is None, reason="OpenSSH's sshd is not installed")


def keygen(path, phrase=""):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


class Far:
    """Hosts of this test, each an sshd of its own, and the config that knows them."""

    def __init__(self, folder):
        self.folder = folder
        self.host_key = keygen(folder / "host")
        (folder / "authorized").write_text(keygen(folder / "user"))
        self.rows, self.known, self.before = [], [], ""
        self.identity = f"IdentityFile {folder}/user"

    def host(self, name, settings="", *, config="", known=True, how=None):
        """Add a host; *settings* are of its sshd, *config* of ours, *how* instead of a proxy."""
        (self.folder / name).write_text(
            f"HostKey {self.folder}/host\nAuthorizedKeysFile {self.folder}/authorized\n"
            f"StrictModes no\nPidFile none\nUsePAM no\n{settings}\n"
        )
        how = how or f"ProxyCommand {self.served(f'-i -f {self.folder}/{name}')}"
        self.rows.append(f"Host {name}\n  {how}\n  {config}\n")
        if known:
            self.known.append(f"{name} {self.host_key}")
        return name

    def served(self, options):
        serve = f"{SSHD} {options}"
        if not ROOT or Path("/run/sshd").is_dir():
            return serve
        # As root it wants /run/sshd; it gets one that nobody else sees.
        return (
            f"unshare --mount sh -c 'mount -t tmpfs none /run && mkdir /run/sshd && exec {serve}'"
        )

    @property
    def config(self):
        (self.folder / "known").write_text("".join(self.known))
        path = self.folder / "config"
        path.write_text(
            f"{self.before}{''.join(self.rows)}Host *\n  User {getpass.getuser()}\n"
            f"  {self.identity}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {self.folder}/known\n  GlobalKnownHostsFile none\n"
        )
        return path

    def fetch(self, name, script="echo here", **more):
        found = remote.fetch_all((name,), script, str, ssh_config=self.config, **more)[name]
        if isinstance(found, Exception):
            raise found
        return found

    def why(self, name, **more):
        """Return why *name* cannot be reached, without the remedy that all have."""
        with pytest.raises(NodeUnreachable) as caught:
            self.fetch(name, **more)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000
        return str(caught.value).partition(". Run `ssh ")[0]

    @contextmanager
    def listening(self, name, settings=""):
        """Serve on loopback, for as long as the context lasts, and yield the port."""
        port = free_port()
        self.host(name, f"ListenAddress 127.0.0.1\nPort {port}\n{settings}", how=f"Port {port}")
        argv = ["sh", "-c", self.served(f"-D -f {self.folder}/{name}")]
        with subprocess.Popen(argv, start_new_session=True, stderr=subprocess.DEVNULL) as sshd:
            try:
                wait_for(port)
                yield port
            finally:
                os.killpg(sshd.pid, signal.SIGTERM)


@pytest.fixture
def far(tmp_path):
    return Far(tmp_path)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail("sshd did not start")


def until(condition, seconds=10):
    """Tell whether *condition* came true within *seconds*."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def processes(word):
    """Return the command lines, of all processes, that hold *word*."""
    rows = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            rows.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [row for row in rows if word in row and "pytest" not in row]


TRICKY = """\
# it's a "script" with `everything` $HOME ! that shells differ in \\
printf '%s\\n' 'a!b' "it's" '$x \\n' "`echo in`"
for word in one two
do echo "$word"; done
"""
PRINTED = "a!b\nit's\n$x \\n\nin\none\ntwo\n"


@pytest.mark.parametrize("shell", ["sh", "bash", "rbash", "tcsh", "fish"])
def test_any_login_shell_will_do(far, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    # What sshd does where this is the user's shell.
    name = far.host(shell, f'ForceCommand exec {shell} -c "$SSH_ORIGINAL_COMMAND"')

    assert far.fetch(name, TRICKY) == PRINTED


@pytest.mark.parametrize("noise", ["echo Welcome", "printf Welcome", "seq 9000; echo x >&2"])
def test_what_a_shell_prints_before_the_command_is_skipped(far, noise):
    name = far.host("noisy", f'ForceCommand {noise}; eval "$SSH_ORIGINAL_COMMAND"')

    assert far.fetch(name, TRICKY) == PRINTED


def test_a_shell_that_prints_and_ends_is_quoted(far):
    name = far.host("noisy", "ForceCommand echo Welcome to lb1")

    assert far.why(name) == (
        'noisy: before the command ran, the shell printed "Welcome to lb1" and ended. '
        "Let ~/.bashrc print and end only in interactive shells"
    )


def test_a_server_without_multiplexing_is_reached(far):
    assert far.fetch(far.host("single", "MaxSessions 1")) == "here\n"


def test_a_jump_host_is_an_alias_of_the_same_config(far):
    far.host("bastion")
    with far.listening("target", "") as port:
        far.host("behind", how=f"HostName 127.0.0.1\n  Port {port}\n  ProxyJump bastion")
        far.known.append(f"[127.0.0.1]:{port} {far.host_key}")

        assert far.fetch("behind") == "here\n"


@pytest.mark.parametrize("lax", ["", "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n"])
def test_the_key_of_a_jump_host_is_checked_as_strictly(far, lax):
    far.before = lax
    far.host("bastion", known=False)
    with far.listening("target") as port:
        far.host("behind", how=f"HostName 127.0.0.1\n  Port {port}\n  ProxyJump bastion")
        far.known.append(f"[127.0.0.1]:{port} {far.host_key}")

        assert "host key" in far.why("behind")
        if not lax:
            assert "the host key of bastion is not in known_hosts" in far.why("behind")
            far.known.append(f"bastion {keygen(far.folder / 'other')}")
            assert "the host key of bastion has changed" in far.why("behind")


def test_the_agent_is_never_forwarded(far, monkeypatch):
    far.before = "ForwardAgent yes\n"
    name = far.host("node")
    agent = far.folder / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL) as held:
        assert until(agent.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        far.rows.append("Host *\n  IdentityAgent SSH_AUTH_SOCK\n")
        text = "echo ${SSH_AUTH_SOCK-none}"
        by_hand = subprocess.run(
            ["ssh", "-F", far.config, "-o", "BatchMode=yes", name, text],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = far.fetch(name, text)
        held.terminate()

    assert "/" in by_hand.stdout, "this server would take the agent"
    shutil.rmtree(Path(by_hand.stdout.strip()).parent, ignore_errors=True)  # it was ended first
    assert found == "none\n"


@pytest.fixture
def bastion_session(far):
    """A host that lets nobody in by himself, and the connection that the operator opened."""
    with tempfile.TemporaryDirectory(prefix="c-") as folder:  # short: it holds a socket
        yield from opened(far, Path(folder))


def opened(far, folder):
    far.before = f"ControlPath {folder}/c-%n\nControlMaster auto\nControlPersist 60\n"
    far.identity = "IdentityFile /dev/null"
    name = far.host("two-factor")
    login = ["-i", far.folder / "user", "-o", "ControlPersist=no", "-M", "-N", name]
    assert "no key was accepted" in far.why(name)
    with subprocess.Popen(["ssh", "-F", far.config, *login], stdin=subprocess.DEVNULL) as master:
        assert until((folder / f"c-{name}").exists)
        yield name
        assert master.poll() is None, "it is the operator's, and stays"
        master.terminate()


def test_a_connection_that_the_operator_has_open_is_used(far, bastion_session):
    async def use():
        async with await remote.connect(bastion_session, ssh_config=far.config) as it:
            return await it.run("echo here"), it.alive

    assert asyncio.run(use()) == ("here\n", True)


def test_a_jump_goes_through_the_open_connection_too(far, bastion_session):
    with far.listening("target") as port:
        key = f"IdentityFile {far.folder}/user"
        way = f"HostName 127.0.0.1\n  Port {port}\n  ProxyJump two-factor"
        far.host("behind", how=way, config=key)
        far.known.append(f"[127.0.0.1]:{port} {far.host_key}")

        assert far.fetch("behind") == "here\n"


def test_no_connection_of_ours_stays_whatever_the_config_says(far):
    far.before = f"ControlPath {far.folder}/c-%n\nControlMaster auto\nControlPersist 60\n"

    assert far.fetch(far.host("node")) == "here\n"
    assert not (far.folder / "c-node").exists()
    assert until(lambda: not processes(str(far.folder)))


def test_a_locked_key_is_told_from_a_password(far):
    far.identity = f"IdentityFile {far.folder}/locked"
    far.host("node")
    far.host("asks", "PubkeyAuthentication no\nPasswordAuthentication yes")
    keygen(far.folder / "locked", "secret")
    who = getpass.getuser()

    assert far.why("node") == (
        f"node: {who}@node: no key was accepted, and {far.folder}/locked needs a passphrase. "
        f"Run: ssh-add {far.folder}/locked"
    )
    far.identity = f"IdentityFile {far.folder}/user"
    assert far.why("asks") == (
        f"asks: {who}@asks: the server asks for a password, which dirtune never gives. "
        "Set up a key"
    )


@pytest.mark.parametrize("settings", ["PasswordAuthentication yes", "PubkeyAuthentication no"])
def test_nobody_is_asked_and_nothing_is_answered(far, settings, monkeypatch, tmp_path):
    asked = tmp_path / "asked"
    askpass = tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\ntouch {asked}\necho secret\n")
    askpass.chmod(0o700)
    for key, value in (("SSH_ASKPASS", askpass), ("SSH_ASKPASS_REQUIRE", "force")):
        monkeypatch.setenv(key, str(value))
    monkeypatch.setenv("DISPLAY", ":0")
    far.before = "BatchMode no\nNumberOfPasswordPrompts 3\n"
    keygen(far.folder / "locked", "secret")
    name = far.host("node", f"{settings}\nPasswordAuthentication yes")
    far.identity = f"IdentityFile {far.folder}/locked"
    path = far.config
    subprocess.run(["ssh", "-F", path, name, "true"], capture_output=True, check=False)
    assert asked.exists(), "ssh by hand asks here"
    asked.unlink()

    found = remote.fetch_all((name,), "true", str, ssh_config=path)[name]

    assert isinstance(found, NodeUnreachable)
    assert not asked.exists()


def test_ssh_gets_no_program_that_asks(monkeypatch):
    for name in ("SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, "there")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("SSH_AUTH_SOCK", "agent")

    given = config.environment()

    assert not {"SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY"} & set(given)
    assert (given["SSH_ASKPASS_REQUIRE"], given["SSH_AUTH_SOCK"]) == ("never", "agent")


TAKING = [
    "SessionType none", "SessionType subsystem", "StdinNull yes", "RequestTTY force",
    "ForkAfterAuthentication yes", "RemoteCommand tmux attach", "EscapeChar none",
]  # fmt: skip
"""What a host's section may hold that takes our command, its input or its ssh away."""


@pytest.mark.parametrize("row", TAKING)
def test_a_session_is_ours_whatever_is_written_of_a_host_and_its_jump_host(far, row):
    far.host("bastion", config=row)
    with far.listening("target") as port:
        way = f"HostName 127.0.0.1\n  Port {port}\n  ProxyJump bastion"
        far.host("behind", how=way, config=row)
        far.known.append(f"[127.0.0.1]:{port} {far.host_key}")

        assert far.fetch("behind") == "here\n"


def test_an_ssh_that_knows_no_such_options_is_given_none(far, monkeypatch, tmp_path):
    """As that of RHEL 8: it ends at an option that it does not know."""
    old = tmp_path / "bin" / "ssh"
    old.parent.mkdir()
    old.write_text(
        "#!/bin/sh\ncase $* in *SessionType*) exit 255;; esac\n"
        'if grep -qs SessionType "$2"; then echo "Bad configuration option" >&2; exit 255; fi\n'
        f'exec {shutil.which("ssh")} "$@"\n'
    )
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(spawn, "_SESSION", [])

    assert far.fetch(far.host("node")) == "here\n"


CONTRARY = {
    "batchmode": "no", "stricthostkeychecking": "no", "forwardagent": "yes", "forwardx11": "yes",
    "permitlocalcommand": "yes", "clearallforwardings": "no", "updatehostkeys": "yes",
    "addkeystoagent": "yes", "tunnel": "yes", "requesttty": "force", "controlmaster": "auto",
    "controlpersist": "60", "passwordauthentication": "yes", "connecttimeout": "900",
    "kbdinteractiveauthentication": "yes", "nohostauthenticationforlocalhost": "yes",
    "serveraliveinterval": "0", "connectionattempts": "99", "gssapidelegatecredentials": "yes",
    "verifyhostkeydns": "yes", "sessiontype": "none", "stdinnull": "yes",
    "forkafterauthentication": "yes",
}  # fmt: skip


def test_what_must_hold_holds_against_any_config(tmp_path):
    theirs = tmp_path / "a 'strange' \"name\" *"
    theirs.write_text("".join(f"{key} {value}\n" for key, value in CONTRARY.items()) + "Port 77\n")
    way = config.way("node", theirs, config.SESSION)
    done = subprocess.run(way.argv("-G"), capture_output=True, text=True, check=True)
    mode = Path(way.folder.name).stat().st_mode & 0o777
    way.close()
    found = dict(row.split(" ", 1) for row in done.stdout.splitlines())

    assert found["port"] == "77", "their file is read"
    assert {key: found[key] for key in CONTRARY} == {
        "batchmode": "yes", "stricthostkeychecking": "true", "forwardagent": "no",
        "forwardx11": "no", "permitlocalcommand": "no", "clearallforwardings": "yes",
        "updatehostkeys": "false", "addkeystoagent": "false", "tunnel": "false",
        "requesttty": "false", "controlmaster": "false", "controlpersist": "no",
        "passwordauthentication": "no", "connecttimeout": "20",
        "kbdinteractiveauthentication": "no", "nohostauthenticationforlocalhost": "no",
        "serveraliveinterval": "3", "connectionattempts": "1", "gssapidelegatecredentials": "no",
        "verifyhostkeydns": "false", "sessiontype": "default", "stdinnull": "no",
        "forkafterauthentication": "no",
    }  # fmt: skip
    assert mode == 0o700
    assert not Path(way.folder.name).exists()


def test_each_way_to_fail_has_its_own_sentence(far, tmp_path):
    port = free_port()
    far.host("closed", how=f"HostName 127.0.0.1\n  Port {port}")
    far.host("nowhere", how="HostName no-such-name.invalid")
    far.host("changed", known=False)
    far.known.append(f"changed {keygen(tmp_path / 'other')}")

    assert far.why("closed") == (
        f"closed: connecting to 127.0.0.1 port {port} failed: Connection refused"
    )
    far.host("bastion")
    far.host("behind", how=f"HostName 127.0.0.1\n  Port {port}\n  ProxyJump bastion")
    far.host("broken", how="ProxyCommand no-such-program %h")
    far.host("mute", how="ProxyCommand false")
    assert far.why("behind") == (
        "behind: the jump host could not connect to the host: Connection refused"
    )
    assert "no-such-program" in far.why("broken")
    assert far.why("mute").startswith("mute: the connection was closed before the login")
    assert "MaxSessions" in far.why(far.host("sessionless", "MaxSessions 0"))
    far.host("bastion2", "AllowTcpForwarding no")
    far.host("behind2", how=f"HostName 127.0.0.1\n  Port {port}\n  ProxyJump bastion2")
    assert "AllowTcpForwarding" in far.why("behind2")
    assert far.why("nowhere") == (
        "nowhere: the name no-such-name.invalid does not resolve. Check its spelling, or DNS"
    )
    assert far.why("changed") == (
        "changed: the host key of changed has changed. If the host was reinstalled, "
        "remove its old key: ssh-keygen -R changed"
    )


@pytest.mark.parametrize(
    "name", ["lb2", "[lb2]:22", "x';id>OWNED;'", "$(id)", "`id`", "x|id", 'x"', "a\\", "-R"]
)
def test_no_command_to_paste_holds_what_a_far_host_wrote(far, name):
    """A banner, or a command that ends like ssh itself does, is on the same stream."""
    text = f"Host key for {name} has changed and you have requested strict checking."
    (far.folder / "said").write_text(f"{text}\nHost key verification failed.\n")
    banner = far.host("banner", f"Banner {far.folder}/said\nForceCommand exit 255")
    ends = far.host("ends", f"ForceCommand cat {far.folder}/said >&2; exit 255")

    for host in (banner, ends):
        assert far.why(host) == (
            f"{host}: the host key of {name} has changed. If the host was reinstalled, "
            "remove its old key"
        )


@pytest.mark.parametrize(
    ("how", "known"),
    [
        ("HostName Lb1.Example", "lb1.example"),
        ("HostName ::1\n  Port 2222", "'[::1]:2222'"),
        ("HostName lb1\n  Port 2222\n  HostKeyAlias cluster", "cluster"),
    ],
)
def test_the_key_to_remove_is_called_as_in_known_hosts(far, how, known):
    far.host("node")
    far.rows.insert(0, f"Host node\n  {how}\n")
    far.known.append(f"{known.strip(chr(39))} {keygen(far.folder / 'other')}")

    assert far.why("node").endswith(f"old key: ssh-keygen -R {known}")


def test_the_file_of_a_locked_key_is_one_word():
    text = "me@x: Permission denied (publickey)."

    assert reasons.reason(text, ["/keys/my key"]).endswith("Run: ssh-add '/keys/my key'")


@pytest.mark.parametrize(
    "unit",
    ["@", "a@a: ", "requests: ", "Host key for ", "connect to host ", "Permission denied ("],
)
def test_a_reason_is_found_in_linear_time(unit):
    """A server that let us in writes to the same stream, and may then hang up."""
    began = time.process_time()
    for text in (unit * 200_000, f"{unit * 3_000}\n" * 60):
        assert len(reasons.reason(text)) < 500
        client.reply(text)

    assert time.process_time() - began < 5


def test_what_is_wrong_with_the_config_is_said_of_the_operators_file(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_text("Nonsense yes\n")
    found = remote.fetch_all(("x",), "true", str, ssh_config=theirs)["x"]
    theirs.write_text("Port 22\n")
    theirs.chmod(0o666)
    open_to_all = remote.fetch_all(("x",), "true", str, ssh_config=theirs)["x"]

    assert str(found).startswith(f"x: {theirs}: line 1: Bad configuration option: nonsense")
    assert str(open_to_all).startswith(f"x: Bad owner or permissions on {theirs}. ")


@pytest.mark.parametrize(
    ("owner", "mode"), [(65534, 0o644), (os.geteuid(), 0o664)], ids=["of another user", "group"]
)
def test_a_config_that_ssh_reads_is_read_whoever_owns_it(far, owner, mode):
    """Such as that of the user who called sudo: `ssh -F` reads it, an Include does not."""
    if owner != os.geteuid() and not ROOT:
        pytest.skip("only root can give files to others")
    name = far.host("lb1")
    theirs = far.config
    os.chown(theirs, owner, -1)
    theirs.chmod(mode)
    by_hand = ("ssh", "-F", theirs, "-o", "BatchMode=yes", name, "echo here")
    assert subprocess.run(by_hand, capture_output=True, check=True).stdout == b"here\n"

    assert remote.fetch_all((name,), "echo here", str, ssh_config=theirs) == {name: "here\n"}


def test_a_config_that_cannot_be_read_is_named(far, monkeypatch):
    theirs = far.config

    def refuse(*_):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(config.reading, "read_bytes", refuse)
    with pytest.raises(PlanError, match=f"^Cannot read the ssh_config file {theirs}: Permission"):
        remote.fetch_all(("x",), "true", str, ssh_config=theirs)


@pytest.mark.parametrize("word", ["Broken pipe", "Connection reset by peer"])
def test_a_server_that_hung_up_before_our_banner_is_said_alike(word):
    """ssh may write its own line before it sees that nobody reads it."""
    row = f"banner exchange: Connection to UNKNOWN port 65535: {word}"

    assert reasons.closed_early(row)
    assert reasons.reason(row).startswith("the connection was closed before the login")
    assert not reasons.closed_early(row.replace(word, "invalid format"))


def test_an_ssh_without_gssapi_is_read_like_any_other():
    ours = '/x/config line 12: Unsupported option "gssapidelegatecredentials"\r\n'
    crowded = "kex_exchange_identification: Connection closed by remote host\r\n"

    assert reasons.closed_early(ours + crowded)
    assert reasons.reason(f"{ours}Something else.") == "Something else"


def test_without_ssh_the_remedy_is_the_package(far, monkeypatch, tmp_path):
    name, path = far.host("node"), far.config
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NodeUnreachable, match=r"ssh is not installed.*apt install openssh-client"):
        asyncio.run(remote.connect(name, ssh_config=path))


def test_a_crowded_server_is_tried_again(far):
    """As the jump host of many nodes is: it drops logins at random beyond MaxStartups."""
    with far.listening("crowded", "MaxStartups 2:100:2") as port:
        names = [f"n{n}" for n in range(8)]
        far.rows.append(f"Host n*\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias node\n")
        far.known.append(f"node {far.host_key}")

        found = remote.fetch_all(names, "echo here", str, ssh_config=far.config)

    assert found == dict.fromkeys(names, "here\n")


@contextmanager
def speaking(words):
    """Accept on loopback, say *words* to whoever comes, and no more; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve():
            while True:
                try:
                    held.append(server.accept()[0])
                    held[-1].sendall(words)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for each in held:
            each.close()


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.2p1\r\n", b"x" * 300 + b"\r\n"])
def test_a_server_that_never_lets_in_is_given_up(far, words, monkeypatch):
    monkeypatch.setattr(config, "FORCED", config.FORCED.replace("Timeout 20", "Timeout 2"))
    monkeypatch.setattr(node, "_LOGIN_S", 6)
    began = time.monotonic()
    with speaking(words) as port:
        far.host("silent", how=f"HostName 127.0.0.1\n  Port {port}")
        far.why("silent")

    assert time.monotonic() - began < 12
    assert until(lambda: not processes(str(far.folder)))


@pytest.mark.parametrize(
    "command", ["exec sleep 77", "exec yes", "exec yes >&2", "yes | tr -d '\\n'"]
)
def test_a_login_that_never_runs_our_script_is_given_up(far, command, monkeypatch):
    monkeypatch.setattr(node, "_LOGIN_S", 8)
    name = far.host("odd", f"ForceCommand {command}")
    began = time.monotonic()
    why = far.why(name)

    assert time.monotonic() - began < 20
    assert ('beginning with "y"' in why) is (command == "exec yes")
    assert until(lambda: not processes(str(far.folder)))


def test_a_lost_connection_is_said_and_leaves_nothing_running(far):
    async def use():
        async with await remote.connect(far.host("node"), ssh_config=far.config) as it:
            process = await it.start("echo up; sleep 1357911")
            await process.line(timeout_s=10)
            it._keeper._pipes.kill()
            with pytest.raises(NodeUnreachable, match="node: the connection was lost"):
                await process.finish(timeout_s=20)
            with pytest.raises(NodeUnreachable, match="node: the connection was lost"):
                await it.run("true")
            return it.alive

    assert asyncio.run(use()) is False
    assert until(lambda: not processes("sleep 1357911"))


def test_a_far_dirtune_that_is_given_up_undoes_its_changes_first(far, tmp_path):
    setting, program = tmp_path / "setting", tmp_path / "program"
    undo = f"sleep 3; echo old >{setting}; exit 1"
    program.write_text(f"#!/bin/sh\ntrap '{undo}' TERM\necho new >{setting}\nsleep 60 & wait\n")
    program.chmod(0o755)

    async def use():
        async with await remote.connect(far.host("node"), ssh_config=far.config) as it:
            await FarDirtune(it, str(program)).ask(("fix",), dict, timeout_s=2)

    with pytest.raises(NodeUnreachable, match="not answer in time"):
        asyncio.run(use())

    assert setting.read_text() == "old\n"


def test_an_endless_answer_ends_at_its_bound(far, monkeypatch):
    monkeypatch.setattr(remote, "FETCHED_BYTES", 2**22)
    name = far.host("node")

    assert "longer than 4 MiB" in far.why(name, script="yes 0123456789")
    assert until(lambda: not processes("yes 0123456789"))


@pytest.mark.parametrize("text", [b"\xff" * 2**16, "\U0001f600".encode() + b"\xff" * 2**15])
def test_the_bound_of_an_answer_is_one_of_memory_too(text):
    """A stray byte is shown as four characters, and one rare character makes all four wide."""

    async def use():
        reader = asyncio.StreamReader(limit=2**30)
        for _ in range(64):
            reader.feed_data(text)
        reader.feed_eof()
        with pytest.raises(streams.TooMuch):
            await streams.answer(reader, len(text) * 64)

    asyncio.run(use())


def test_endless_complaints_end_in_time_and_are_not_kept(far):
    name = far.host("node")
    began = time.monotonic()

    assert "not answer in time" in far.why(name, script="yes 9876543210 >&2", timeout_s=3)
    assert time.monotonic() - began < 20
    assert until(lambda: not processes("yes 9876543210"))


def locally(use):
    async def body():
        async with await remote.connect("local") as it:
            return await use(it)

    return asyncio.run(body())


def test_a_command_that_never_reads_is_given_up(monkeypatch):
    monkeypatch.setattr(node, "_SEND_S", 1)

    async def use(it):
        async with await it.start("sleep 60", guarded=False) as process:
            await process.send("x" * 2**20)

    with pytest.raises(NodeUnreachable, match="not answer in time"):
        locally(use)


def test_a_command_that_reads_a_little_now_and_then_is_given_up(monkeypatch):
    monkeypatch.setattr(node, "_SEND_ALL_S", 1)

    async def use(it):
        reads = "while sleep 0.2; do head -c 65536 >/dev/null; done"
        async with await it.start(reads, guarded=False) as process:
            await process.send_bytes(b"x" * 2**24)

    began = time.monotonic()
    with pytest.raises(NodeUnreachable, match="not answer in time"):
        locally(use)
    assert time.monotonic() - began < 15


def test_a_line_without_an_end_is_an_error():
    async def use(it):
        async with await it.start("tr '\\0' ':' </dev/zero") as process:
            await process.line(timeout_s=30)

    with pytest.raises(NodeUnreachable, match=r"local: .*line longer than 1 MiB"):
        locally(use)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("read x; yes filler", "more than 1024 KiB"),
        ("read x; while sleep 0.1; do echo x; done", "not answer in time"),
        ("read x; echo a", "ended too early"),
    ],
)
def test_a_sampler_that_never_says_its_end_is_given_up(script, why, monkeypatch):
    monkeypatch.setattr(sampler, "SAMPLE_S", 4)
    monkeypatch.setattr(sampler, "SAMPLE_BYTES", 2**20)

    async def use(it):
        async with await it.start(script, guarded=False) as process:
            await sampler.Sampler(process, container=False).sample()

    began = time.monotonic()
    with pytest.raises(NodeUnreachable, match=why):
        locally(use)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("line", ["", "ab"])
def test_very_many_short_lines_are_bounded_in_memory_and_leave_others_their_turn(line):
    """A line that has come is not waited for, and takes many times its bytes in memory."""
    turns = []

    async def others():
        while True:
            turns.append(time.monotonic())
            await asyncio.sleep(0)

    async def use():
        reader = asyncio.StreamReader(limit=2**30)
        reader.feed_data(f"{line}\n".encode() * 400_000)
        reader.feed_eof()
        beside = asyncio.create_task(others())
        with pytest.raises(streams.TooMuch):
            await streams.lines_before(reader, ".", 2**24)
        beside.cancel()

    asyncio.run(use())

    assert len(turns) > 50


def test_a_short_answer_is_expected_to_be_short():
    """What is not said to be long is not given the memory of a generator's log."""

    async def use(it):
        await it.run("head -c 3000000 /dev/zero")

    with pytest.raises(NodeUnreachable, match="longer than 1 MiB"):
        locally(use)


def test_what_is_kept_of_complaints_is_the_last():
    async def use(it):
        async with await it.start("seq 100000 >&2; echo done") as process:
            return await process.finish(timeout_s=30)

    done = locally(use)

    assert done.stdout == "done\n"
    assert done.stderr.endswith("99999\n100000\n")
    assert len(done.stderr) <= streams.KEPT_BYTES


def test_bytes_that_are_no_text_are_kept_as_escapes():
    async def use(it):
        return await it.run("head -c 200000 /dev/zero | tr '\\0' '\\377'")

    assert locally(use) == "\\xff" * 200_000


def test_a_missing_command_is_named_and_the_usual_places_are_looked_in():
    async def use(it):
        return await it.run("echo $PATH")

    assert {"/opt/dirtune/bin", "/usr/local/bin"} <= set(locally(use).strip().split(":"))
    with pytest.raises(NotInstalled, match="local: no-such-thing is not installed there"):
        locally(lambda it: it.run(["no-such-thing", "profile"]))
    with pytest.raises(NotPossible, match="not found"):
        locally(lambda it: it.run("no-such-thing; exit 3", ok=(0,)))


CONTROLLER = """
import asyncio, sys
from pathlib import Path
from dirtune import remote, signals

async def main():
    async with await remote.connect("node", ssh_config=Path(sys.argv[1])) as node:
        async with await node.start("echo up; sleep 7654321") as process:
            await process.line(timeout_s=30)
            print(node._way.folder.name, flush=True)
            await asyncio.sleep(60)

signals.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_controller_that_ends_leaves_nothing_here_and_there(far, number):
    far.host("node")
    argv = [sys.executable, "-c", CONTROLLER, str(far.config)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        folder = Path(it.stdout.readline().strip())
        assert until(lambda: processes("sleep 7654321"))  # it begins after the word
        it.send_signal(number)
        it.communicate(timeout=30)

    assert until(lambda: not processes("sleep 7654321"))
    assert until(lambda: not processes(str(folder)))
    assert until(lambda: not processes(str(far.folder)))
    if number == signal.SIGKILL:  # nobody was left to do it: the next dirtune does
        os.utime(folder, (1, 1))
        config.remove_abandoned.cache_clear()
        config.remove_abandoned()
    assert not folder.exists()


HANGS = """
import sys
from pathlib import Path
from dirtune import remote

remote.fetch_all(("node",), "true", str, ssh_config=Path(sys.argv[1]))
"""


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_a_host_that_hangs_does_not_keep_ssh_when_the_controller_is_killed(far):
    """It never closes its end, so the end of the input alone would not do."""
    far.host("node", "ForceCommand exec sleep 22.713")
    argv = [sys.executable, "-c", HANGS, str(far.config)]
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        with subprocess.Popen(argv, env=dict(os.environ, TMPDIR=folder)) as it:
            assert until(lambda: processes("sleep 22.713"))
            it.kill()

        assert until(lambda: not processes(folder))


def test_a_huge_answer_does_not_hold_other_hosts_up(far):
    """What a hostile host sends is read and judged beside what the others do."""
    names = [far.host(f"n{n}") for n in range(4)]
    huge = far.host("huge", "SetEnv SENDS=15000000")
    script = "head -c ${SENDS-0} /dev/zero | tr '\\0' ':'; echo here"
    ended = {}

    def use(text):
        for _ in range(24 if len(text) > 100 else 0):
            assert len(text.split(":")) == 15_000_001
        ended[len(text)] = time.monotonic()

    def seconds(hosts):
        began = time.monotonic()
        remote.fetch_all(hosts, script, use, ssh_config=far.config)
        return ended[len("here\n")] - began

    alone = seconds(names)
    beside = seconds([huge, *names])

    assert ended[15_000_005] > ended[5], "it was last"
    assert beside < 3 * alone + 10
