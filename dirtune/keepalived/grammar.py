"""The keywords of keepalived.conf(5), and the tree that a configuration makes of them. Pure.

The keywords are those that keepalived 2.2.7 and 2.4.3 install (install_keyword() in *_parser.c and
check_*.c). Those that only 2.4 knows are accepted too. A secret is dropped here, so no tree has
one: passwords, keys, what is sent to a server, and the arguments of scripts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dirtune.keepalived.source import Place, Source
from dirtune.keepalived.texts import split

Head = Callable[[Sequence[str]], str]
"""Returns why the first line of a block is invalid, so that keepalived skips the block."""


@dataclass(frozen=True, slots=True)
class Keyword:
    """How a keyword's line and block are read."""

    inner: "Mapping[str, Keyword] | None" = None
    """The keywords of the block; None if there is no block of keywords."""
    values: bool = False
    """Whether a block of plain values follows."""
    keep: int | None = None
    """How many of the words after the keyword are kept: none of a password, one of a script."""
    head: Head | None = None


class Node(NamedTuple):
    """A keyword with its words and its block."""

    keyword: str
    words: Sequence[str]
    """The words after the keyword."""
    place: Place
    inner: Sequence["Node"] = ()
    """The keywords of the block, or its rows of plain values, which have an empty keyword."""


_LEAF = Keyword()
_VALUES = Keyword(values=True)
_SECRET = Keyword(keep=0)
_SCRIPT = Keyword(keep=1)


def _each(keyword: Keyword, names: str) -> dict[str, Keyword]:
    return dict.fromkeys(names.split(), keyword)


def _leaves(names: str) -> dict[str, Keyword]:
    return _each(_LEAF, names)


def _named(what: str) -> Head:
    return lambda words: "" if words else f"{what} lacks a name"


_TIMES = _leaves("retry delay_before_retry warmup delay_loop alpha log_all_failures")
_CONNECT = _TIMES | _leaves(
    "connect_ip connect_port bindto bind_port bind_if connect_timeout fwmark"
)
_URL = _leaves("status_code") | _each(
    _SECRET,
    "path digest virtualhost regex regex_no_match regex_options regex_min_offset "
    "regex_max_offset regex_stack tls_compliant",
)
_HTTP = Keyword(
    _CONNECT
    | _leaves("nb_get_retry virtualhost http_protocol enable_sni sni_name fast_recovery")
    | _leaves("tls_compliant")
    | {"url": Keyword(_URL)}
)
CHECKERS = {
    "TCP_CHECK": Keyword(_CONNECT),
    "HTTP_GET": _HTTP,
    "SSL_GET": _HTTP,
    "SMTP_CHECK": Keyword(_CONNECT | {"helo_name": _LEAF, "host": Keyword(_CONNECT)}),
    "DNS_CHECK": Keyword(_CONNECT | _leaves("type name")),
    "MISC_CHECK": Keyword(
        _TIMES | _leaves("misc_timeout misc_dynamic user") | {"misc_path": _SCRIPT}
    ),
    "BFD_CHECK": Keyword(_leaves("name alpha")),
    "UDP_CHECK": Keyword(
        _CONNECT
        | _leaves("require_reply min_reply_length max_reply_length")
        | {"payload": _SECRET}
    ),
    "PING_CHECK": Keyword(_CONNECT),
    "FILE_CHECK": Keyword(_leaves("track_file weight")),
}
_RETRIES = _leaves(
    "retry delay_before_retry warmup connect_timeout delay_loop inhibit_on_failure alpha "
    "smtp_alert virtualhost snmp_name weight lvs_method"
)
_SERVER = _leaves(
    "ip_family lb_algo lvs_sched hashed ops flag-1 flag-2 flag-3 sh-port sh-fallback mh-port "
    "mh-fallback lb_kind persistence_engine persistence_timeout persistence_granularity protocol "
    "ha_suspend omega quorum hysteresis sorry_server sorry_server_inhibit sorry_server_lvs_method"
)


def _grammar(server: Head, real: Head) -> dict[str, Keyword]:
    real_server = Keyword(
        _RETRIES
        | _leaves("uthreshold lthreshold")
        | _each(_SCRIPT, "notify_up notify_down")
        | CHECKERS,
        head=real,
    )
    virtual_server = Keyword(
        _RETRIES
        | _SERVER
        | _each(_SCRIPT, "quorum_up quorum_down")
        | {"real_server": real_server},
        head=server,
    )
    return {
        "SSL": Keyword(_each(_SECRET, "password ca certificate key")),
        "virtual_server_group": Keyword(values=True, head=_named("virtual_server_group")),
        "virtual_server": virtual_server,
        **_VRRP,
        **_GLOBAL,
    }


NOTIFY = _each(
    _SCRIPT,
    "notify notify_backup notify_master notify_fault notify_stop notify_deleted "
    "notify_master_rx_lower_pri",
)
GLOBAL_SCRIPTS = _each(
    _SCRIPT,
    "startup_script shutdown_script notify_fifo_script vrrp_notify_fifo_script "
    "lvs_notify_fifo_script",
)
_TRACK = _each(_VALUES, "track_interface track_script track_file track_process track_bfd")
_TRACK_FILE = Keyword(_leaves("file weight init_file"), head=_named("track_file"))
_VRRP = {
    "track_group": Keyword({"group": _VALUES}),
    "static_ipaddress": _VALUES,
    "static_routes": _VALUES,
    "static_rules": _VALUES,
    "linkbeat_interfaces": _VALUES,
    "interface_up_down_delays": _VALUES,
    "track_file": _TRACK_FILE,
    "vrrp_track_file": _TRACK_FILE,
    "vrrp_sync_group": Keyword(
        _leaves("smtp_alert global_tracking sync_group_tracking_weight notify_priority_changes")
        | {"group": _VALUES}
        | _TRACK
        | NOTIFY,
        head=_named("vrrp_sync_group"),
    ),
    "garp_group": Keyword(
        _leaves("garp_interval gna_interval interface") | {"interfaces": _VALUES}
    ),
    "vrrp_instance": Keyword(
        _leaves(
            "use_vmac use_vmac_addr vmac_xmit_base use_ipvlan unicast_fault_no_peer "
            "check_unicast_src old_unicast_checksum native_ipv6 state interface vrf "
            "dont_track_primary mcast_src_ip unicast_src_ip mcast_dst_ip track_src_ip "
            "virtual_router_id unicast_ttl version priority advert_int promote_secondaries "
            "linkbeat_use_polling accept no_accept skip_check_adv_addr strict_mode preempt "
            "nopreempt preempt_delay debug smtp_alert notify_priority_changes "
            "lvs_sync_daemon_interface garp_master_delay garp_master_refresh garp_master_repeat "
            "garp_master_refresh_repeat garp_lower_prio_delay garp_lower_prio_repeat "
            "down_timer_adverts garp_extra_if vmac_garp_intvl lower_prio_no_advert "
            "higher_prio_send_advert kernel_rx_buf_size no_virtual_ipaddress owner_ignore_adverts "
            "thread_timer_expired timer_expired_backup v3_checksum_as_v2"
        )
        | _each(
            _VALUES,
            "unicast_peer virtual_ipaddress virtual_ipaddress_excluded virtual_routes "
            "virtual_rules",
        )
        | _TRACK
        | NOTIFY
        | {
            "authentication": Keyword({"auth_type": _LEAF, "auth_pass": _SECRET}),
            "auth_hmac": Keyword(_each(_SECRET, "active_key anti_replay key mode time_window")),
        },
        head=lambda words: "" if len(words) == 1 else "vrrp_instance lacks a name",
    ),
    "vrrp_script": Keyword(
        _leaves("interval timeout weight rise fall user init_fail") | {"script": _SCRIPT},
        head=_named("vrrp_script"),
    ),
    "vrrp_track_process": Keyword(
        _leaves(
            "param_match weight quorum quorum_max delay terminate_delay fork_delay full_command"
        )
        | {"process": _SCRIPT},
        head=_named("vrrp_track_process"),
    ),
    "bfd_instance": Keyword(
        _leaves(
            "source_ip neighbor_ip neighbour_ip min_rx min_tx idle_tx multiplier passive ttl "
            "hoplimit max_hops weight vrrp checker multihop"
        ),
        head=_named("bfd_instance"),
    ),
}
_GLOBAL = {
    **_leaves(
        "linkbeat_use_polling net_namespace net_namespace_ipvs namespace_with_ipsets use_pid_dir "
        "instance child_wait_time"
    ),
    "global_defs": Keyword(
        _leaves(
            "process_names process_name vrrp_process_name checker_process_name lvs_process_name "
            "bfd_process_name router_id notification_email_from smtp_server smtp_helo_name "
            "smtp_connect_timeout smtp_alert startup_script_timeout shutdown_script_timeout "
            "max_auto_priority min_auto_priority_delay smtp_alert_vrrp smtp_alert_checker "
            "checker_log_all_failures dynamic_interfaces no_email_faults default_interface "
            "disable_local_igmp lvs_timeouts lvs_flush lvs_flush_on_stop lvs_flush_onstop "
            "lvs_sync_daemon vrrp_mcast_group4 vrrp_mcast_group6 vrrp_garp_master_delay "
            "vrrp_garp_master_repeat vrrp_garp_master_refresh vrrp_garp_master_refresh_repeat "
            "vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat vrrp_down_timer_adverts "
            "vrrp_garp_interval vrrp_gna_interval vrrp_min_garp vrrp_garp_extra_if "
            "vrrp_vmac_garp_intvl vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert "
            "vrrp_version vrrp_iptables vrrp_ipsets nftables nftables_priority nftables_ifindex "
            "nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark nftables_counters "
            "vrrp_check_unicast_src vrrp_skip_check_adv_addr vrrp_strict vrrp_priority "
            "vrrp_no_swap vrrp_rt_priority vrrp_cpu_affinity vrrp_rlimit_rttime vrrp_rlimit_rtime "
            "notify_fifo vrrp_notify_fifo vrrp_notify_priority_changes lvs_notify_fifo "
            "fifo_write_vrrp_states_on_reload checker_priority checker_no_swap "
            "checker_rt_priority checker_cpu_affinity checker_rlimit_rttime checker_rlimit_rtime "
            "bfd_priority bfd_no_swap bfd_rt_priority bfd_cpu_affinity bfd_rlimit_rttime "
            "bfd_rlimit_rtime snmp_socket enable_traps enable_snmp_vrrp enable_snmp_keepalived "
            "enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3 enable_snmp_checker enable_dbus "
            "dbus_service_name script_user enable_script_security vrrp_netlink_cmd_rcv_bufs "
            "vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs "
            "vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs "
            "process_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs "
            "lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs "
            "lvs_netlink_monitor_rcv_bufs_force rs_init_notifies no_checker_emails "
            "vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier vrrp_startup_delay log_unknown_vrids "
            "vmac_prefix vmac_addr_prefix umask random_seed reload_check_config reload_time_file "
            "reload_repeat reload_file include_check config_save_dir tmp_config_directory "
            "data_use_instance dbus_no_interface_name iproute_etc_dir iproute_usr_dir "
            "json_dump_file json_version set_supplementary_groups snmp_rs_stats_update_interval "
            "snmp_vs_stats_update_interval state_dump_file stats_dump_file use_symlink_paths "
            "vrrp_delay_after_boot vrrp_owner_ignore_adverts"
        )
        | {"notification_email": _VALUES}
        | GLOBAL_SCRIPTS
    ),
}


class Tree:
    """Reads the blocks of a configuration, as process_stream() of lib/parser.c does."""

    def __init__(self, source: Source, server: Head, real: Head) -> None:
        """Read *source*; *server* and *real* check the first lines of their blocks."""
        self._source = source
        self._lines = source.lines()
        self._grammar = _grammar(server, real)

    def blocks(self) -> Iterator[Node]:
        """Yield the outermost keywords with their blocks."""
        return self._nodes(self._grammar, level=0)

    def _nodes(self, keywords: Mapping[str, Keyword], level: int) -> Iterator[Node]:
        begun = not level
        for text in self._lines:
            first, *words = split(text) or [""]
            if not begun:
                begun = True
                if first == "{":
                    continue
                self._source.problem("'{' is missing at the beginning of the block")
            elif first == "{":
                self._source.problem("'{' is unexpected")
                continue
            if first == "}" and level:
                return
            keyword = keywords.get(first)
            if keyword is None:
                self._source.problem(_unknown(first, keywords))
            else:
                node = self._node(first, keyword, words, level)
                if node:
                    yield node

    def _node(self, name: str, keyword: Keyword, words: Sequence[str], level: int) -> Node | None:
        place = self._source.place
        if keyword.head and (why := keyword.head(words)):
            self._source.problem(why)
            self._skip()
            return None
        if keyword.keep is not None:
            if not words:
                self._source.problem(f"{name}: a parameter is missing")
            words = [word for text in words[: keyword.keep] for word in text.split()[:1]]
        if keyword.values:
            return Node(name, words, place, tuple(self._values()))
        if keyword.inner is not None:
            return Node(name, words, place, tuple(self._nodes(keyword.inner, level + 1)))
        return Node(name, words, place)

    def _values(self) -> Iterator[Node]:
        begun = False
        for text in self._lines:
            if text == "}":
                return
            if not begun and text == "{":
                begun = True
                continue
            begun = True
            if words := split(text):
                yield Node("", words, self._source.place)

    def _skip(self) -> None:
        depth = 0
        for text in self._lines:
            depth += {"{": 1, "}": -1}.get(text, 0)
            if depth <= 0:
                return


def _unknown(word: str, keywords: Mapping[str, Keyword]) -> str:
    # In a block with passwords, a word in the wrong place can be one.
    secret = any(keyword.keep == 0 for keyword in keywords.values())
    return "Unknown keyword" if secret else f"Unknown keyword {word[:40]!r}"
