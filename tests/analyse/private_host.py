"""A director on which everything that can name a site does, in every source and spelling.

Each private word holds `zq`, which no word of the kernel, of a tool or of dirtune has.
"""

import ipaddress
import json

from dirtune.host import RecordedHost

MAC = "52:54:00:ab:cd:ef"
BARE = MAC.replace(":", "")
V4, SERVER, OTHER = "10.77.88.99", "10.77.88.11", "203.0.113.77"
V6 = "2001:db8:77:88::99"
LINK_LOCAL = "fe80::5054:ff:feab:cdef"
WORDS = ("zq",)
HOST, BRIDGE, BY_MAC = "zqhost7", "zqhost7", f"enx{BARE}"


def hexadecimal(address):
    return f"{int(ipaddress.IPv4Address(address)):08X}"


def little(address):
    return ipaddress.IPv4Address(address).packed[::-1].hex().upper()


def spellings():
    """Return every way in which an address of this host may be found in bytes, lower case."""
    for address in (V4, SERVER, OTHER):
        yield from (address, address.replace(".", "-"), hexadecimal(address), little(address))
    for address in map(ipaddress.IPv6Address, (V6, LINK_LOCAL)):
        yield from (str(address), address.exploded, f"{int(address):032x}")
    digits = [BARE[at : at + 2] for at in range(0, 12, 2)]
    yield from (":".join(digits), "-".join(digits), " ".join(digits), BARE)
    yield from (f"{BARE[:4]}.{BARE[4:8]}.{BARE[8:]}", "5054:ff:feab:cdef")


CMDLINE = (
    f"BOOT_IMAGE=/zqimage root=/dev/mapper/zqvg-root ro quiet isolcpus=1-3 pci=nomsi "
    f"BOOTIF=01-{MAC.replace(':', '-')} ip={V4}:{OTHER}:{V4}:255.255.255.0:zqhost7:{BRIDGE}:off "
    f"ifname={BRIDGE}:{MAC} nfsroot=zqfiler:/roots/zqroot,ro "
    "rd.iscsi.initiator=iqn.2001-04.com.zqshop:zqhost7 rd.iscsi.username=zquser1 "
    "rd.iscsi.password=zqsecret1 rd.iscsi.in.username=zquser2 rd.iscsi.in.password=zqsecret2 "
    "iscsi_initiator=iqn.2001-04.com.zqshop iscsi_target_name=zqtarget iscsi_password=zqsecret3 "
    f"netroot=iscsi:zquser3:zqsecret4@{OTHER}::3260::iqn.2001-04.com.zqshop:disk1 "
    "inst.ks=https://zquser4:zqsecret5@zqkick.zqdomain.example/zqks "
    f"inst.vnc inst.vncpassword=zqsecret6 vncpassword=zqsecret7 vncconnect={OTHER}:5500 "
    "superusers=zqadmin password=zqsecret8 password_pbkdf2=grub.pbkdf2.sha512.zqsecret9 "
    "token=zqsecret10 secret=zqsecret11 key=zqsecret12 auth=zqsecret13 inst.sshpw=zqsecret14 "
    "rd.luks.uuid=luks-zquuid rd.luks.key=/zqkey:UUID=zquuid2 rd.luks.name=zqname "
    "systemd.hostname=zqhost7 "
    "cryptdevice=/dev/disk/by-id/zqserial:zqcrypt ds=nocloud;s=http://zqcloud/;h=zqhost7 "
    'dyndbg="file zqfile.c +p" zqmodule.zqparam=zqvalue zqbare igb.zqx=zqy console=ttyS0,115200n8 '
    "loglevel=zqlevel isolcpus=zqcpus systemd.setenv=AWS_SECRET_ACCESS_KEY=zqsecret15 -- zqinit\n"
)
MOUNTS = (
    f"40 25 0:44 /zqexport /srv/zqdata rw,zqflag shared:1 - nfs4 zqnfs.zqdomain.example:/zqvol "
    f"rw,vers=4.2,addr={OTHER},clientaddr={V4},zqoption=1\n"
    "41 25 0:45 / /home/zquser5 rw - cifs //zqfileserver/zqshare rw,username=zquser6,"
    "password=zqsecret16,domain=ZQDOMAIN,credentials=/etc/zqcredentials,uid=1000\n"
    f"42 25 0:46 / /mnt rw - ceph [{V6}]:6789,zqmon:6789:/ rw,name=zquser7,secret=zqsecret17\n"
    "43 25 0:47 / /media rw - fuse.zqfs zquser8@zqjump:/home rw,user_id=0\n"
    "44 25 8:1 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro\n"
    "45 25 253:0 / /var rw - xfs /dev/mapper/zqhost7--vg-var rw\n"
    "46 25 8:5 / /opt rw - ext4 /dev/disk/by-id/wwn-0xzqwwn rw\n"
    "47 25 9:1 / /zq\\040blank rw - ext4 /dev/md_zqarray rw\n"
)
LOG = (
    f"[    0.000000] Command line: {CMDLINE}"
    f"[    0.100000] Kernel command line: {CMDLINE}"
    "[    1.000000] DMI: ZqVendor ZqModel/ZqBoard, BIOS zq1.2 01/02/2020\n"
    f"[    2.000000] e1000 0000:00:03.0 {BRIDGE}: (PCI:33MHz:32-bit) {MAC}\n"
    "[    2.500000] usb 1-1: SerialNumber: 123456zq\n"
    f"[    3.000000] {BRIDGE}: MSI-X vector allocation failed, irq mode\n"
    f"[    4.000000] IPv4: martian source {V4} from {OTHER}, on dev {BRIDGE}\n"
    f"[    4.100000] ll header: 00000000: {MAC.replace(':', ' ')} {MAC.replace(':', ' ')} 08 00\n"
    f"[    4.200000] ll header: {MAC}:{MAC}:08:00\n"
    f"[    5.000000] IPVS: rr: TCP {V4}:80 - no destination available\n"
    "[    6.000000] nfs: server zqnfs.zqdomain.example not responding, irq timed out\n"
    '[    7.000000] audit: type=1112 audit(1.2:3): acct="zquser9" exe="/home/zquser9/zqirq" '
    f"hostname=zqjump addr={OTHER} terminal=ssh irq res=failed\n"
    "[    8.000000] gss: zquser10@ZQREALM.EXAMPLE for irq/zqhost7.zqdomain.example\n"
    f"[    9.000000] NETDEV WATCHDOG: {BY_MAC} (e1000e): transmit queue 0 timed out\n"
    f"[    9.500000] watchdog: {V6} [{V6}]:80 {LINK_LOCAL}%{BRIDGE} ::ffff:{OTHER}\n"
    f"[   10.000000] ip-{V4.replace('.', '-')}: nf_conntrack: table full, dropping packet\n"
    '[   11.000000] irq 16: nobody cared (try booting with the "irqpoll" option)\n'
    "[   12.000000] zqprogram: page allocation failure: order:0, mode:0x20\n"
    f"[   13.000000] mac {BARE[:4]}.{BARE[4:8]}.{BARE[8:]} irq {MAC.upper()} {BARE}\n"
)
NFT = (
    "table ip zqtable {\n"
    f"\tset zqset {{\n\t\ttype ipv4_addr\n\t\telements = {{ {SERVER}, {OTHER} }}\n\t}}\n"
    "\tchain zqchain {\n\t\ttype filter hook input priority filter; policy drop;\n"
    f'\t\tiifname "{BRIDGE}" ip saddr {OTHER} drop comment "for zqcustomer, ticket zq1"\n'
    f'\t\tiifname "zqh*" oifname {{ "{BRIDGE}", "zqother" }} ct state invalid drop\n'
    f"\t\tether saddr {MAC} ip daddr {V4}/24 accept\n"
    '\t\tmeta skuid "zquser11" log prefix "zqprefix: " jump zqchain2\n'
    f"\t\t@nh,96,32 0x{hexadecimal(V4).lower()} ip saddr @zqset counter packets 12345678901 "
    "bytes 5 accept\n"
    "\t}\n\tchain zqchain2 {\n\t}\n}\n"
)
IPTABLES = (
    "# Generated by iptables-save v1.8.9 on Mon zq\n*filter\n:INPUT DROP [12345678901:5]\n"
    f":zqchain - [0:0]\n-A INPUT -i {BRIDGE} -s {OTHER}/32 -j zqchain\n"
    f'-A INPUT -m comment --comment "zq customer" -m conntrack --ctstate INVALID -j DROP\n'
    f"-A INPUT -m mac --mac-source {MAC.upper()} -j ACCEPT\n-A INPUT -i zqh+ -j ACCEPT\n"
    '-A OUTPUT -m owner --uid-owner zquser12 -j LOG --log-prefix "zq: "\n'
    "-A INPUT -m string --string zqstring --algo bm -j DROP\n"
    "-A INPUT -m recent --name zqlist --rsource -m set --match-set zqset src -j DROP\n"
    "-A INPUT -m comment --comment zqcomment -j ACCEPT\nCOMMIT\n"
)


def files():
    route = f"{BRIDGE}\t00{little(V4)[2:]}\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    texts = {
        "/proc/sys/kernel/hostname": "zqhost7.zqdomain.example\n",
        "/proc/sys/kernel/osrelease": "6.1.0-zqhost7-amd64\n",
        "/proc/sys/kernel/version": "#1 SMP PREEMPT_DYNAMIC zqhost7 6.1.90-1\n",
        "/proc/cpuinfo": "processor\t: 0\nmodel name\t: CPU\nflags\t\t: fpu hypervisor\n"
        "Serial\t\t: 00000000zqserial\n\n",
        "/proc/cmdline": CMDLINE,
        "/proc/interrupts": "           CPU0       CPU1\n"
        f" 16: 90000 0   IO-APIC  16-fasteoi   ehci_hcd:usb1, {BRIDGE}\n"
        f" 24: 10 0   PCI-MSI 524288-edge      {BY_MAC}-rx-0\n",
        "/proc/55/comm": "zqdaemon\n",
        "/proc/56/comm": f"irq/24-{BRIDGE}\n",
        "/proc/self/mountinfo": MOUNTS,
        "/proc/swaps": "Filename Type Size Used Priority\n"
        "/dev/mapper/zqvg-swap partition 1 0 -2\n",
        "/proc/net/fib_trie": f"Local:\n  +-- 10.77.88.0/24 2 0 2\n     |-- {V4}\n"
        "        /32 host LOCAL\n",
        "/proc/net/if_inet6": f"{int(ipaddress.IPv6Address(V6)):032x} 02 40 00 80 {BRIDGE:>8}\n"
        f"{int(ipaddress.IPv6Address(LINK_LOCAL)):032x} 02 40 20 80 {BRIDGE}.77\n",
        "/proc/net/route": "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU"
        f"\tWindow\tIRTT\n{route}{BY_MAC}\t00000000\t{little(OTHER)}\t0003\t0\t0\t0\t00000000\t0"
        "\t0\t0\n",
        "/proc/net/arp": "IP address       HW type     Flags       HW address            Mask"
        f"     Device\n{OTHER}     0x1         0x2         {MAC}     *        {BRIDGE}\n",
        "/proc/net/dev": "Inter-|   Receive |  Transmit\n face |bytes\n"
        f"{BRIDGE:>8}: {'1 ' * 16}\n zqonlyhere:{'2 ' * 16}\n",
        "/proc/net/ip_vs": "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight Act In\n"
        f"TCP  {hexadecimal(V4)}:0050 rr\n  -> {hexadecimal(SERVER)}:0050 Masq 1 0 0\n"
        f"TCP  [{ipaddress.IPv6Address(V6).exploded}]:0050 rr\n",
        "/proc/net/packet": "sk RefCnt Type Proto Iface R Rmem User Inode\n"
        "0000000000000000 3 3 0003 2 1 0 0 99\n",
        "/proc/modules": "e1000 16384 0 - Live 0x0\nnf_conntrack 1 0 - Live 0x0\n",
        "/sys/module/ip_vs/parameters/conn_tab_bits": "zqvalue\n",
        "/sys/class/net/bonding_masters": f"{BRIDGE} zqbond\n",
        "/etc/sysctl.d/90-zqcustomer.conf": "# for zqcustomer\nnet.ipv4.vs.conntrack = 0\n"
        f"net.ipv4.conf.{BRIDGE}.rp_filter = 1\nkernel.hostname = zqhost7\n"
        "net.ipv4.vs.expire_nodest_conn = zqvalue\nnet.ipv6.conf.all.stable_secret = zq\n",
        "/usr/lib/sysctl.d/50-zqdefault.conf": "net.ipv4.vs.conntrack = 1\n",
        "/etc/modules": "# zqcomment\nip_vs zqoption=1\n",
        "/etc/modules-load.d/zqmodules.conf": "nf_conntrack # zq\n",
        "/etc/default/irqbalance": 'IRQBALANCE_ARGS="--policyscript=/opt/zq.sh --banirq=24"\n'
        "ZQTOKEN=zqsecret\n# zq\n",
        "/etc/tuned/active_profile": "zqcompany-latency-performance\n",
        "/netlink/ipvs.json": json.dumps(
            {
                "services": [
                    {
                        "protocol": "TCP",
                        "address": V4,
                        "port": 80,
                        "scheduler": "rr",
                        "destinations": [
                            {"address": SERVER, "port": 80, "forward": "Masq", "weight": 1},
                            {"address": V6, "port": 80, "forward": "Masq", "weight": 1},
                        ],
                    }
                ],
                "daemons": [{"state": "master", "interface": BRIDGE}],
            }
        ),
        "/netlink/ethtool.json": json.dumps({BRIDGE: {"rings": {"rx": 256, "rx_max": 4096}}}),
        f"/cmd/ethtool/g/{BRIDGE}": f"Ring parameters for {BRIDGE}:\nRX: 1\n",
        "/cmd/ip-addr": f"2: {BRIDGE}    inet {V4}/24 brd 10.77.88.255 scope global "
        f"{BRIDGE}:zqlab\\"
        "       valid_lft forever preferred_lft forever\n"
        f"2: {BRIDGE}    inet6 {LINK_LOCAL}/64 scope link \\       valid_lft forever\n"
        f"3: {BRIDGE}.77@{BRIDGE}    inet {SERVER} peer {OTHER}/32 scope global {BRIDGE}.77\n"
        f"4: {BY_MAC}    inet6 {V6}/64 scope global \\  valid_lft 86400sec preferred_lft 0sec\n",
        "/cmd/ip-rule": f"0:\tfrom all lookup local\n100:\tfrom {V4} iif {BRIDGE} lookup zqrt\n",
        "/cmd/dmesg": LOG,
        "/cmd/nft": NFT,
        "/cmd/iptables": IPTABLES,
        "/cmd/arptables": f"*filter\n:OUT ACCEPT\n-A OUT -s {V4} -o {BRIDGE} -j mangle\n",
        "/cmd/qdisc": f"qdisc mq 0: dev {BRIDGE} root\nqdisc noqueue 0: dev {BRIDGE}.77 root\n",
    }
    for pid, name in ((60, "zqdaemon"), (61, "keepalived"), (62, f"{OTHER}-man"), (63, "nginx")):
        texts[f"/proc/{pid}/stat"] = f"{pid} ({name}) S 1 {' '.join(['1'] * 48)}\n"
    for interface in (BRIDGE, BY_MAC, f"{BRIDGE}.77", "all"):
        for version, name in ((4, "rp_filter"), (4, "arp_ignore"), (4, "forwarding")):
            texts[f"/proc/sys/net/ipv{version}/conf/{interface}/{name}"] = "1\n"
        texts[f"/proc/sys/net/ipv6/conf/{interface}/forwarding"] = "0\n"
    for interface in (BRIDGE, BY_MAC):
        for name, value in (
            ("operstate", "up"),
            ("flags", "0x1103"),
            ("type", "1"),
            ("mtu", "1500"),
        ):
            texts[f"/sys/class/net/{interface}/{name}"] = f"{value}\n"
        texts[f"/sys/class/net/{interface}/statistics/rx_packets"] = "1000000\n"
    for name in ("conntrack", "schedule_icmp", "expire_nodest_conn"):
        texts[f"/proc/sys/net/ipv4/vs/{name}"] = "0\n"
    device = "/sys/bus/pci/devices/0000:00:03.0"
    texts |= {f"{device}/class": "0x020000\n", f"{device}/irq": "16\n"}
    usb = "/sys/bus/pci/devices/0000:00:1d.7"
    texts |= {f"{usb}/class": "0x0c0320\n", f"{usb}/irq": "16\n"}
    texts["/sys/class/block/md_zqarray/dev"] = "9:1\n"
    return texts


def links():
    pci = "../../devices/pci0000:00/0000:00:03.0"
    vmbus = "../../devices/LNXSYSTM:00/zquuid-0123-4567-89ab-cdef01234567/net"
    return {
        f"/sys/class/net/{BRIDGE}": f"{pci}/net/{BRIDGE}",
        f"/sys/class/net/{BY_MAC}": f"{vmbus}/{BY_MAC}",
        f"/sys/class/net/{BY_MAC}/master": f"../../../virtual/net/{BRIDGE}",
        f"/sys/class/net/{BRIDGE}/device/driver": "../../../bus/pci/drivers/e1000",
        "/sys/bus/pci/drivers/e1000/0000:00:03.0": "../../../../devices/pci0000:00/0000:00:03.0",
        "/sys/class/block/sda": "../../devices/pci0000:00/0000:00:14.0/ata1/host0/target0:0:0/"
        "0:0:0:0/block/sda",
        "/sys/class/block/md_zqarray": "../../devices/virtual/block/md_zqarray",
        "/sys/class/block/sda/holders/md_zqarray": "../../../virtual/block/md_zqarray",
    }


def samples():
    """Two samples, two seconds apart; in the second more packets and interrupts came."""
    first = RecordedHost(
        files(),
        links(),
        frozenset({f"/sys/class/net/{BRIDGE}/speed"}),
        1000.0,
        {f"/sys/class/net/{BRIDGE}/mtu": 0o644},
    )
    later = files()
    later["/proc/interrupts"] = later["/proc/interrupts"].replace("90000", "99000")
    later[f"/sys/class/net/{BRIDGE}/statistics/rx_packets"] = "1020000\n"
    return first, RecordedHost(later, first.links, first.refused, 1002.0, first.modes)
