"""The messages of the kernel log that checks read; the recorder keeps the lines of all of them.

A check reads the log only through a `Message`, so the recorder cannot drop a line that a check
would read. The texts are those of the kernel's sources and of the drivers.

Programs write to /dev/kmsg too, and messages quote names that users choose. So a message must have
the kernel's words from its beginning, and `name[pid]: ...` is never the kernel's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """One message of the kernel log."""

    seconds: float | None
    """Seconds since boot; None if the time is printed in another form."""
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """A kind of kernel message."""

    words: str
    """The alternatives that such a line contains, separated by `|`, without regard to case."""
    form: str = r"\w"
    """The beginning of such a message, as a regular expression without regard to case.

    If it is not given, the reader of the lines asks which device the message is about
    (checks/log_devices.py).
    """

    def lines(self, log: Iterable[LogLine] | None) -> Iterator[LogLine]:
        """Yield the lines of *log* that are such messages."""
        words, form = (re.compile(text, re.IGNORECASE) for text in (self.words, self.form))
        return (
            line
            for line in log or ()
            if words.search(line.text) and form.match(line.text) and not _BY_PID.match(line.text)
        )


_BY_PID = re.compile(r"[^:]{1,64}\[\d{1,10}\]:")

# kernel/irq/spurious.c, __report_bad_irq() and note_interrupt()
INTERRUPTS = Message(
    "nobody cared|disabling irq", r"irq \d{1,9}: nobody cared|disabling irq #\d{1,9}$"
)
VECTORS = Message("msi|vector")
# arch/x86/kernel/tsc.c, mark_tsc_unstable(); kernel/time/clocksource.c
CLOCK = Message(
    "tsc|clocksource",
    r"(?:tsc: )?marking tsc unstable|clocksource tsc unstable"
    r"|(?:clocksource: )?(?:timekeeping watchdog[^:]{0,40}: )?"
    r"marking clocksource 'tsc' as unstable",
)
LINK = Message(
    "link is|link up|link down|link becomes ready|link speed|smartspeed|downshift|watchdog"
)
# mm/page_alloc.c, warn_alloc(): the name is that of the task; ip_vs_conn.c, ip_vs_conn_new()
ALLOCATION = Message(
    "allocation failure|ip_vs_conn_new",
    r"[^\s\":](?:[^\s\"]{0,30}[^\s\":])?(?: [\w#/-]{1,15})?: page allocation failure[:.] *"
    r"order: ?\d{1,9}, ?mode:"
    r"|ipvs: (?:error: )?ip_vs_conn_new(?:\(\))?:? .{0,40}no memory",
)
# net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc()
CONNTRACK_FULL = Message(
    "(nf|ip)_conntrack: table full", "(?:(?:nf|ip)_conntrack: ){1,2}table full"
)
# net/core/neighbour.c, neigh_alloc(); net/ipv4/route.c of older kernels
NEIGHBOURS = Message(
    "neighbou?r table overflow",
    "(?:neighbour: )?(?:(?:arp|ndisc)_cache: |ipv[46]: )?neighbou?r table overflow",
)
# net/ipv4/route.c, ip_handle_martian_source()
MARTIAN = Message("martian source", "(?:ipv4: )?martian source ")
# net/netfilter/ipvs/ip_vs_sched.c, ip_vs_scheduler_err()
NO_DESTINATION = Message(
    "no destination available",
    r"ipvs: \w{1,16}: (?:fwm \d{1,10}|[a-z]{3,4} \S{1,64})(?: 0x[0-9a-f]{1,8})? - "
    "no destination available",
)
# net/ipv4/tcp_input.c, tcp_syn_flood_action()
SYN_FLOOD = Message(
    "syn flooding", r"(?:tcp: )?(?:\w{1,40}: )?possible syn flooding on port \S{1,64}\."
)


def words() -> str:
    """Return the words of all messages as an extended regular expression, as grep(1) reads it."""
    return "|".join(m.words for m in globals().values() if isinstance(m, Message))
