"""Propose the changes to this host's IPVS table that go through keepalived's configuration."""

import shlex
import stat
import tempfile
from pathlib import Path

from dirtune.change import private
from dirtune.change import through_keepalived as through
from dirtune.change.plan import Plan, Refusal, joined
from dirtune.change.table import FRESH, Changes
from dirtune.change.through_keepalived import Owner
from dirtune.collect import keepalived_daemon
from dirtune.collect.keepalived import PATH, host_name
from dirtune.collect.keepalived_daemon import Daemon
from dirtune.errors import NotPossible, SourceMissing
from dirtune.host import LiveHost, run
from dirtune.jobs.directors import Proposal
from dirtune.keepalived import reading
from dirtune.keepalived.model import Conf
from dirtune.keepalived.overlaid import Overlaid
from dirtune.lvs import diff, drift, guard, kernel
from dirtune.lvs.keepalived_text import Checker
from dirtune.lvs.model import Table

_TEST_S = 60


def propose(
    desired: Table, checker: Checker, settings: Plan, *, drain_s: float | None
) -> Proposal:
    """Return the changes that let keepalived set up *desired*, and the refusals.

    *settings* are the changes to settings outside IPVS. Raises `NotPossible` if no keepalived owns
    this host's table.
    """
    host = LiveHost()
    daemon = keepalived_daemon.find(host)
    owner = _owner(host, daemon)
    plan = through.plan(owner, desired, checker, drain_s)
    if not plan.changes and not owner.known:
        return Proposal(owner.actual, (), Changes(), (), loaded=True, settings=settings)
    texts = _texts(host, owner, desired, checker)
    after = reading.read(Overlaid(host, texts), owner.path, owner.config_id)
    refusals = (*through.against(owner, desired, after), *_refused(daemon, owner, texts))
    return Proposal(
        owner.actual,
        diff.diff(owner.actual, through.wanted(owner, desired)),
        Changes(),
        _around(host, owner, desired, after),
        loaded=True,
        settings=joined((settings, Plan(plan.changes, refusals))),
    )


def _owner(host: LiveHost, daemon: Daemon) -> Owner:
    path, config_id = daemon.conf or PATH, daemon.config_id or host_name(host)
    _require_usable(host, daemon, path)
    conf = reading.read(host, path, config_id)
    if conf.globals.namespace or conf.globals.ipvs_namespace:
        raise NotPossible(
            f"{path} has net_namespace or net_namespace_ipvs, so the IPVS table is in another "
            "network namespace. Edit the configuration by hand"
        )
    own = through.own_path(path)
    included = through.LINE in map(str.strip, host.read(path).split("\n"))
    others = conf
    if own in conf.files:
        others = reading.read(Overlaid(host, {own: ""}), path, config_id)
    actual = _actual(host)
    known = drift.misses(conf, actual)
    return Owner(path, config_id, daemon.unit, _text(host, own), included, others, known, actual)


def _require_usable(host: LiveHost, daemon: Daemon, path: str) -> None:
    if daemon.only_vrrp:
        raise NotPossible(
            f"keepalived (process {daemon.pid}) has the option -P, so it does not set up IPVS. "
            "Start it without -P, or leave out --through"
        )
    if not path.startswith("/"):
        raise NotPossible(
            f"keepalived (process {daemon.pid}) reads {path}, a relative path. Start it with an "
            "absolute path after -f"
        )
    if _text(host, f"/proc/{daemon.pid}/root{path}") != host.read(path):
        raise NotPossible(
            f"keepalived (process {daemon.pid}) has other files than this shell, such as those of "
            f"a container. Run dirtune where {path} is the file that keepalived reads"
        )


def _actual(host: LiveHost) -> Table:
    if not kernel.loaded(host):
        return FRESH
    with kernel.opened(host) as ipvs:
        return ipvs.read()


def _text(host: LiveHost, path: str) -> str | None:
    try:
        return host.read(path)
    except SourceMissing:
        return None


def _texts(host: LiveHost, owner: Owner, desired: Table, checker: Checker) -> dict[str, str]:
    """Return the files as they would be."""
    texts = {owner.own_path: through.text(owner, through.wanted(owner, desired), checker)}
    if not owner.included:
        main = host.read(owner.path)
        end = "" if not main or main.endswith("\n") else "\n"
        texts[owner.path] = f"{main}{end}{through.LINE}\n"
    return texts


def _around(
    host: LiveHost, owner: Owner, desired: Table, after: Conf
) -> tuple[guard.Refusal, ...]:
    """Return the refusals that do not depend on keepalived's files."""
    changed = diff.touched(owner.actual, desired)[1]
    held = frozenset(address for instance in after.instances for address in instance.addresses)
    around = guard.with_addresses(guard.look_around(host, changed), held)
    return tuple(
        refusal
        for refusal in guard.refusals(owner.actual, changed, around)
        if refusal.name != "keepalived"
    )


def _refused(daemon: Daemon, owner: Owner, texts: dict[str, str]) -> tuple[Refusal, ...]:
    """Let `keepalived -t` read a copy of the whole configuration as it would be."""
    _require_of_root(daemon.program)
    name = ("-i", owner.config_id) if owner.config_id else ()
    with tempfile.TemporaryDirectory(prefix="dirtune-") as made:
        copy = _copied(Path(owner.path), Path(made) / "copy", texts)
        log = Path(made) / "log"
        argv = (daemon.program, f"--config-test={log}", "-f", str(copy), *name)
        try:
            run(argv, timeout_s=_TEST_S)
        except NotPossible as error:
            rows = _text(LiveHost(), str(log))
            reason = rows.split("\n", 1)[0] if rows else str(error)
            reason = reason.replace(str(copy.parent), owner.path.rpartition("/")[0])
            why = f"would not pass keepalived -t: {reason}"
            return (Refusal("lvs", "lvs", owner.path, why, "keepalived-t"),)
    return ()


def _require_of_root(program: str) -> None:
    """Raise `NotPossible` if another user could exchange *program*, which runs as root."""
    private.require_safe_way(Path(program), "ExecStart= of keepalived's service")
    now = Path(program).stat()
    if now.st_uid != 0 or now.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        path = shlex.quote(program)
        raise NotPossible(
            f"Users other than root can change {program}. Check the file, then run: "
            f"chown root: {path} && chmod go-w {path}"
        )


def _copied(main: Path, folder: Path, texts: dict[str, str]) -> Path:
    """Copy the configuration to *folder* with other *texts*, and return the copied main file.

    Files that stay as they are become links, so that relative includes find them.
    """
    own = folder / "dirtune.d"
    own.mkdir(parents=True)
    _link(main.parent, folder, {main.name, own.name})
    _link(main.parent / own.name, own, {Path(path).name for path in texts})
    copy = folder / main.name
    if str(main) not in texts:
        copy.write_bytes(main.read_bytes())
    for path, text in texts.items():
        at = copy if path == str(main) else own / Path(path).name
        at.write_text(text, encoding="utf-8", errors="surrogateescape")
    return copy


def _link(source: Path, target: Path, without: set[str]) -> None:
    for path in source.iterdir() if source.is_dir() else ():
        if path.name not in without:
            (target / path.name).symlink_to(path)
