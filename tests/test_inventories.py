"""Ansible inventories, read by a real ansible-core, and what ssh(1) makes of their settings."""

import getpass
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune import exit_status
from dirtune.cli import main
from dirtune.errors import NotPossible
from dirtune.jobs import inventories
from dirtune.jobs.snapshots import Source
from dirtune.remote import config
from dirtune.remote.target import Target, rows
from tests.test_remote_hosts import SSHD, Far

pytest.importorskip("ansible", reason="needs the extra `fleet`")

INI = """
[lb]
lb[1:2] ansible_port=2222 ansible_user=ops
[lb:vars]
ansible_become=yes
ansible_host={{ inventory_hostname }}.example
[web]
web1 ansible_host=2001:db8::1 ansible_ssh_private_key_file="~/key of web"
[prod:children]
lb
web
[all:vars]
ansible_ssh_common_args='-C -o ProxyJump=gate -o StrictHostKeyChecking=no'
"""
YAML = """
lb:
  hosts:
    lb1: {ansible_host: lb1.example, ansible_port: 2222}
  vars: {ansible_user: ops}
"""
PLUGIN = """
plugin: ansible.builtin.generator
hosts:
  name: "{{ place }}-lb"
layers:
  place: [east, west]
"""
SCRIPT = f"""#!{sys.executable}
import json
print(json.dumps({{"lb": {{"hosts": ["made"]}}, "_meta": {{"hostvars": {{"made": {{}}}}}}}}))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    return tmp_path


def read(*names, limit=None):
    return inventories.read(names, limit, Source(interval=3.0))


def reached(fleet):
    return {source.host: source.target for source in fleet.sources}


def asked_of_ssh(target, folder):
    """Return the settings that ssh itself would use."""
    theirs = folder / "ssh_config"
    theirs.write_text("Host *\n  User nobody\n  Port 22\n  Compression no\n")
    way = config.way(target.name, theirs, "", target.section)
    try:
        argv = ("ssh", "-G", *way.argv()[1:])
        text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    finally:
        way.close()
    return dict(row.split(" ", 1) for row in text.splitlines() if " " in row)


def test_an_ini_file_with_groups_ranges_templates_and_options(folder):
    (folder / "hosts").write_text(INI)

    fleet = read("hosts")

    assert {name: target.name for name, target in reached(fleet).items()} == {
        "lb1": "lb1.example",
        "lb2": "lb2.example",
        "web1": "2001:db8::1",
    }
    # Nobody is directly in prod: a director and a web server may differ.
    assert fleet.groups == {"lb": ("lb1", "lb2"), "web": ("web1",)}
    assert [source.become for source in fleet.sources] == [True, True, False]
    assert {source.interval for source in fleet.sources} == {3.0}

    of_lb = asked_of_ssh(reached(fleet)["lb1"], folder)
    assert of_lb["hostname"] == "lb1.example"
    assert (of_lb["port"], of_lb["user"], of_lb["proxyjump"]) == ("2222", "ops", "gate")
    assert of_lb["compression"] == "yes"
    # What dirtune forces comes first.
    assert of_lb["stricthostkeychecking"] in {"yes", "true"}
    of_web = asked_of_ssh(reached(fleet)["web1"], folder)
    assert of_web["identityfile"].endswith("key of web")
    assert (of_web["port"], of_web["user"]) == ("22", "nobody")


def test_yaml_scripts_and_plugins_are_read_as_ansible_reads_them(folder):
    (folder / "hosts.yml").write_text(YAML)
    (folder / "gen.yml").write_text(PLUGIN)
    (folder / "script").write_text(SCRIPT)
    (folder / "script").chmod(0o755)
    (folder / "group_vars").mkdir()
    (folder / "group_vars/lb.yml").write_text("ansible_connection: local\n")

    fleet = read("hosts.yml", "script", "gen.yml", "last,")

    assert reached(fleet) == {
        "lb1": Target("local"),
        "made": Target("local"),
        "east-lb": Target("east-lb"),
        "west-lb": Target("west-lb"),
        "last": Target("last"),
    }


def test_a_pattern_limits_the_hosts_and_one_that_matches_none_is_refused(folder):
    (folder / "hosts").write_text(INI)

    assert set(reached(read("hosts", limit="prod:!lb1"))) == {"lb2", "web1"}
    with pytest.raises(NotPossible, match=r"matches the pattern nosuch\. .* --graph"):
        read("hosts", limit="nosuch")


REFUSED = {
    "ansible_connection=docker": "ansible_connection is docker, and dirtune needs ssh",
    "ansible_become=yes ansible_become_method=doas": "dirtune becomes root by sudo",
    "ansible_ssh_extra_args='-R 1:x:1'": "dirtune cannot use the argument '-R' of ssh",
    "ansible_ssh_extra_args='-o Include=/x'": "dirtune cannot use the option",
    "ansible_user='x;y'": "';' is not allowed in the name of a host or user",
    "ansible_host='{{ 1 / 0 }}'": "ansible-core cannot read its variables",
}


def test_a_host_that_cannot_be_reached_so_is_named_and_the_others_are_audited(folder):
    odd = [f"odd{n} {variables}\n" for n, variables in enumerate(REFUSED)]
    (folder / "hosts").write_text("".join((*odd, "sound\n")))

    fleet = read("hosts")

    assert set(reached(fleet)) == {"sound"}
    assert [host for host, _ in fleet.lost] == [f"odd{n}" for n in range(len(REFUSED))]
    for (host, why), reason in zip(fleet.lost, REFUSED.values(), strict=True):
        assert why.startswith(f"{host}: ")
        assert reason in why


@pytest.mark.parametrize("name", ["missing", "bad.yml"])
def test_an_inventory_that_cannot_be_read_is_one_line(folder, name):
    (folder / "bad.yml").write_text("lb: {{\n")

    with pytest.raises(NotPossible) as caught:
        read(name)

    assert str(caught.value).startswith(f"ansible-core cannot read the inventory {name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["device", "FIFO", "huge"])
def test_an_inventory_without_an_end_is_refused_at_once(folder, kind):
    """ansible-core would wait for it, or take all memory."""
    path = "/dev/zero"
    if kind == "FIFO":
        os.mkfifo(path := str(folder / "hosts"))
    elif kind == "huge":
        Path(path := str(folder / "hosts")).touch()
        os.truncate(path, 1 << 30)
    began_s = time.monotonic()

    with pytest.raises(NotPossible, match=f"^{path}: ") as refusal:
        inventories.read(["lb1,", path], None, Source())

    assert "\n" not in str(refusal.value)
    assert time.monotonic() - began_s < 5


def test_a_missing_ansible_core_is_named_with_its_remedy(folder, monkeypatch):
    monkeypatch.setattr(inventories, "find_spec", lambda name: None)

    with pytest.raises(NotPossible, match=r"-i needs ansible-core, .* install ansible-core$"):
        read("hosts")


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ("", []),
        ("-vvv -A -C4", ["Compression yes", "AddressFamily inet"]),
        ("-p2222 -i 'my key'", ['Port "2222"', 'IdentityFile "my key"']),
        ('-o ProxyCommand="ssh -W %h:%p gate"', ["ProxyCommand=ssh -W %h:%p gate"]),
        ("-oUser=x -o 'Port 3'", ["User=x", "Port 3"]),
    ],
)
def test_arguments_of_ssh_are_settings_of_ssh_config(arguments, settings):
    assert list(rows(arguments)) == settings


@pytest.mark.parametrize(
    "arguments",
    [
        "-p",
        "-F x",
        "host",
        "-o",
        "-o 'Host x'",
        "-o Match=all",
        "-o 'a=b\nHost *'",
        "'",
        "-o 'User\nx'",
        "-o 'User=\nx'",
    ],
)
def test_other_arguments_are_refused(arguments):
    with pytest.raises(NotPossible):
        list(rows(arguments))


@pytest.mark.skipif(SSHD is None, reason="OpenSSH's sshd is not installed")
def test_a_fleet_is_audited_over_ssh_and_summarised(folder, monkeypatch):
    far = Far(folder)
    far.host("one")
    far.host("two")
    monkeypatch.setenv("DIRTUNE_SSH_CONFIG", str(far.config))
    (folder / "hosts").write_text(
        "[lb]\nlb1 ansible_host=one\nlb2 ansible_host=two\nlb3 ansible_host=one ansible_user=no\n"
        f"[lb:vars]\nansible_ssh_private_key_file={folder}/user\n"
        f"[spare]\nhere ansible_connection=local ansible_user={getpass.getuser()}\n"
    )
    words = ("audit", "-i", "hosts", "--interval", "0.1", "--select", "net/")

    ended = CliRunner().invoke(main, (*words, "--format", "json"))

    summary = json.loads(ended.stdout)
    assert summary["schema"] == "dirtune/fleet/1"
    assert {host["host"]: host["groups"] for host in summary["hosts"]} == {
        "lb1": ["lb"],
        "lb2": ["lb"],
        "here": ["spare"],
    }
    (lost,) = summary["unreachable"]
    assert lost["host"] == "lb3"
    assert lost["reason"].startswith("lb3: no@one: no key was accepted")
    assert ended.exit_code == exit_status.CANNOT


def test_each_prints_the_audits_and_summary_works_without_an_inventory(folder, monkeypatch):
    for name in ("a", "b"):
        (folder / name / "proc/sys/kernel").mkdir(parents=True)
        (folder / name / "proc/sys/kernel/osrelease").write_text(f"6.1.{name}\n")
    sources = tuple(Source(root=folder / name) for name in ("a", "b"))
    fleet = inventories.of_sources(sources)
    monkeypatch.setattr(inventories, "read", lambda *given: fleet)
    words = ("audit", "--format", "json", "--fail-on", "critical")

    each = CliRunner().invoke(main, (*words, "-i", "x", "--each"))
    summary = CliRunner().invoke(main, (*words, "--root", "a", "--summary"))

    assert [a["schema"] for a in json.loads(each.stdout)["audits"]] == ["dirtune/audit/1"] * 2
    assert len(json.loads(summary.stdout)["hosts"]) == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--limit", "lb"), "--limit chooses hosts of an inventory"),
        (("--summary", "--cluster", "x"), "--cluster has no summary"),
        (("-i", "x,", "--host", "y"), "each name a source to read"),
        (("-i", "x,", "--cluster", "y"), "--cluster takes hosts and roles from its plan"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words, why):
    ended = CliRunner().invoke(main, ("audit", *words))

    assert ended.exit_code == exit_status.CANNOT
    assert why in ended.stderr
