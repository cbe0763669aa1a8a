"""Generated IPVS tables that the kernel takes, for hypothesis."""

from hypothesis import strategies as st
from msgspec.structs import replace

from dirtune.lvs.model import Destination, Service, Table, Timeouts

V4 = st.integers(1, 250).map(lambda n: f"10.1.1.{n}")
V6 = st.integers(1, 250).map(lambda n: f"fd00::{n:x}")
SCHEDULERS = ("rr", "wrr", "wlc", "lc", "sh", "mh")


@st.composite
def destinations(draw, service):
    own, other = (V6, V4) if service.family == 6 else (V4, V6)
    forwarding = draw(st.sampled_from(["nat", "dr", "tun"]))
    address = draw(other if forwarding == "tun" and draw(st.booleans()) else own)
    port = 0 if service.protocol == "fwmark" else service.port
    if forwarding == "nat" and draw(st.booleans()):
        port = draw(st.integers(1, 65535))
    upper = draw(st.sampled_from([0, 1, 1000, 65535]))
    made = Destination(
        address,
        port,
        forwarding,
        draw(st.sampled_from([0, 1, 70, 65536])),
        upper,
        draw(st.integers(0, min(upper, 900))),
    )
    if forwarding != "tun":
        return made
    tunnel = draw(st.sampled_from(["ipip", "gue", "gre"]))
    flags = 0 if tunnel == "ipip" else draw(st.sampled_from([0, 1]))
    tunnel_port = draw(st.integers(1, 65535)) if tunnel == "gue" else 0
    return replace(made, tunnel=tunnel, tunnel_port=tunnel_port, tunnel_flags=flags)


@st.composite
def services(draw):
    protocol = draw(st.sampled_from(["tcp", "udp", "sctp", "fwmark"]))
    family = draw(st.sampled_from([4, 6]))
    persistent_s = draw(st.none() | st.integers(1, 86400))
    masks = ["", "255.255.255.0"] if family == 4 else ["", "64"]
    scheduler = draw(st.sampled_from(SCHEDULERS))
    flags = draw(st.sampled_from([0, 0x8, 0x10, 0x18])) if scheduler in ("sh", "mh") else 0
    bare = Service(
        protocol,
        "" if protocol == "fwmark" else draw(V6 if family == 6 else V4),
        draw(st.integers(1, 40)),
        scheduler,
        family,
        flags | (draw(st.sampled_from([0, 0x4])) if protocol in ("udp", "fwmark") else 0),
        persistent_s,
        "" if persistent_s is None else draw(st.sampled_from(masks)),
    )
    found = draw(st.lists(destinations(bare), max_size=4, unique_by=lambda d: d.key))
    return replace(bare, destinations=tuple(found))


def tables(least=0, most=8):
    return st.builds(
        Table,
        st.lists(services(), min_size=least, max_size=most, unique_by=lambda s: s.key).map(tuple),
        st.builds(Timeouts, *(st.integers(1, 10**6) for _ in range(3))),
        st.just(()),
    )
