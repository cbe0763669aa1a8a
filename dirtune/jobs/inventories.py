"""Read an Ansible inventory through ansible-core, and say how to reach its hosts.

ansible-core runs in a process of its own (`ansible_reader`), as the user of dirtune. An inventory
script or plugin is code of the operator, and runs there too.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import msgspec

from dirtune import reading, ssh_names
from dirtune.errors import NotPossible
from dirtune.extras import remedy
from dirtune.formats import from_json
from dirtune.host import command
from dirtune.jobs import plan_files
from dirtune.jobs.snapshots import Source

_READER = Path(__file__).with_name("ansible_reader.py")
_CONFIG = Path("ansible.cfg")
"""The file that ansible-core obeys because it is in the current folder."""
_LONGEST_S = 300
_MOST_BYTES = 1 << 26
_LARGEST = 1 << 26
"""Limit of an inventory file, in bytes."""
_OURS = frozenset({"ssh", "smart", "paramiko", "paramiko_ssh"})
"""The connections of Ansible that are made by ssh(1) instead."""

_DEFAULT_ARGS = "-C -o ControlMaster=auto -o ControlPersist=60s"
"""Ansible's default, which leaves a connection open; dirtune opens one of its own."""


class _Host(msgspec.Struct, frozen=True):
    """A host of an inventory, with the options of Ansible's ssh for it; "" is not set."""

    name: str
    groups: tuple[str, ...]
    error: str = ""
    host: str = ""
    port: str = ""
    remote_user: str = ""
    private_key_file: str = ""
    ssh_args: str = ""
    ssh_common_args: str = ""
    ssh_extra_args: str = ""
    connection: str = "ssh"
    become: bool = False
    become_method: str = "sudo"
    become_user: str = "root"


class _Answer(msgspec.Struct, frozen=True):
    hosts: tuple[_Host, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts to audit together."""

    sources: tuple[Source, ...]
    groups: dict[str, tuple[str, ...]]
    """The names of the hosts that are directly in each group."""
    lost: tuple[tuple[str, str], ...] = ()
    """Pairs of a host and the reason why dirtune cannot reach it as the inventory says."""


def read(inventories: Sequence[str], limit: str | None, source: Source) -> Fleet:
    """Return the hosts of *inventories* that match *limit*, each with the settings of *source*.

    Raises `NotPossible` if ansible-core is not installed, if an inventory cannot be read, or if no
    host matches.
    """
    for inventory in inventories:
        _require_an_end(inventory)
    if _CONFIG.is_file() and not os.environ.get("ANSIBLE_CONFIG"):
        plan_files.require_own(
            _CONFIG,
            "it may name plugins, which ansible-core would run as you. Check the file, then set "
            f"ANSIBLE_CONFIG={_CONFIG}, or change to another folder",
        )
    answer = _answer(inventories, limit or "")
    names = ", ".join(inventories)
    if answer.error:
        raise NotPossible(f"ansible-core cannot read the inventory {names}: {answer.error}")
    if not answer.hosts:
        raise NotPossible(
            f"No host of the inventory {names} matches the pattern {limit}. "
            f"`ansible-inventory -i {names} --graph` shows the hosts and groups."
            if limit
            else f"The inventory {names} names no host."
        )
    sources: list[Source] = []
    lost: list[tuple[str, str]] = []
    groups: dict[str, list[str]] = {}
    for host in answer.hosts:
        for group in host.groups:
            groups.setdefault(group, []).append(host.name)
        try:
            sources.append(_source(host, source))
        except NotPossible as error:
            lost.append((host.name, f"{host.name}: {error}"))
    return Fleet(tuple(sources), {g: tuple(n) for g, n in sorted(groups.items())}, tuple(lost))


def of_sources(sources: tuple[Source, ...]) -> Fleet:
    """Return the hosts of *sources* as a fleet with one group."""
    return Fleet(sources, {"all hosts": tuple(source.name for source in sources)})


def _require_an_end(inventory: str) -> None:
    """Raise `NotPossible` for a pipe, a device or a huge file, which ansible-core reads whole."""
    if not reading.exists(inventory) or reading.is_folder(inventory):
        return  # a list of hosts, or a folder of inventories
    try:
        os.close(reading.open_regular(inventory, _LARGEST))
    except OSError as error:
        raise NotPossible(f"{inventory}: {error.strerror}") from error


def _answer(inventories: Sequence[str], limit: str) -> _Answer:
    if find_spec("ansible") is None:
        raise NotPossible(
            f"-i needs ansible-core, which is not installed. {remedy('ansible-core')}"
        )
    argv = (sys.executable, "-P", str(_READER), limit, *map(_safe, inventories))
    try:
        text = command.run_bounded(argv, timeout_s=_LONGEST_S, most_bytes=_MOST_BYTES)
        return from_json(text, _Answer)
    except NotPossible as error:
        reason = str(error).removeprefix(f"{' '.join(argv)}: ")
        return _Answer(error=reason)
    except msgspec.DecodeError as error:
        return _Answer(error=f"it printed no JSON ({error})")


def _safe(inventory: str) -> str:
    return f"./{inventory}" if inventory.startswith("-") else inventory


def _source(host: _Host, source: Source) -> Source:
    """Return *source* for *host*; raises `NotPossible` if dirtune cannot do what Ansible would."""
    from dirtune.remote.target import Target

    if host.error:
        raise NotPossible(f"ansible-core cannot read its variables: {host.error}")
    if host.become and (host.become_method, host.become_user) != ("sudo", "root"):
        raise NotPossible(
            f"ansible_become_method is {host.become_method} and ansible_become_user is "
            f"{host.become_user}, but dirtune becomes root by sudo"
        )
    if host.connection == "local":
        target = Target(ssh_names.LOCAL)
    elif host.connection in _OURS:
        target = Target(host.host or host.name, tuple(_rows(host)))
    else:
        raise NotPossible(f"ansible_connection is {host.connection}, and dirtune needs ssh")
    return replace(source, host=host.name, target=target, become=host.become)


def _rows(host: _Host) -> Iterator[str]:
    """Yield the settings of *host*, in the order in which Ansible gives them to ssh."""
    from dirtune.remote.target import rows, setting

    if host.ssh_args != _DEFAULT_ARGS:
        yield from rows(host.ssh_args)
    if host.port:
        yield setting("Port", host.port)
    if host.private_key_file:
        yield setting("IdentityFile", host.private_key_file)
    if host.remote_user:
        if refusal := ssh_names.refusal(f"{host.remote_user}@{host.host or host.name}"):
            raise NotPossible(refusal)
        yield setting("User", host.remote_user)
    yield from rows(host.ssh_common_args)
    yield from rows(host.ssh_extra_args)
