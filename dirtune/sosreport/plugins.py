"""The plugins of sos that collect what an audit reads, for the reasons why a check was skipped."""

from collections.abc import Mapping

PLUGINS: Mapping[str, str] = {
    "kernel": "kernel",
    "cpuinfo": "processor",
    "cmdline": "kernel",
    "interrupts": "hardware",
    "irq_threads": "process",
    "stat": "process",
    "pci": "pci",
    "interfaces": "networking",
    "mounts": "filesys",
    "swaps": "memory",
    "addresses": "networking",
    "services": "networking",
    "ip_vs_stats": "networking",
    "ip_vs_table_size": "ipvs",
    "ip_vs_status": "networking",
    "keepalived": "keepalived",
    "ipvs": "ipvs",
    "cpus": "processor",
    "proc_irq": "hardware",
    "softirqs": "kernel",
    "softnet": "networking",
    "processes": "process",
    "cpu_power": "processor",
    "meminfo": "memory",
    "modules": "kernel",
    "settings_files": "kernel",
    "sysctls": "kernel",
    "local_networks": "networking",
    "interface_addresses": "networking",
    "routes": "networking",
    "neighbours": "networking",
    "packet": "networking",
    "snmp": "networking",
    "conntrack": "networking",
    "ethtool": "networking",
    "kernel_log": "kernel",
    "rulesets": "firewall_tables (networking in old versions)",
}
"""The plugin by the field of a snapshot."""
NOWHERE = {"limits", "netdev"}
"""Fields that no plugin of sos collects: limits of the session, and netlink answers of netdev."""


def reason(field: str, why: str) -> str:
    """Return *why* the field of a snapshot is missing, with the plugin of sos that has it."""
    if field in NOWHERE:
        return f"{why}. sos does not collect it"
    return f"{why}. The plugin {PLUGINS[field]} of sos collects it"
