"""Conversion between tables and the text of `ipvsadm -Sn`, which `ipvsadm -R` reads. Pure.

Format: print_service_entry() and parse_options() of ipvsadm.c (ipvsadm 1.31). The text contains
neither timeouts nor sync daemons. ipvsadm reads thresholds but does not write them; dirtune writes
them as `-x` and `-y`.
"""

import ipaddress
import re
import shlex
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from dirtune.addresses import family, joined
from dirtune.errors import NotPossible, ParseError
from dirtune.lvs import values
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.listing import as_rules
from dirtune.lvs.model import (
    IP_VS_SVC_F_ONEPACKET,
    TUNNEL_FLAGS,
    ChosenForwarding,
    Destination,
    DestinationKey,
    Forwarding,
    Service,
    ServiceKey,
    SyncDaemon,
    Table,
    Timeouts,
)

_Services: TypeAlias = dict[ServiceKey, tuple[Service, dict[DestinationKey, Destination]]]

_PROTOCOLS: dict[str, Literal["tcp", "udp", "sctp", "fwmark"]] = {
    "-t": "tcp",
    "-u": "udp",
    "--sctp-service": "sctp",
    "-f": "fwmark",
}
_OPTIONS = {protocol: option for option, protocol in _PROTOCOLS.items()}
_FORWARDING: dict[str, ChosenForwarding] = {"-m": "nat", "-i": "tun", "-g": "dr"}
_METHODS: dict[Forwarding, str] = {method: option for option, method in _FORWARDING.items()}
_SHORT = {
    "--add-service": "-A",
    "--add-server": "-a",
    "--tcp-service": "-t",
    "--udp-service": "-u",
    "--fwmark-service": "-f",
    "--scheduler": "-s",
    "--persistent": "-p",
    "--netmask": "-M",
    "--ops": "-o",
    "--sched-flags": "-b",
    "--real-server": "-r",
    "--masquerading": "-m",
    "--ipip": "-i",
    "--gatewaying": "-g",
    "--weight": "-w",
    "--u-threshold": "-x",
    "--l-threshold": "-y",
    "--ipv6": "-6",
    "--numeric": "-n",
}
_ALONE = {"-A", "-a", "-o", "-m", "-i", "-g", "-6", "-n"}
_ALONE |= {"--tun-nocsum", "--tun-csum", "--tun-remcsum"}
_VALUED = {*_OPTIONS.values(), "-s", "-M", "-b", "-r", "-w", "-x", "-y"}
_VALUED |= {"--pe", "--tun-type", "--tun-port"}
_TUNNEL_FLAGS = {f"--tun-{name}": bit for bit, name in TUNNEL_FLAGS.items()}
_DEFAULT_PERSISTENT_S = "300"
_LONGEST_LINE = 4096
_QUOTING = re.compile(r"[\"'\\]")
_WORD = re.compile(r"[A-Za-z0-9_.:/-]*")


def export(table: Table) -> str:
    """Return the services of *table* as `ipvsadm -R` reads them, sorted.

    Raises `NotPossible` if a text, such as a scheduler's name, is not one word: ipvsadm does not
    support quotes.
    """
    require_words(table)
    lines: list[tuple[str, ...]] = []
    for service in sorted(table.services, key=_order):
        lines.append(_service_line("-A", service))
        destinations = sorted(service.destinations, key=lambda real: _by_number(*real.key))
        lines += (_destination_line("-a", service, destination) for destination in destinations)
    return "".join(f"{' '.join(line)}\n" for line in lines)


def require_words(table: Table) -> None:
    """Raise `NotPossible` unless every text in *table* is one plain word."""
    for service in table.services:
        addresses = (service.address, *(each.address for each in service.destinations))
        for text in (*addresses, service.scheduler, service.netmask, service.engine):
            if not _WORD.fullmatch(text):
                raise NotPossible(
                    f"{service.name}: {text!r} is not one plain word, which ipvsadm requires"
                )


def command(step: Step) -> str:
    """Return the ipvsadm command that does the same as *step*, quoted for a shell."""
    return shlex.join(argv(step))


def argv(step: Step) -> tuple[str, ...]:
    """Return the words of the ipvsadm command that does the same as *step*."""
    return ("ipvsadm", *_options_of(step))


def _options_of(step: Step) -> tuple[str, ...]:
    match step.what:
        case Service() as service:
            option = {Verb.NEW: "-A", Verb.SET: "-E", Verb.DEL: "-D"}[step.verb]
            if step.verb is Verb.DEL:
                return (option, *_named(service))
            return _service_line(option, service)
        case Destination() as destination:
            assert step.of is not None
            option = {Verb.NEW: "-a", Verb.SET: "-e", Verb.DEL: "-d"}[step.verb]
            if step.verb is Verb.DEL:
                return (option, *_named(step.of), "-r", destination.name)
            return _destination_line(option, step.of, destination)
        case Timeouts(tcp, tcp_fin, udp):
            return ("--set", str(tcp), str(tcp_fin), str(udp))
        case SyncDaemon() as daemon:
            return tuple(_daemon_options(step.verb, daemon))


def parse(text: str) -> Table:
    """Return the table that `ipvsadm -R` would make of *text*.

    *text* may also be the output of `ipvsadm -Ln`. Raises `ParseError`, which names the line, if
    *text* is invalid.
    """
    services: _Services = {}
    for number, line in enumerate(as_rules(text).splitlines(), 1):
        if len(line) > _LONGEST_LINE:  # shlex takes quadratic time for a long word
            why = f"The line is longer than {_LONGEST_LINE} characters."
            raise ParseError(f"line {number}", why)
        words = line.split("#", 1)[0]
        if not words.strip():
            continue
        try:
            # shlex is slow, and ipvsadm itself writes no quotes.
            split = shlex.split if _QUOTING.search(words) else str.split
            _add(services, _options(split(words)))
        except (ValueError, KeyError) as error:
            problem = (
                f"the option {error.args[0]} is missing"
                if isinstance(error, KeyError)
                else str(error)
            )
            raise ParseError(f"line {number}", f"{line.strip()!r}: {problem}") from error
    return Table(
        tuple(
            msgspec.structs.replace(service, destinations=tuple(destinations.values()))
            for service, destinations in services.values()
        )
    )


def _add(services: _Services, get: dict[str, str]) -> None:
    if ("-A" in get) == ("-a" in get):
        raise ValueError(
            "the line needs either -A, which adds a service, or -a, which adds a real server"
        )
    service = _service(get)
    if "-A" in get:
        if service.key in services:
            raise ValueError(f"{service.name} is added twice")
        services[service.key] = service, {}
        return
    if service.key not in services:
        raise ValueError(f"an earlier line must add the service {service.name} with -A")
    known, destinations = services[service.key]
    destination = _destination(get, known)
    if destination.key in destinations:
        raise ValueError(f"{destination.name} is added twice")
    destinations[destination.key] = destination


def _options(words: list[str]) -> dict[str, str]:
    """Return the options of one line, as a dict from each option's short name to its value."""
    options: dict[str, str] = {}
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        name = _SHORT.get(name, name)
        if name in _ALONE:
            options[name] = ""
        elif name in _VALUED:
            options[name] = value if equals else next(left, "")
            if not options[name]:
                raise ValueError(f"the option {word} has no value")
        elif name == "-p":
            options[name] = value
            last = name
        elif word.isdecimal() and options and last == "-p":
            options["-p"] = word
        else:
            raise ValueError(f"{word} is not an option for -A or -a")
        last = name
    return options


def _service(get: dict[str, str]) -> Service:
    named = [option for option in _PROTOCOLS if option in get]
    if len(named) != 1:
        raise ValueError("the line needs exactly one of -t, -u, --sctp-service and -f")
    (option,) = named
    if option == "-f":
        address, port = "", _mark(get["-f"])
        version: Literal[4, 6] = 6 if "-6" in get else 4
    else:
        address, port = _endpoint(get[option], _PROTOCOLS[option])
        version = family(address)
    scheduler = get.get("-s", "wlc")
    flags = values.flag_bits(scheduler, filter(None, get.get("-b", "").split(",")))
    return Service(
        protocol=_PROTOCOLS[option],
        address=address,
        port=port,
        scheduler=scheduler,
        family=version,
        flags=flags | (IP_VS_SVC_F_ONEPACKET if "-o" in get else 0),
        persistent_s=_persistent(get),
        netmask=values.persistence_mask(get["-M"], version) if "-M" in get else "",
        engine=get.get("--pe", ""),
    )


def _persistent(get: dict[str, str]) -> int | None:
    seconds = get.get("-p")
    if seconds is None:
        return None
    return _number(seconds or _DEFAULT_PERSISTENT_S, 1, values.LONGEST_PERSISTENCE_S)


def _destination(get: dict[str, str], service: Service) -> Destination:
    methods = [option for option in _FORWARDING if option in get]
    if len(methods) > 1:
        raise ValueError(f"only one of the options {', '.join(methods)} can be used")
    forwarding = _FORWARDING[methods[0] if methods else "-g"]
    port = 0 if service.protocol == "fwmark" else service.port
    address, port = _endpoint(get["-r"], service.protocol, port)
    tunnel = get.get("--tun-type", "ipip")
    if tunnel not in {"ipip", "gue", "gre"}:
        raise ValueError(f"{tunnel} is not a tunnel type; use ipip, gue or gre")
    return Destination(
        address=address,
        port=port,
        forwarding=forwarding,
        weight=_number(get.get("-w", "1"), 0, 2**31 - 1),
        upper=_number(get.get("-x", "0"), 0, 65535),
        lower=_number(get.get("-y", "0"), 0, 65535),
        tunnel=tunnel,  # type: ignore[arg-type]  # narrowed above, which mypy does not see
        tunnel_port=_number(get.get("--tun-port", "0"), 0, 65535),
        tunnel_flags=sum(bit for option, bit in _TUNNEL_FLAGS.items() if option in get),
    )


def _mark(text: str) -> int:
    """Return a firewall mark; ipvsadm 1.31 writes marks from 2^31 on as negative numbers."""
    if re.fullmatch(r"-\d{1,10}", text):
        return _number(str(int(text) + 2**32), 2**31, 2**32 - 1)
    return _number(text, 1, 2**32 - 1)


def _endpoint(text: str, protocol: str, port: int | None = None) -> tuple[str, int]:
    parts = re.fullmatch(r"\[([^]%]+)\](?::([\w-]+))?|([^:\[\]]+)(?::([\w-]+))?", text)
    if not parts:
        raise ValueError(f"{text} is not an address and a port")
    address = _numeric(parts[1] or parts[3])
    digits = parts[2] or parts[4]
    if digits is None and port is None:
        raise ValueError(f"{text} lacks a port")
    if digits is None:
        return address, port or 0
    if not digits.isdecimal() and protocol in {"tcp", "udp", "sctp"}:
        return address, values.service_port(digits, protocol)
    return address, _number(digits, 0, 65535)


def _numeric(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ValueError(
            f"{text} is a name, not an address. Save addresses instead: ipvsadm -Sn"
        ) from error


def _number(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"{text or 'an empty text'} is not a number from {least} to {most}")
    return int(text)


def _order(service: Service) -> tuple[object, ...]:
    marked = service.protocol == "fwmark"
    number = {"tcp": 6, "udp": 17, "sctp": 132, "fwmark": 0}[service.protocol]
    return (marked, service.family, number, *_by_number(service.address, service.port))


def _by_number(address: str, port: int) -> tuple[int, int, int]:
    if not address:
        return (0, 0, port)
    parsed = ipaddress.ip_address(address)
    return (parsed.version, int(parsed), port)


def _named(service: Service) -> tuple[str, ...]:
    option = _OPTIONS[service.protocol]
    if service.protocol == "fwmark":
        return (option, str(service.port), *(("-6",) if service.family == 6 else ()))
    return (option, joined(service.address, service.port))


def _service_line(option: str, service: Service) -> tuple[str, ...]:
    return (option, *_named(service), *_service_options(service))


def _service_options(service: Service) -> Iterator[str]:
    yield from ("-s", service.scheduler)
    if service.persistent_s is not None:
        yield from ("-p", str(service.persistent_s))
    if service.netmask:
        yield from ("-M", service.netmask)
    if service.engine:
        yield from ("--pe", service.engine)
    if service.one_packet:
        yield "-o"
    if service.flag_names:
        yield from ("-b", ",".join(service.flag_names))


def _destination_line(option: str, service: Service, destination: Destination) -> tuple[str, ...]:
    named = (option, *_named(service), "-r", destination.name)
    return (*named, *_destination_options(destination))


def _destination_options(destination: Destination) -> Iterator[str]:
    yield _METHODS.get(destination.forwarding, "-g")
    yield from ("-w", str(destination.weight))
    if destination.upper:
        yield from ("-x", str(destination.upper))
    if destination.lower:
        yield from ("-y", str(destination.lower))
    if destination.forwarding == "tun":
        yield from ("--tun-type", destination.tunnel)
        if destination.tunnel == "gue":
            yield from ("--tun-port", str(destination.tunnel_port))
        if destination.tunnel != "ipip":
            yield from (f"--tun-{n}" for n in destination.tunnel_flag_names or ("nocsum",))


def _daemon_options(verb: Verb, daemon: SyncDaemon) -> Iterator[str]:
    if verb is Verb.DEL:
        yield from ("--stop-daemon", daemon.state)
        return
    yield from ("--start-daemon", daemon.state, "--mcast-interface", daemon.interface)
    yield from ("--syncid", str(daemon.sync_id))
    if daemon.maxlen is not None:
        yield from ("--sync-maxlen", str(daemon.maxlen))
    yield from ("--mcast-group", daemon.group, "--mcast-port", str(daemon.port))
    yield from ("--mcast-ttl", str(daemon.ttl))
