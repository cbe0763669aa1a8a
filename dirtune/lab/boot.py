"""Write the boot scripts of the lab's nodes, and their nginx and sshd configurations. Pure.

A guest runs its script as the last step of its boot. For a node that is a namespace, the script
runs as pid 1. Every script ends by executing sshd.
"""

from dirtune.analyse.run import Role
from dirtune.lab import pair
from dirtune.lab.spec import NAT_OUTSIDE, STATUS, VIP, Node, Spec, ipvs_commands, mac


def director_boot(spec: Spec, node: Node | None = None) -> str:
    """Return the shell script that turns a booted guest into the director *node*.

    The default is the first director. The script runs as the last step of each boot, and ends by
    executing sshd.
    """
    director = node or spec.with_role(Role.DIRECTOR)[0]
    # With two directors, keepalived gives the VIP to one of them.
    vip = ":" if spec.backup else f"ip addr add {VIP}/32 dev $load"
    vrrp = pair.start(spec, director) if spec.backup else ":"
    ipvs = "\n".join(f"ipvsadm {line}" for line in ipvs_commands(spec))
    forwards = _BETWEEN_NETWORKS if spec.two_networks else ":"
    faults = "\n".join(spec.scenario.faults)
    return f"""set -ex
share=/mnt
{_MOUNTS}
mount --bind $share/etc /etc
{_OWN.format(places="/var/lib /tmp")}
mkdir -p /var/lib/dirtune
mount --bind $share/var/lib/dirtune /var/lib/dirtune
tar -xf $share/opt.tar -C /opt
{_on_networks(director, spec)}
{vip}
ip link set $load up
{forwards}
modprobe ip_vs
modprobe ip_vs_rr
# A few clients reuse a port while IPVS still has an entry for it. With 3, IPVS schedules such a
# connection again, also in FIN_WAIT, so that the director counts every connection.
sysctl -qw net.ipv4.vs.conn_reuse_mode=3
{ipvs}
for f in /etc/sysctl.d/*.conf; do [ -e "$f" ] && sysctl -qp "$f" || true; done
{vrrp}
{faults}
exec /usr/sbin/sshd -D -e -f /etc/ssh/dirtune_lab
"""


# The 9p mount of the root caches nothing, so every program start would read its libraries again.
# /usr does not change while a guest runs, so its mount may cache. For /opt, reading one archive is
# faster than reading a thousand files.
_9P = "trans=virtio,version=9p2000.L,msize=512000,access=any"
_MOUNTS = f"""mount -t 9p -o {_9P} lab $share
mount -t 9p -o ro,{_9P},cache=loose usr /usr
mount -t tmpfs -o mode=0755 opt /opt
mount -t tmpfs -o mode=0700 root /root"""


def _on_networks(node: Node, spec: Spec) -> str:
    """Return the script lines that set a guest's host name and the addresses of its two NICs.

    The NIC `ctl` is brought up; the NIC `load` stays down.
    """
    return f"""hostname {node.name}
mkdir -p /run/sshd /run/dirtune
for nic in /sys/class/net/*; do
  case $(cat $nic/address) in
  {mac(node, "load")}) load=${{nic##*/}} ;;
  {mac(node, "ctl")}) ctl=${{nic##*/}} ;;
  esac
done
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip link set lo up
ip addr add {node.control_address}/16 dev $ctl
ip link set $ctl up
ip addr add {node.load_address}/{spec.load_prefix} dev $load"""


# With NAT, replies leave through the NIC on which they arrived. ICMP redirects would make them
# bypass the director.
_BETWEEN_NETWORKS = f"""ip addr add {NAT_OUTSIDE}/17 dev $load
sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.$load.send_redirects=0
sysctl -qw net.ipv4.conf.$load.forwarding=1"""

# Each node gets its own copy of every file that it writes below these folders, until the node
# ends. This machine's files there, such as the lab's folder, stay visible.
_OWN = """for place in {places}; do
  upper=/run/own$place
  mkdir -p $upper $upper.work
  mount -t overlay -o lowerdir=$place,upperdir=$upper,workdir=$upper.work own $place
done
chmod 1777 /tmp"""


# Remove the file from the node's copy first, because a link would lead to this machine's file.
_SHADOW = """rm -f /etc/shadow
printf '%s:*:1::::::\n' root sshd www-data > /etc/shadow"""


def node_boot(node: Node, spec: Spec, folder: str) -> str:
    """Return the shell script that runs as pid 1 of a node that is a namespace.

    *folder* holds the files of the node.
    """
    serve = _serve(spec, folder) if node.role == Role.REAL_SERVER else _DRIVE
    # `ip netns exec` mounts a /sys of its own, without control groups.
    return f"""set -ex
hostname {node.name}
mount --rbind {folder}/../cgroup /sys/fs/cgroup
mount -t tmpfs -o mode=0755 run /run
mount -t tmpfs -o mode=0700 root /root
mount --bind {folder}/../opt /opt
{_OWN.format(places="/etc /var/lib /tmp")}
{_SHADOW}
mkdir -p /run/sshd /run/dirtune /var/lib/dirtune
{serve}
exec /usr/sbin/sshd -D -e -f {folder}/sshd_config
"""


def _serve(spec: Spec, folder: str) -> str:
    return f"""{_HOLD_VIP[spec.forwarding]}
sysctl -qw net.core.somaxconn=4096
nginx -c {folder}/nginx.conf &"""


def guest_server_boot(node: Node, spec: Spec, folder: str) -> str:
    """Return the shell script that turns a booted guest into a real server behind a tunnel.

    The real server decapsulates packets from the director, and answers clients directly. *folder*
    is the folder on this machine with the files of the node.
    """
    return f"""set -ex
share=/mnt
{_MOUNTS}
{_OWN.format(places="/etc /var/lib /tmp")}
{_SHADOW}
tar -xf {folder}/../lb1/opt.tar -C /opt
{_on_networks(node, spec)}
ip link set $load up
modprobe ipip
sysctl -qw net.ipv4.conf.tunl0.rp_filter=2
ip link set tunl0 up
ip addr add {VIP}/32 dev tunl0
sysctl -qw net.core.somaxconn=4096
nginx -c $share/nginx.conf &
exec /usr/sbin/sshd -D -e -f $share/sshd_config
"""


# With DR, a real server accepts packets for the VIP, but must not answer ARP requests for the VIP.
_HOLD_VIP = {
    "dr": f"""sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip addr add {VIP}/32 dev lo""",
    "nat": ":",  # with a tunnel, the real server is a guest
}

# Without quickack, a client acknowledges a reply alone or together with its FIN, as its CPU time
# has it. With quickack, every connection sends the director the same number of packets.
_DRIVE = """sysctl -qw net.ipv4.ip_local_port_range='1024 65535'
ip -4 route show dev load | while read -r route; do
  ip route change $route dev load quickack 1
done"""


def nginx_config(folder: str) -> str:
    """Return a real server's nginx configuration, with one worker and no access log."""
    # nginx runs as root, because only root can enter the node's folder.
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
  server {{
    listen 80 backlog=4096;
    root {folder}/www;
    location = {STATUS} {{ stub_status; }}
  }}
}}
"""


def sshd_config(keys: str, path: str) -> str:
    """Return the sshd configuration of a node.

    *keys* is the folder with the SSH keys, and *path* the PATH of commands that run over SSH.
    """
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
