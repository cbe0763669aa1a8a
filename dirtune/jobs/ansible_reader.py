"""Print an Ansible inventory as JSON: `python ansible_reader.py LIMIT INVENTORY...`.

`inventories` runs this file in a process of its own, because inventory plugins and scripts are
code of the operator, and ansible-core changes the locale and the signals of its process. The file
imports nothing of dirtune. It prints {"hosts": [...]}, as `inventories` describes it, or
{"error": TEXT}.
"""

import json
import os
import sys
from typing import Any

_SSH = ("host", "port", "remote_user", "private_key_file", "ssh_args", "ssh_common_args")
_OPTIONS = (*_SSH, "ssh_extra_args")


def _hosts(limit: str, sources: list[str]) -> list[dict[str, Any]]:
    from ansible import constants
    from ansible.cli import CLI
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import connection_loader, init_plugin_loader
    from ansible.vars.manager import VariableManager

    init_plugin_loader()
    connection_loader.get("ssh", class_only=True)  # reads which variables name its options
    loader = DataLoader()
    identities = constants.DEFAULT_VAULT_IDENTITY_LIST
    secrets = CLI.setup_vault_secrets(loader, identities, auto_prompt=False)
    loader.set_vault_secrets(secrets)
    inventory = InventoryManager(loader=loader, sources=sources)
    if limit:
        inventory.subset(limit)
    variables = VariableManager(loader=loader, inventory=inventory)
    return [_host(host, loader, variables) for host in inventory.get_hosts()]


def _host(host: Any, loader: Any, variables: Any) -> dict[str, Any]:
    implied = {"ungrouped", "all"}
    # host.groups has the groups of its groups too.
    groups = [str(g) for g in host.groups if host in g.hosts and str(g) not in implied]
    found = {"name": str(host.name), "groups": sorted(groups)}
    try:
        return found | _reached(host, loader, variables)
    except Exception as error:  # noqa: BLE001  (a template of one host)
        return found | {"error": _first_row(error)}


def _reached(host: Any, loader: Any, variables: Any) -> dict[str, Any]:
    from ansible import constants
    from ansible.template import Templar

    every = variables.get_vars(host=host, include_hostvars=False)
    templar = Templar(loader=loader, variables=every)
    known = {n: templar.template(v) for n, v in every.items() if n.startswith("ansible_")}
    known["inventory_hostname"] = str(host.name)
    options = constants.config.get_plugin_options("connection", "ssh", variables=known)
    chosen = {name: _text(options.get(name)) for name in _OPTIONS}
    become = known.get("ansible_become", constants.DEFAULT_BECOME)
    return {
        **chosen,
        "connection": _text(known.get("ansible_connection")) or "ssh",
        "become": str(become).lower() in {"true", "yes", "on", "1"},
        "become_method": _text(known.get("ansible_become_method")) or "sudo",
        "become_user": _text(known.get("ansible_become_user")) or "root",
    }


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _first_row(error: Exception) -> str:
    rows = [row.strip() for row in str(error).splitlines() if row.strip()]
    return rows[0] if rows else type(error).__name__


def _main() -> None:
    # A source that cannot be read is an error, not a warning beside fewer hosts.
    os.environ.update(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1", LC_ALL="C.UTF-8")
    out, sys.stdout = sys.stdout, sys.stderr  # for what plugins print
    try:
        answer: dict[str, object] = {"hosts": _hosts(sys.argv[1], sys.argv[2:])}
    except Exception as error:  # noqa: BLE001  (its text is the answer)
        answer = {"error": _first_row(error)}
    json.dump(answer, out)


if __name__ == "__main__":
    _main()
