"""Checks of keepalived's configuration, and the helper functions that they share."""

from dirtune.checks import not_applicable
from dirtune.keepalived.model import Conf

WITHOUT = not_applicable("this host has no /etc/keepalived/keepalived.conf")


def configured(conf: Conf) -> bool:
    """Whether *conf* is a configuration; a host without keepalived has one without files."""
    return bool(conf.files)
