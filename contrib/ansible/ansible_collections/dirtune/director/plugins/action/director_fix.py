# Copyright: the dirtune authors
# SPDX-License-Identifier: MIT
"""Apply fixes, and confirm them over a new connection; see the module of the same name."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.dirtune.director.plugins.plugin_utils.sending import SendingAction


class ActionModule(SendingAction):
    """The new connection shows that the host can still be reached."""

    def _afterwards(self, arguments, result, task_vars):
        journal = result.get("journal")
        waits = result.get("state") == "applied"
        if result.get("failed") or not journal or not waits:
            return
        self._connection.reset()
        done = self._module(dict(arguments, journal=journal), task_vars)
        if done.get("failed") or done.get("unreachable"):
            text = (
                "The changes wait to be confirmed, and dirtune rolls them back if nobody confirms "
                "them in time: %s" % done.get("msg", "the host did not answer")
            )
            if arguments.get("file"):
                text += ". Until then, it needs %s" % arguments["executable"]
            result.update(failed=True, msg=text)
        else:
            result["state"] = done.get("state")
