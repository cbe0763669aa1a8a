"""eBPF probes: C beside its Python half; bcc is imported only where a probe is loaded."""
