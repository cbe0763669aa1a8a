"""What a lab is to be: scenario, nodes, addresses. Pure data and the texts made from it.

Addresses come from 198.18.0.0/15, the block RFC 2544 sets aside for benchmarks: 198.18/16
carries the load, 198.19/16 is the control network, which the load never uses. Neither is
routed anywhere, and both exist only inside the lab's own network namespaces.
"""

from collections.abc import Iterable

import msgspec

VIP = "198.18.0.100"
PAGE_BYTES = 628
"""Size of the page in the 2001 measurements; the reply fits one packet."""


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One PCI device of the director beside its two NICs."""

    driver: str
    """QEMU's name for it, such as `lsi53c895a` (driver sym53c8xx)."""
    addr: str
    """Slot and function on bus pcie.0, such as `0x14.0`."""
    options: str = ""


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a demo measures, fixed in the scenario's file before any run."""

    question: str
    check: str
    """The check whose fix is tried, such as `irq/shared-with-nic`."""
    fix: str
    """The runtime fix, as `dirtune fix` names it."""
    rate: float
    """Offered connections per second, over all clients."""
    primary: str
    """Primary metric, as in `Trial.metrics`."""
    pairs: int
    warmup_s: float
    window_s: float
    settle_idle_percent: float
    settle_seconds: int
    """How many seconds in a row the director must be that idle before a trial begins."""
    settle_max_s: float


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One placement of the director's devices, with its boot options."""

    name: str
    title: str
    description: str
    expect: str
    """What the audit should say, in words."""
    boot: str = ""
    """Kernel options put into a grub drop-in of the guest when the lab is made."""
    nic_options: str = ""
    """Options of QEMU's e1000, such as `mitigation=off`."""
    more_nics: tuple[Device, ...] = ()
    """Further cards on the load's switch; the lab gives them no address."""
    devices: tuple[Device, ...] = ()
    ipvs_tcpfin_s: int = 120
    """IPVS FIN_WAIT timeout; the kernel's is 120 s. Shorter drains sooner, in both arms."""
    experiment: Experiment | None = None


class Node(msgspec.Struct, frozen=True):
    """A machine of the lab."""

    name: str
    role: str
    """director, real server or client."""
    load_address: str
    control_address: str


class Spec(msgspec.Struct, frozen=True):
    """Everything `dirtune lab up` was asked for."""

    scenario: Scenario
    kernel: str = "standard"
    """standard or rt."""
    cpus: int = 1
    memory_mib: int = 2048
    real_servers: int = 4
    clients: int = 4
    forwarding: str = "dr"
    append: str = ""
    """Further boot options, put into the guest's grub drop-in beside the scenario's."""

    def nodes(self) -> tuple[Node, ...]:
        """Return every node, the director first."""
        return (
            _node("lb1", "director", 1),
            *(_node(f"rs{n}", "real server", 10 + n) for n in range(1, self.real_servers + 1)),
            *(_node(f"c{n}", "client", 20 + n) for n in range(1, self.clients + 1)),
        )

    def with_role(self, role: str) -> tuple[Node, ...]:
        """Return the nodes of one role."""
        return tuple(node for node in self.nodes() if node.role == role)


def _node(name: str, role: str, host: int) -> Node:
    return Node(name, role, f"198.18.0.{host}", f"198.19.0.{host}")


def cpu_layout(cpus: Iterable[int], vcpus: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the CPUs of the director's virtual CPUs and those of the load.

    The load always has one CPU to itself where there are two.
    """
    have = tuple(sorted(cpus))
    director = have[: max(1, min(vcpus, len(have) - 1))]
    return director, tuple(cpu for cpu in have if cpu not in director) or have


def network_commands(spec: Spec) -> tuple[str, ...]:
    """Return the `ip` commands that build the lab's two switches and plug every node in.

    They are run in the lab's own network namespace, which is the switch. The director's two
    taps are QEMU's; every other node is a namespace with two veth pairs.
    """
    switches = (
        "link set lo up",
        "link add br-load type bridge",
        "link set br-load up",
        "link add br-ctl type bridge",
        "addr add 198.19.255.254/16 dev br-ctl",
        "link set br-ctl up",
        "tuntap add tap-load mode tap",
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
    others = (node for node in spec.nodes() if node.role != "director")
    return (*switches, *more, *(line for node in others for line in _plug_in(node)))


def _plug_in(node: Node) -> tuple[str, ...]:
    name = node.name
    return (
        f"netns add {name}",
        f"link add {name}-load type veth peer name load netns {name}",
        f"link set {name}-load master br-load up",
        f"link add {name}-ctl type veth peer name ctl netns {name}",
        f"link set {name}-ctl master br-ctl up",
        f"-n {name} link set lo up",
        f"-n {name} addr add {node.load_address}/16 dev load",
        f"-n {name} link set load up",
        f"-n {name} addr add {node.control_address}/16 dev ctl",
        f"-n {name} link set ctl up",
    )


def ipvs_commands(spec: Spec) -> tuple[str, ...]:
    """Return the `ipvsadm` argument lines that make the lab's one service."""
    flag = {"dr": "-g", "nat": "-m", "tun": "-i"}[spec.forwarding]
    servers = spec.with_role("real server")
    return (
        f"--set 900 {spec.scenario.ipvs_tcpfin_s} 300",
        f"-A -t {VIP}:80 -s rr",
        *(f"-a -t {VIP}:80 -r {rs.load_address}:80 {flag} -w 1" for rs in servers),
    )


def director_boot(spec: Spec) -> str:
    """Return the shell script that turns the booted guest into the director.

    It runs once per boot, as the last step of the guest's init, and ends in sshd.
    """
    director = spec.with_role("director")[0]
    ipvs = "\n".join(f"ipvsadm {line}" for line in ipvs_commands(spec))
    return f"""set -ex
share=/mnt
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,access=any lab $share
mount --bind $share/etc /etc
{_OWN.format(places="/var/lib /tmp")}
mkdir -p /var/lib/dirtune
mount --bind $share/var/lib/dirtune /var/lib/dirtune
# The root's 9p mount caches nothing, so that every exec reads its libraries anew; /usr does
# not change while the director runs, and an archive is read faster than a thousand files.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,access=any,cache=loose usr /usr
mount -t tmpfs -o mode=0755 opt /opt
tar -xf $share/opt.tar -C /opt
mount -t tmpfs -o mode=0700 root /root
hostname {director.name}
mkdir -p /run/sshd /run/dirtune
for nic in /sys/class/net/*; do
  case $(cat $nic/address) in
  {MAC_LOAD}) load=${{nic##*/}} ;;
  {MAC_CONTROL}) ctl=${{nic##*/}} ;;
  esac
done
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip link set lo up
ip addr add {director.control_address}/16 dev $ctl
ip link set $ctl up
ip addr add {director.load_address}/16 dev $load
ip addr add {VIP}/32 dev $load
ip link set $load up
modprobe ip_vs
modprobe ip_vs_rr
# Few clients use a port again while its entry lives: 3 schedules such a connection anew, in
# FIN_WAIT too, so that the director counts every connection the clients make.
sysctl -qw net.ipv4.vs.conn_reuse_mode=3
{ipvs}
for f in /etc/sysctl.d/*.conf; do [ -e "$f" ] && sysctl -qp "$f" || true; done
exec /usr/sbin/sshd -D -e -f /etc/ssh/dirtune_lab
"""


# What a node writes to these places is its own, and gone when it ends; what lies there of this
# machine (the lab's own folder, say) stays in sight.
_OWN = """for place in {places}; do
  upper=/run/own$place
  mkdir -p $upper $upper.work
  mount -t overlay -o lowerdir=$place,upperdir=$upper,workdir=$upper.work own $place
done
chmod 1777 /tmp"""

MAC_LOAD = "52:54:00:12:00:01"
MAC_CONTROL = "52:54:00:13:00:01"


def node_boot(node: Node, folder: str) -> str:
    """Return the script that is pid 1 of a namespace node; *folder* is the node's own state."""
    serve = _SERVE.format(folder=folder, vip=VIP) if node.role == "real server" else _DRIVE
    # `ip netns exec` mounts a /sys of its own, without control groups.
    return f"""set -ex
hostname {node.name}
mount --rbind {folder}/../cgroup /sys/fs/cgroup
mount -t tmpfs -o mode=0755 run /run
mount -t tmpfs -o mode=0700 root /root
{_OWN.format(places="/etc /var/lib /tmp")}
printf '%s:*:1::::::\n' root sshd www-data > /etc/shadow
mkdir -p /run/sshd /run/dirtune /var/lib/dirtune
{serve}
exec /usr/sbin/sshd -D -e -f {folder}/sshd_config
"""


# A DR real server takes packets for the VIP and must not answer ARP for it.
_SERVE = """ip addr add {vip}/32 dev lo
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
sysctl -qw net.core.somaxconn=4096
nginx -c {folder}/nginx.conf &"""

_DRIVE = "sysctl -qw net.ipv4.ip_local_port_range='1024 65535'"


def nginx_config(folder: str) -> str:
    """Return a real server's nginx configuration: one worker, no access log."""
    # The lab's folder need not be open to other users; the node is a namespace of root's.
    return f"""daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/scratch-body;
  proxy_temp_path {folder}/scratch-proxy;
  fastcgi_temp_path {folder}/scratch-fastcgi;
  uwsgi_temp_path {folder}/scratch-uwsgi;
  scgi_temp_path {folder}/scratch-scgi;
  server {{ listen 80 backlog=4096; root {folder}/www; }}
}}
"""


def sshd_config(keys: str, path: str) -> str:
    """Return a node's sshd configuration; *keys* is where its keys lie, *path* its PATH."""
    return f"""Port 22
HostKey {keys}/host_key
AuthorizedKeysFile {keys}/user_key.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PidFile none
MaxSessions 64
MaxStartups 64:30:128
SetEnv PATH={path}
"""


def ssh_config(spec: Spec, keys: str, keeper_pid: int) -> str:
    """Return the ssh_config that reaches every node, without an address on this machine.

    The proxy enters the network namespace of the switch and nothing else.
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
  ConnectTimeout 20
  ServerAliveInterval 5
  ServerAliveCountMax 6
  ProxyCommand nsenter --net --target {keeper_pid} nc %h %p
"""


def plan(spec: Spec, host_cpus: tuple[int, ...]) -> str:
    """Return the plan file of the lab, as `dirtune bench` and `dirtune tune` read it.

    *host_cpus* are the CPUs of this machine that the director's virtual CPUs are pinned to.
    """
    experiment = spec.scenario.experiment or DEFAULT_EXPERIMENT
    director = spec.with_role("director")[0]
    destinations = "\n".join(
        f'  [[services.destinations]]\n  node = "{rs.name}"\n'
        f'  forwarding = "{spec.forwarding}"\n  weight = 1'
        for rs in spec.with_role("real server")
    )
    servers = "\n".join(
        f'[[real_servers]]\nname = "{rs.name}"\nhost = "{rs.name}"\naddress = "{rs.load_address}"'
        for rs in spec.with_role("real server")
    )
    clients = "\n".join(f'[[clients]]\nhost = "{c.name}"' for c in spec.with_role("client"))
    return f"""# Made by `dirtune lab up` for the scenario {spec.scenario.name}.
title = "{spec.scenario.title}"
ssh_config = "ssh_config"
notes = {_list(NOTES)}

[director]
host = "{director.name}"
host_cpus = {list(host_cpus)}
max_overhead = 50            # per cent of a CPU: an emulated clock makes probes dear

[[services]]
vip = "{VIP}"
port = 80
protocol = "tcp"
scheduler = "rr"
{destinations}

{servers}

{clients}

[load]
generator = "h2load"
rates = [{experiment.rate:g}]
warmup = "{experiment.warmup_s:g}s"
window = "{experiment.window_s:g}s"
pairs = {experiment.pairs}
timeout = "1s"

[settle]
idle = {experiment.settle_idle_percent:g}
seconds = {experiment.settle_seconds}
max = "{experiment.settle_max_s:g}s"

[compare]
primary = "{experiment.primary}"

# The lab's machines share this machine's CPUs: what counts is whether the two trials of a pair
# saw the same of it, not how much there was.
[validity]
steal = 100
steal_peak = 100
other_process = 100
client_busy = 100
poll_cpu = 0
pair_steal = {PAIR_STEAL_POINTS}
far = {PAIR_STEAL_POINTS}
"""


def _list(texts: tuple[str, ...]) -> str:
    return "[\n" + "".join(f'    "{text}",\n' for text in texts) + "]"


PAIR_STEAL_POINTS = 10
NOTES = (
    "Time that was stolen from the director's CPU by what this machine runs on is not its work.",
    "The director is emulated: calls per interrupt carry over to hardware, percentages do not.",
    "Real servers and clients are namespaces: their CPU time is that of their control groups.",
)

DEFAULT_EXPERIMENT = Experiment(
    question="Does the fix change what a connection costs the director?",
    check="irq/shared-with-nic",
    fix="unbind-partners",
    rate=300,
    primary="cpu_us_per_connection",
    pairs=8,
    warmup_s=5,
    window_s=15,
    settle_idle_percent=90,
    settle_seconds=3,
    settle_max_s=60,
)
