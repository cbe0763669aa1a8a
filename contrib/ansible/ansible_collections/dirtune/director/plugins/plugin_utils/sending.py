# Copyright: the dirtune authors
# SPDX-License-Identifier: MIT
"""Send the one file of dirtune to a host for one task."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import hashlib

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class SendingAction(ActionBase):
    """Runs the module of the same name; with the argument C(file), by the dirtune in this file."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _needed = False

    def run(self, tmp=None, task_vars=None):
        """Send the file if the task names one, run the module, and remove the file.

        The file stays while the host's dirtune may still have to roll back what it changed.
        """
        result = super(SendingAction, self).run(tmp, task_vars)
        del tmp
        try:
            arguments = self._sent(dict(self._task.args))
            result.update(self._module(arguments, task_vars))
            self._afterwards(arguments, result, task_vars)
            return result
        finally:
            self._needed = bool(self._task.args.get("file")) and result.get("state") == "applied"
            self.cleanup(force=True)

    def cleanup(self, force=False):
        """Remove the temporary folder with the file, unless dirtune still needs it."""
        if not self._needed:
            super(SendingAction, self).cleanup(force)

    def _module(self, arguments, task_vars):
        return self._execute_module(
            module_name=self._task.action, module_args=arguments, task_vars=task_vars
        )

    def _afterwards(self, arguments, result, task_vars):
        """Do what follows the module, while the file is still on the host."""

    def _sent(self, arguments):
        """Return the arguments for the module on the host, to which the file was sent."""
        file = arguments.get("file")
        if not file:
            return arguments
        path = self._loader.path_dwim(file)
        try:
            with open(path, "rb") as opened:
                digest = hashlib.sha256(opened.read()).hexdigest()
        except OSError as error:
            raise AnsibleActionFail("%s: %s" % (path, error.strerror))
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        there = self._connection._shell.join_path(self._connection._shell.tmpdir, "dirtune")
        self._transfer_file(path, there)
        self._fixup_perms2([self._connection._shell.tmpdir, there], execute=True)
        return dict(arguments, executable=there, sha256=digest)
