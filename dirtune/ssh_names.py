"""Refuse names of hosts and users that are not safe to pass to ssh(1).

ssh inserts these names into a ProxyCommand, which a shell executes. Since 9.6, OpenSSH refuses
names with a meaning to the shell (`valid_hostname` and `valid_ruser` in ssh.c). This module
refuses such names for every version of ssh, and names that look like an option.
"""

LOCAL = "local"
"""The name of this machine, which needs no SSH."""
_LONGEST = 255
_SHELL = frozenset("'`\"$;&<>|(){}")
_SHOWN = 60


def refusal(host: str) -> str | None:
    """Return why *host*, a name or `user@name`, is not safe to pass to ssh; None if it is safe."""
    user, at, name = host.rpartition("@")
    if "ssh://" in {host[:6], name[:6]}:  # ssh reads a name like this as a URI with a port
        return "Give a host name instead of an ssh:// address, and set the port in the ssh_config"
    if len(host) > _LONGEST:
        return f"The name is longer than {_LONGEST} characters"
    if not name or (at and not user):
        return "The name of the host is missing"
    if name.startswith("-") or user.startswith("-"):
        return "The name begins with a dash, like an option"
    for part, banned in ((name, _SHELL | {"\\"}), (user, _SHELL)):
        bad = next((c for c in part if c in banned or c.isspace() or not c.isprintable()), None)
        if bad is not None:
            return f"{bad!a} is not allowed in the name of a host or user"
    return "The user's name ends with a backslash" if user.endswith("\\") else None


def shown(host: str) -> str:
    """Return *host* escaped and shortened, for a message."""
    text = host if host.isprintable() else ascii(host)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
