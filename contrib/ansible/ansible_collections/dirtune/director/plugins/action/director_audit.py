# Copyright: the dirtune authors
# SPDX-License-Identifier: MIT
"""Audit a director; see the module of the same name."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.dirtune.director.plugins.plugin_utils.sending import SendingAction


class ActionModule(SendingAction):
    """An audit needs nothing after the module."""
