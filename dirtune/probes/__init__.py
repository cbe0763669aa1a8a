"""eBPF probes, each a C program and a Python module; bcc is imported when a probe is loaded."""
