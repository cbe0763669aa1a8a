"""The Ansible collection in contrib/ansible, run by a real ansible-core."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dirtune

pytest.importorskip("ansible", reason="needs the extra `fleet`")
yaml = pytest.importorskip("yaml", reason="ansible-core brings it")

ROOT = Path(__file__).parents[1]
COLLECTIONS = ROOT / "contrib/ansible"
COLLECTION = COLLECTIONS / "ansible_collections/dirtune/director"
GOLDEN = ROOT / "tests/render/golden"
BIN = Path(sys.executable).parent
# It answers as dirtune did in the golden files, and writes down what it was asked.
FAKE = """#!/bin/sh
echo "$*" >>{folder}/asked
case "$*" in
*"fix plan"*) cat {golden}/plan-json.txt ;;
*"fix apply broken"*) echo "dirtune: no such check" >&2; exit 2 ;;
*"fix apply"*) echo "dirtune: by hand" >&2; cat {golden}/plan-applied-json.txt ;;
*confirm*) echo '{{"schema": "dirtune/settled/1", "journal": "J", "state": "confirmed", \
"already": false}}' ;;
esac
"""
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - dirtune.director.director_audit:
        executable: {bin}/dirtune
        interval: 0.1
        select: [net/]
      register: audit
    - dirtune.director.director_fix: {{executable: {folder}/fake}}
      check_mode: true
      diff: true
      register: safe
    - dirtune.director.director_fix:
        executable: {folder}/fake
        checks: [ipvs/schedule-icmp, nic/ring-below-max, irq/shared-with-nic]
        force: [disk=spare]
        persist: true
      check_mode: true
      diff: true
      register: named
    - dirtune.director.director_fix:
        file: {folder}/fake
        checks: [nic/ring-below-max]
        confirm: 60
      register: applied
    - dirtune.director.director_fix: {{executable: {folder}/fake, checks: [broken]}}
      ignore_errors: true
      register: broken
    - dirtune.director.director_fix: {{executable: no-such-dirtune}}
      ignore_errors: true
      register: missing
    - ansible.builtin.copy:
        dest: {folder}/results
        content: >-
          {{{{ [audit, safe, named, applied, broken, missing, ansible_facts] | to_json }}}}
"""

# The role's first task; in place of apt, a command that shows what it was given, and fails.
ROLE_PLAY = """
- hosts: all
  gather_facts: false
  vars: {{director_package_file: {folder}/dirtune_1_amd64.deb}}
  tasks:
    - ignore_errors: true
      block: {tasks}
"""
INSTALL = """
copy={copy}; stat -c '%a %u' "${{copy%/*}}" "$copy" >{folder}/seen
echo "${{copy%/*}}" >>{folder}/seen; cat "$copy" >>{folder}/seen; exit {status}
"""


def played(folder, play):
    (folder / "play.yml").write_text(play)
    inventory = f"here ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    (folder / "hosts").write_text(inventory)
    ended = subprocess.run(
        (BIN / "ansible-playbook", "-i", folder / "hosts", folder / "play.yml"),
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **{name: os.environ[name] for name in ("PATH",)},
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
            "ANSIBLE_NOCOLOR": "1",
        },
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_the_modules_audit_plan_apply_and_confirm(tmp_path):
    fake = tmp_path / "fake"
    fake.write_text(FAKE.format(folder=tmp_path, golden=GOLDEN))
    fake.chmod(0o755)

    output = played(tmp_path, PLAY.format(bin=BIN, folder=tmp_path))

    results = json.loads((tmp_path / "results").read_text())
    audit, safe, named, applied, broken, missing, facts = results
    assert audit["changed"] is False
    assert facts["dirtune_audit"]["schema"] == "dirtune/audit/1"
    assert {o["check"].partition("/")[0] for o in facts["dirtune_audit"]["outcomes"]} == {"net"}

    # Without checks, apply makes only what is safe; so check mode says no more.
    plan = json.loads((GOLDEN / "plan-json.txt").read_text())
    of_risk = {c["title"]: c["risk"] for c in plan["changes"]}
    assert safe["changed"] is True
    assert {of_risk[title] for title in safe["changes"]} == {"safe"}
    assert "/proc/sys/net/ipv4/vs/schedule_icmp: 0\n" in safe["diff"]["before"]
    assert "/proc/sys/net/ipv4/vs/schedule_icmp: 1\n" in safe["diff"]["after"]

    assert set(named["changes"]) == {*of_risk, "irq/shared-with-nic: 0000:00:1f.2"}
    assert named["refusals"] == ["ipvs/sync-missing: the sync daemon is keepalived's to start"]
    assert "/etc/sysctl.d/90-dirtune.conf: keeps it over a reboot\n" in named["diff"]["after"]
    assert "enp0s16 rings: rx 4096\n" in named["diff"]["after"]

    # The changes of the golden file wait for 120 s, so the task confirms them.
    assert (applied["changed"], applied["state"]) == (True, "confirmed")
    assert "by hand" in output
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        "fix plan --format json",
        "fix plan ipvs/schedule-icmp nic/ring-below-max irq/shared-with-nic --format json",
        "fix apply nic/ring-below-max --confirm=60 --format json",
        f"confirm {applied['journal']} --format json",
        "fix apply broken --format json",
    ]
    assert (broken["failed"], broken["msg"]) == (True, "no such check")
    assert missing["msg"].startswith("dirtune is not installed on this host. Install")
    assert list((tmp_path / "remote").iterdir()) == []


UNCONFIRMED = """
- hosts: all
  gather_facts: false
  tasks:
    - dirtune.director.director_fix: {{file: {folder}/fake, checks: [nic/ring-below-max]}}
      ignore_errors: true
      register: applied
    - ansible.builtin.copy: {{dest: {folder}/results, content: "{{{{ applied | to_json }}}}"}}
"""


def test_a_sent_file_stays_while_its_watchdog_may_need_it(tmp_path):
    fake = tmp_path / "fake"
    text = FAKE.format(folder=tmp_path, golden=GOLDEN)
    fake.write_text(text.replace("*confirm*) echo", "*confirm*) echo too busy >&2; exit 2; echo"))
    fake.chmod(0o755)

    played(tmp_path, UNCONFIRMED.format(folder=tmp_path))

    applied = json.loads((tmp_path / "results").read_text())
    (sent,) = (tmp_path / "remote").glob("*/dirtune")
    assert (applied["failed"], applied["state"]) == (True, "applied")
    assert applied["msg"].endswith(f"in time: too busy. Until then, it needs {sent}")


def test_a_file_that_arrives_damaged_is_not_run(tmp_path):
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    fake.chmod(0o755)
    wrong = hashlib.sha256(b"another file").hexdigest()
    script = tmp_path / "module.py"
    # The module alone, as the action plugin calls it on the host.
    script.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        f"    - dirtune.director.director_audit: {{executable: {fake}, sha256: {wrong}}}\n"
        "      ignore_errors: true\n      register: out\n"
        f"    - ansible.builtin.copy: {{dest: {tmp_path}/results, content: '{{{{ out.msg }}}}'}}\n"
    )

    played(tmp_path, script.read_text())

    assert "arrived damaged, so it was not run" in (tmp_path / "results").read_text()
    assert not (tmp_path / "ran").exists()


def test_the_collection_has_the_version_of_dirtune():
    (version,) = re.findall(r"^version: (.*)$", (COLLECTION / "galaxy.yml").read_text(), re.M)

    assert version == dirtune.__version__.partition(".dev")[0]


@pytest.mark.parametrize("status", [0, 1])
def test_a_package_is_installed_from_a_folder_of_root_which_is_then_removed(tmp_path, status):
    (tmp_path / "dirtune_1_amd64.deb").write_text("package")
    first, *_ = yaml.safe_load((COLLECTION / "roles/director/tasks/main.yml").read_text())
    (apt,) = (task for task in first["block"] if "ansible.builtin.apt" in task)
    copy = apt.pop("ansible.builtin.apt")["deb"]
    apt["ansible.builtin.shell"] = INSTALL.format(copy=copy, folder=tmp_path, status=status)

    play = ROLE_PLAY.format(folder=tmp_path, tasks=json.dumps([first]))
    output = played(tmp_path, play)

    of_folder, of_file, folder, content = (tmp_path / "seen").read_text().splitlines()
    assert (of_folder, of_file) == (f"700 {os.geteuid()}", f"600 {os.geteuid()}")
    assert content == "package"
    assert not Path(folder).exists()
    assert re.search(rf"failed={0} .*ignored={status}", output), output


def test_a_role_writes_nothing_where_every_user_can():
    for path in COLLECTION.glob("roles/**/*.yml"):
        assert not re.search(r"/tmp\b|/dev/shm", path.read_text()), path


HOSTILE = {
    "changes": [
        {
            "title": "eth0\x1b[2J\n: ring",
            "risk": "safe",
            "persisted_by": None,
            "action": {"path": "/sys/\x1b]0;x\x07\u202e", "before": "1\nforged: 2", "after": "2"},
        }
    ],
    "refusals": [{"reason": "a\x1b[31m", "subject": "b\n", "why": "c\x9b", "name": ""}],
}


def test_what_a_host_names_reaches_ansible_without_control_characters(tmp_path):
    (tmp_path / "plan").write_text(json.dumps(HOSTILE))
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\nprintf 'x\\033[2J\\n' >&2; cat {tmp_path}/plan\n")
    fake.chmod(0o755)
    task = f"dirtune.director.director_fix: {{executable: {fake}}}"

    output = played(
        tmp_path,
        f"- hosts: all\n  gather_facts: false\n  tasks:\n    - {task}\n      check_mode: true\n"
        "      diff: true\n      register: out\n"
        f"    - ansible.builtin.copy:\n        dest: {tmp_path}/results\n"
        "        content: '{{ out | to_json }}'\n",
    )

    out = json.loads((tmp_path / "results").read_text())
    assert out["changes"] == ["eth0\\x1b[2J\\x0a: ring"]
    assert out["refusals"] == ["a\\x1b[31m: b\\x0a c\\x9b"]
    assert out["diff"]["before"] == "/sys/\\x1b]0;x\\x07\\x202e: 1\\x0aforged: 2\n"
    assert not set("\x1b\x07\u202e\x9b") & set(output)
