# Copyright: the dirtune authors
# SPDX-License-Identifier: MIT
"""Run dirtune on this host, and read the JSON document that it prints."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import hashlib
import json
import os
import re

ARGUMENTS = {
    "executable": {"type": "path", "default": "dirtune"},
    "file": {"type": "path"},
    "sha256": {"type": "str"},
}
_MISSING = (
    "dirtune is not installed on this host. Install its package, or name the one file of dirtune "
    "on the controller: file: /path/dirtune-linux-x86_64"
)
_ENOENT = 2
# A terminal obeys these, or shows the text in another order.
_CONTROL = re.compile(u"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def one_line(text):
    """Return TEXT, which may hold a name of the host, with escapes for control characters."""
    return _CONTROL.sub(lambda found: "\\x%02x" % ord(found.group()), text)


def document(module, words, ok):
    """Return the JSON document of dirtune WORDS, and its exit status, which must be in OK."""
    program = module.params["executable"]
    if module.params["sha256"]:
        _require_whole(module, program)
        module.run_command_environ_update["DIRTUNE_CACHE"] = os.path.join(
            os.path.dirname(program), "cache"
        )
    elif os.sep not in program:
        program = module.get_bin_path(program, opt_dirs=["/opt/dirtune/bin", "/usr/local/bin"])
        if program is None:
            module.fail_json(msg=_MISSING)
    argv = [program] + words + ["--format", "json"]
    status, out, err = module.run_command(argv, handle_exceptions=False)
    rows = [row for row in err.splitlines() if row.strip()]
    if status not in ok:
        last = rows[-1] if rows else "dirtune ended with exit status %d" % status
        prefix = "dirtune: "
        reason = last[len(prefix) :] if last.startswith(prefix) else last
        module.fail_json(msg=one_line(reason), rc=status, stderr=err)
    for row in rows:
        module.warn(one_line(row))
    try:
        return json.loads(out), status
    except ValueError:
        return module.fail_json(
            msg="%s printed no JSON. Install the version of dirtune that this collection has."
            % program,
            rc=status,
            stderr=err,
        )


def _require_whole(module, path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    if digest.hexdigest() != module.params["sha256"]:
        module.fail_json(
            msg="The one file of dirtune arrived damaged, so it was not run. Run the task again."
        )
