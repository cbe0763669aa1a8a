#!/usr/bin/python
# Copyright: the dirtune authors
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: director_fix
short_description: Apply fixes of an IPVS director with dirtune
version_added: 0.1.0
description:
  - Runs C(dirtune fix apply) on the host, as root.
  - If dirtune wants the changes to be confirmed, the task opens a new connection and confirms them
    over it. If the host cannot be reached any more, dirtune rolls the changes back by itself.
  - In check mode, C(dirtune fix plan) says what would be changed.
options:
  executable:
    description: The command or the path of an installed dirtune.
    type: path
    default: dirtune
  file:
    description:
      - The path of the one file of dirtune on the controller, C(dirtune-linux-x86_64).
      - The file is sent to the host for this task, checked, run and removed. It stays if the
        changes cannot be confirmed, because dirtune then needs it to roll them back.
    type: path
  sha256:
    description: The SHA-256 of O(file). The action plugin sets it.
    type: str
  checks:
    description:
      - Fix the findings of these checks. C(CHECK/FIX) chooses one fix of a check.
      - Without checks, every fix that is safe is applied.
    type: list
    elements: str
    default: []
  persist:
    description: Keep the changes over a reboot.
    type: bool
    default: false
  force:
    description: Apply these refused changes anyway. Each is C(NAME) or C(NAME=WHY).
    type: list
    elements: str
    default: []
  confirm:
    description:
      - Roll the changes back unless they are confirmed within this many seconds. V(0) keeps them.
      - The default is 120 if a change is disruptive, else 0.
    type: float
  journal:
    description: Confirm the changes of this journal instead. The action plugin uses it.
    type: str
attributes:
  check_mode:
    support: full
    description: Reports the changes that would be made, and makes none.
  diff_mode:
    support: full
    description: Shows each value before and after.
author:
  - the dirtune authors (@dirtune)
"""

EXAMPLES = r"""
- name: Fix one finding, and keep the fix over a reboot
  dirtune.director.director_fix:
    checks: [ipvs/conn-reuse-delay]
    persist: true
  become: true

- name: Apply everything that is safe, with the one file
  dirtune.director.director_fix:
    file: dist/dirtune-linux-x86_64
  become: true
"""

RETURN = r"""
changes:
  description: What was changed, or would be changed in check mode, in a few words each.
  returned: success
  type: list
  elements: str
refusals:
  description: What dirtune refuses to change, and why.
  returned: success
  type: list
  elements: str
journal:
  description: The journal, for C(dirtune rollback).
  returned: if something was changed
  type: str
state:
  description: Whether the changes are V(confirmed), or still V(applied) and wait for it.
  returned: if something was changed
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dirtune.director.plugins.module_utils.dirtune import ARGUMENTS, document, one_line


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            checks={"type": "list", "elements": "str", "default": []},
            persist={"type": "bool", "default": False},
            force={"type": "list", "elements": "str", "default": []},
            confirm={"type": "float"},
            journal={"type": "str"},
        ),
        supports_check_mode=True,
    )
    params = module.params
    if params["journal"]:
        if module.check_mode:
            module.exit_json(changed=False)
        settled, dummy = document(module, ["confirm", params["journal"]], ok=(0,))
        module.exit_json(changed=not settled["already"], state=settled["state"])
    if module.check_mode:
        plan, dummy = document(module, ["fix", "plan"] + params["checks"], ok=(0, 1))
        changes, refusals = planned(plan, params)
        module.exit_json(**result(changes, refusals, params["persist"]))
    done, dummy = document(module, applying(params), ok=(0,))
    made = result(done["changes"], done["refusals"], params["persist"])
    module.exit_json(journal=done["journal"], state=done["state"], **made)


def applying(params):
    """Return the words of dirtune that apply the fixes."""
    out = ["fix", "apply"] + params["checks"]
    if params["persist"]:
        out.append("--persist")
    if params["confirm"] is not None:
        out.append("--confirm=%g" % params["confirm"])
    return out + ["--force=%s" % name for name in params["force"]]


def planned(plan, params):
    """Return the changes and the refusals of apply: it leaves out what is not safe and not named.

    A refusal that the task forces becomes a change, which the plan does not describe further.
    """
    changes = [c for c in plan["changes"] if params["checks"] or c["risk"] == "safe"]
    forced = set(name.partition("=")[0].strip() for name in params["force"])
    for refusal in plan["refusals"]:
        if refusal["name"] and refusal["name"] in forced:
            title = "%s: %s" % (refusal["reason"], refusal["subject"])
            changes.append({"title": title, "action": {}, "persisted_by": None})
    kept = [r for r in plan["refusals"] if r["name"] not in forced or not r["name"]]
    return changes, kept


def result(changes, refusals, persist):
    """Return what the task reports."""
    return {
        "changed": bool(changes),
        "changes": [one_line(change["title"]) for change in changes],
        "refusals": [one_line("%s: %s %s" % (r["reason"], r["subject"], r["why"])) for r in refusals],
        "diff": {
            "before": "".join(state(change, "before", "") for change in changes),
            "after": "".join(after(change, persist) for change in changes),
        },
    }


def after(change, persist):
    """Return the lines of one change for the state afterwards."""
    file = change["persisted_by"] if persist else None
    kept = "%s: keeps it over a reboot\n" % file if file else ""
    return state(change, "after", "%s\n" % one_line(change["title"])) + kept


def state(change, when, otherwise):
    """Return the line of a value WHEN, before or after; OTHERWISE for a change of another kind."""
    action = change["action"]
    if "before" not in action or "after" not in action:
        return otherwise
    value = action[when]
    if isinstance(value, dict):
        value = ", ".join("%s %s" % pair for pair in sorted(value.items()))
    name = action.get("path") or " ".join(
        str(action[key]) for key in ("interface", "group") if key in action
    )
    return "%s\n" % one_line("%s: %s" % (name or change["title"], value))


if __name__ == "__main__":
    main()
