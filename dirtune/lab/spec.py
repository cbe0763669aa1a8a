"""Describe a lab: its scenario, nodes and addresses, and its ssh_config. Pure.

Addresses come from 198.18.0.0/15, the block that RFC 2544 reserves for benchmarks. 198.18.0.0/16
carries the load, and 198.19.0.0/16 is the control network, which the load never uses. Both
networks exist only inside the lab's network namespaces, and are not routed elsewhere.

With NAT, the clients are in 198.18.128.0/17 and the real servers in 198.18.0.0/17. The director is
the only route between these two networks, through its single NIC for the load. With DR and TUN,
all nodes are in one network, and real servers answer the clients directly.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from dirtune.analyse.run import Role
from dirtune.lvs.model import ChosenForwarding

VIP = "198.18.0.100"
_NAT_SERVERS = "198.18.0.0/17"
NAT_OUTSIDE = "198.18.128.1"
"""The director's address on the clients' network."""
PAGE_BYTES = 628
"""Size in bytes of the page in the measurements of 2001; the reply fits into one packet."""
INSTRUCTION_SHIFT = 4
"""The exact clock's price of one instruction, as a power of two in nanoseconds: 2^4 is 16 ns."""
MILLION_INSTRUCTIONS_PER_S = 1000 / 2**INSTRUCTION_SHIFT
STATUS = "/.status"
"""Path at which nginx on a real server reports its numbers of connections and requests."""


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One PCI device that the director has in addition to its two NICs."""

    driver: str
    """QEMU's name for the device, such as `lsi53c895a` (driver sym53c8xx)."""
    addr: str
    """The device's slot and function on the bus pcie.0, such as `0x14.0`."""
    options: str = ""


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The measurement that a demo makes, as the scenario's file defines it before any run."""

    question: str
    check: str
    """The check whose fix is tried, such as `irq/shared-with-nic`."""
    fix: str
    """The runtime fix, by the name that `dirtune fix` uses."""
    rate: float
    """Offered connections per second, summed over all clients."""
    primary: str
    """The name of the primary metric, such as `cpu_us_per_connection`."""
    pairs: int
    warmup_s: float
    window_s: float
    settle_idle_percent: float
    settle_seconds: int
    """Seconds for which the director must be idle, at `settle_idle_percent`, before a trial
    begins."""
    settle_max_s: float
    at_most: int | None = None
    """Most pairs, if the first `pairs` pairs give no verdict; None for no second look."""
    peak_trials: int = 0
    """Trials without the fix, and as many with it, that measure the director's peak."""
    covariate: str | None = None
    """A metric at equal values of which the arms are compared, as in `[compare]` of a plan."""


class Hardware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The CPUs of a scenario's director, and its NIC for the load."""

    cpus: int = 1
    """Number of virtual CPUs, unless `dirtune lab up --cpus` gives another number."""
    nic: str = "e1000"
    """QEMU's name for the NIC, such as `e1000`, `e1000e`, `vmxnet3` or `virtio-net-pci`."""
    queues: int = 1
    """Number of pairs of queues of the NIC. Only `virtio-net-pci` can have more than one."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario for the lab: the director's devices and kernel options."""

    name: str
    title: str
    description: str
    expect: str
    """The findings that an audit of the director should report, in words."""
    boot: str = ""
    """Kernel options of the director, which the lab writes into a grub drop-in."""
    nic_options: str = ""
    """Options for QEMU's NIC, such as `mitigation=off` for an e1000."""
    lab: Hardware = Hardware()
    faults: tuple[str, ...] = ()
    """Shell commands that the director runs at each boot when its NICs are up. `$load` is the name
    of the NIC for the load."""
    more_nics: tuple[Device, ...] = ()
    """Number of additional NICs of the director on the load's switch, without addresses."""
    devices: tuple[Device, ...] = ()
    ipvs_tcpfin_s: int = 120
    """The FIN_WAIT timeout of IPVS; the kernel's default is 120 s.

    With a shorter timeout, connections leave the connection table sooner between trials.
    """
    experiment: Experiment | None = None


class Node(msgspec.Struct, frozen=True):
    """A machine of the lab."""

    name: str
    role: Role
    load_address: str
    control_address: str


class Spec(msgspec.Struct, frozen=True):
    """The options of `dirtune lab up`."""

    scenario: Scenario
    kernel: str = "standard"
    """The kind of kernel: standard or rt."""
    cpus: int = 1
    memory_mib: int = 2048
    real_servers: int = 4
    clients: int = 4
    forwarding: ChosenForwarding = "dr"
    append: str = ""
    """Kernel options of the director, in addition to the options of the scenario."""
    clock: Literal["exact", "host"] = "host"
    """The director's clock: `exact` counts the instructions that the director has executed, `host`
    follows this machine's clock."""
    backup: bool = False
    """Whether a second director, lb2, takes over when the first one fails (`pair.py`)."""

    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes of the lab, the director first."""
        servers, clients = range(1, self.real_servers + 1), range(1, self.clients + 1)
        beyond = 128 if self.two_networks else 0
        return (
            _node("lb1", Role.DIRECTOR, 1),
            *([_node("lb2", Role.DIRECTOR, 2)] if self.backup else ()),
            *(_node(f"rs{n}", Role.REAL_SERVER, 10 + n) for n in servers),
            *(_node(f"c{n}", Role.CLIENT, 20 + n, network=beyond) for n in clients),
        )

    @property
    def two_networks(self) -> bool:
        """Whether the clients and the real servers are in separate networks, as NAT needs."""
        return self.forwarding == "nat"

    @property
    def load_prefix(self) -> int:
        """The prefix length of the networks that carry the load."""
        return 17 if self.two_networks else 16

    def is_guest(self, node: Node) -> bool:
        """Return whether *node* is a guest with its own kernel.

        Real servers behind a tunnel are guests, because this machine's kernel may lack tunnels.
        """
        return node.role == Role.DIRECTOR or (
            self.forwarding == "tun" and node.role == Role.REAL_SERVER
        )

    def with_role(self, role: Role) -> tuple[Node, ...]:
        """Return the nodes that have *role*."""
        return tuple(node for node in self.nodes() if node.role == role)


def spec_of(
    scenario: Scenario,
    *,
    cpus: int | None = None,
    clock: Literal["exact", "host"] | None = None,
    backup: bool = False,
) -> Spec:
    """Return the spec of a lab for *scenario*; None stands for the default of the scenario.

    With one CPU and one director, the default clock is exact.
    """
    cpus = cpus or scenario.lab.cpus
    clock = clock or ("exact" if cpus == 1 and not backup else "host")
    return Spec(scenario=scenario, cpus=cpus, clock=clock, backup=backup)


def _node(name: str, role: Role, host: int, network: int = 0) -> Node:
    return Node(name, role, f"198.18.{network}.{host}", f"198.19.0.{host}")


def cpu_layout(cpus: Iterable[int], vcpus: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the CPUs for the director's virtual CPUs, and the CPUs for real servers and clients.

    If the machine has two or more CPUs, at least one CPU is not used by the director.
    """
    have = tuple(sorted(cpus))
    director = have[: max(1, min(vcpus, len(have) - 1))]
    return director, tuple(cpu for cpu in have if cpu not in director) or have


def network_commands(spec: Spec) -> tuple[str, ...]:
    """Return the arguments of `ip` that build the lab's two switches and connect every node.

    The commands run in the lab's main network namespace, which contains both switches. A guest has
    two taps, which QEMU opens; any other node is a namespace with two veth pairs. The additional
    NICs of a scenario are those of the first director.
    """
    switches = (
        "link set lo up",
        "link add br-load type bridge",
        "link set br-load up",
        "link add br-ctl type bridge",
        "addr add 198.19.255.254/16 dev br-ctl",
        "link set br-ctl up",
        f"tuntap add tap-load mode tap{_queues(spec.with_role(Role.DIRECTOR)[0], 'load', spec)}",
        "link set tap-load master br-load up",
        "tuntap add tap-ctl mode tap",
        "link set tap-ctl master br-ctl up",
    )
    more = (
        line
        for number in range(len(spec.scenario.more_nics))
        for line in (
            f"tuntap add tap-load{number} mode tap",
            f"link set tap-load{number} master br-load up",
        )
    )
    others = spec.nodes()[1:]
    return (*switches, *more, *(line for node in others for line in _plug_in(node, spec)))


def _plug_in(node: Node, spec: Spec) -> tuple[str, ...]:
    name = node.name
    if spec.is_guest(node):
        return tuple(
            line
            for switch in ("load", "ctl")
            for line in (
                f"tuntap add {tap(node, switch)} mode tap{_queues(node, switch, spec)}",
                f"link set {tap(node, switch)} master br-{switch} up",
            )
        )
    return (
        f"netns add {name}",
        f"link add {name}-load type veth peer name load netns {name}",
        f"link set {name}-load master br-load up",
        f"link add {name}-ctl type veth peer name ctl netns {name}",
        f"link set {name}-ctl master br-ctl up",
        f"-n {name} link set lo up",
        f"-n {name} addr add {node.load_address}/{spec.load_prefix} dev load",
        f"-n {name} link set load up",
        f"-n {name} addr add {node.control_address}/16 dev ctl",
        f"-n {name} link set ctl up",
        *_routes(node, spec),
    )


def _queues(node: Node, switch: str, spec: Spec) -> str:
    several = node.role == Role.DIRECTOR and switch == "load" and spec.scenario.lab.queues > 1
    return " multi_queue" if several else ""


def tap(node: Node, switch: str) -> str:
    """Return the name of the tap that connects the guest *node* to *switch* (load or ctl)."""
    return f"tap-{switch}" if node.name == "lb1" else f"tap-{node.name}-{switch}"


def mac(node: Node, switch: str) -> str:
    """Return the MAC address of the guest *node* on *switch* (load or ctl)."""
    address = node.load_address if switch == "load" else node.control_address
    return f"52:54:00:{'12' if switch == 'load' else '13'}:00:{int(address.split('.')[-1]):02x}"


def _routes(node: Node, spec: Spec) -> tuple[str, ...]:
    if not spec.two_networks:
        return ()
    if node.role == Role.CLIENT:
        return (f"-n {node.name} route add {_NAT_SERVERS} via {NAT_OUTSIDE}",)
    inside = spec.with_role(Role.DIRECTOR)[0].load_address
    return (f"-n {node.name} route add default via {inside}",)


def ipvs_commands(spec: Spec) -> tuple[str, ...]:
    """Return the arguments of the `ipvsadm` commands that set up IPVS on a director.

    They create the lab's only service, unless keepalived creates it on a pair of directors.
    """
    timeouts = f"--set 900 {spec.scenario.ipvs_tcpfin_s} 300"
    if spec.backup:
        return (timeouts,)
    flag = {"dr": "-g", "nat": "-m", "tun": "-i"}[spec.forwarding]
    servers = spec.with_role(Role.REAL_SERVER)
    return (
        timeouts,
        f"-A -t {VIP}:80 -s rr",
        *(f"-a -t {VIP}:80 -r {rs.load_address}:80 {flag} -w 1" for rs in servers),
    )


def ssh_config(spec: Spec, keys: str, keeper_pid: int) -> str:
    """Return an ssh_config for all nodes; this machine needs no IP address in the lab.

    The proxy command enters the network namespace of the switches. The key exchange is the least
    expensive safe method, because an emulated director needs seconds for ssh's default.
    """
    hosts = "\n".join(
        f"Host {node.name}\n  HostName {node.control_address}\n" for node in spec.nodes()
    )
    return f"""{hosts}
Host {" ".join(node.name for node in spec.nodes())}
  User root
  Port 22
  IdentityFile {keys}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {keys}/known_hosts
  HostKeyAlias dirtune-lab
  StrictHostKeyChecking yes
  BatchMode yes
  KexAlgorithms curve25519-sha256
  ConnectTimeout 20
  ServerAliveInterval 5
  ServerAliveCountMax 6
  ProxyCommand nsenter --net --target {keeper_pid} nc %h %p
"""


def text_of_clock(spec: Spec) -> str:
    """Return a sentence about the director's clock."""
    if spec.clock == "exact":
        return (
            "The director's clock is exact: it counts executed instructions, and "
            f"{MILLION_INSTRUCTIONS_PER_S:g} million are one second."
        )
    disturbed = "other programs on this machine change the director's CPU times"
    if spec.cpus > 1:
        return (
            "The director has no exact clock, because QEMU counts the instructions of only one "
            f"CPU; {disturbed}."
        )
    return f"The director's clock follows this machine's clock, so {disturbed}."
