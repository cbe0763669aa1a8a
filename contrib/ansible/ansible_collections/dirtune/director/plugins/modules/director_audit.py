#!/usr/bin/python
# Copyright: the dirtune authors
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: director_audit
short_description: Audit an IPVS director with dirtune
version_added: 0.1.0
description:
  - Runs C(dirtune audit) on the host, and returns its result as facts.
  - An audit changes nothing, so the module does the same in check mode.
options:
  executable:
    description: The command or the path of an installed dirtune.
    type: path
    default: dirtune
  file:
    description:
      - The path of the one file of dirtune on the controller, C(dirtune-linux-x86_64).
      - The file is sent to the host for this task, checked, run and removed.
    type: path
  sha256:
    description: The SHA-256 of O(file). The action plugin sets it.
    type: str
  select:
    description: Run only the checks whose ids start with one of these prefixes.
    type: list
    elements: str
    default: []
  ignore:
    description: Skip the checks whose ids start with one of these prefixes.
    type: list
    elements: str
    default: []
  probe:
    description: Also measure with eBPF for this many seconds. This needs root.
    type: float
  interval:
    description: Wait this many seconds between the two samples.
    type: float
    default: 2.0
  fail_on:
    description: Fail if a finding is this severe or more severe.
    type: str
    choices: [critical, high, medium, low, info]
attributes:
  check_mode:
    support: full
    description: The module reads in check mode as always.
  diff_mode:
    support: none
    description: An audit changes nothing.
author:
  - the dirtune authors (@dirtune)
"""

EXAMPLES = r"""
- name: Audit the directors with the one file
  dirtune.director.director_audit:
    file: dist/dirtune-linux-x86_64
    fail_on: high
  become: true

- name: Show the number of findings
  ansible.builtin.debug:
    var: ansible_facts.dirtune_audit.summary
"""

RETURN = r"""
ansible_facts:
  description: The facts of this host.
  returned: always
  type: dict
  contains:
    dirtune_audit:
      description: The document C(dirtune/audit/1) of C(dirtune audit --format json).
      type: dict
      returned: always
findings:
  description: The checks with findings that are not waived, the gravest first.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dirtune.director.plugins.module_utils.dirtune import ARGUMENTS, document, one_line

SEVERITIES = ["critical", "high", "medium", "low", "info"]


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            select={"type": "list", "elements": "str", "default": []},
            ignore={"type": "list", "elements": "str", "default": []},
            probe={"type": "float"},
            interval={"type": "float", "default": 2.0},
            fail_on={"type": "str", "choices": SEVERITIES},
        ),
        supports_check_mode=True,
    )
    audit, status = document(module, words(module.params), ok=(0, 1))
    found = [row for row in audit["outcomes"] if row["severity"]]
    found.sort(key=lambda row: SEVERITIES.index(row["severity"]))
    result = {
        "changed": False,
        "ansible_facts": {"dirtune_audit": audit},
        "findings": [row["check"] for row in found],
    }
    if module.params["fail_on"] and status == 1:
        first = found[0]
        module.fail_json(
            msg="%s (%s): %s"
            % (first["check"], first["severity"], one_line(first["findings"][0]["message"])),
            **result
        )
    module.exit_json(**result)


def words(params):
    """Return the words of dirtune for the arguments of the task."""
    out = ["audit", "--interval=%g" % params["interval"]]
    out += ["--select=%s" % prefix for prefix in params["select"]]
    out += ["--ignore=%s" % prefix for prefix in params["ignore"]]
    if params["probe"] is not None:
        out.append("--probe=%g" % params["probe"])
    if params["fail_on"]:
        out.append("--fail-on=%s" % params["fail_on"])
    return out


if __name__ == "__main__":
    main()
