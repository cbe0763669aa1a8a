"""Refuse names of hosts and users that must not be handed to ssh(1).

ssh puts them into the text of a ProxyCommand, which a shell reads. OpenSSH refuses names that a
shell would run since 9.6 (`valid_hostname` and `valid_ruser` in ssh.c); here the same holds with
every ssh, and no name can look like an option.
"""

LOCAL = "local"
"""The name of this machine, which needs no SSH."""
_LONGEST = 255
_SHELL = frozenset("'`\"$;&<>|(){}")
_SHOWN = 60


def refusal(host: str) -> str | None:
    """Return why *host*, a name or `user@name`, is not handed to ssh; None if it is."""
    user, at, name = host.rpartition("@")
    if "ssh://" in {host[:6], name[:6]}:  # ssh takes both for an address with a port
        return (
            "An ssh:// address is not taken. Give the name alone, and the port in the ssh_config"
        )
    if len(host) > _LONGEST:
        return f"The name is longer than {_LONGEST} characters"
    if not name or (at and not user):
        return "The name of the host is missing"
    if name.startswith("-") or user.startswith("-"):
        return "The name begins with a dash, as an option does"
    for part, banned in ((name, _SHELL | {"\\"}), (user, _SHELL)):
        bad = next((c for c in part if c in banned or c.isspace() or not c.isprintable()), None)
        if bad is not None:
            return f"{bad!a} is not allowed in the name of a host or user"
    return "The user's name ends with a backslash" if user.endswith("\\") else None


def shown(host: str) -> str:
    """Return *host* as a message may print it: escaped and short."""
    text = host if host.isprintable() else ascii(host)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
