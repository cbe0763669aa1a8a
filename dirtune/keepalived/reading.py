"""Read a keepalived.conf with what it includes."""

from dirtune.keepalived import servers, vrrp
from dirtune.keepalived.grammar import Node, Tree
from dirtune.keepalived.model import Conf, Endpoint, VirtualServer, VrrpInstance, VrrpScript
from dirtune.keepalived.source import Files, Problem, Source

_GLOBAL = frozenset({"net_namespace", "net_namespace_ipvs"})


def read(files: Files, path: str, config_id: str | None = None) -> Conf:
    """Return the configuration *path*, which *files* has; *config_id* is the host's name.

    The configuration is read as keepalived does: what keepalived ignores with a complaint becomes
    a problem. Raises `SourceMissing` or `SourceRefused` if *path* cannot be read, and `ParseError`
    if it is binary, includes itself, or exceeds a limit.
    """
    source = Source(files, path, config_id)
    problems: list[Problem] = []
    reader = _Reader(problems)
    for node in Tree(source, servers.server_head, servers.real_head).blocks():
        reader.add(node)
    return reader.conf(source)


class _Reader:
    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._globals: list[Node] = []
        self._groups: dict[str, tuple[Endpoint, ...]] = {}
        self._servers: list[VirtualServer] = []
        self._instances: dict[str, VrrpInstance] = {}
        self._scripts: list[VrrpScript] = []

    def add(self, node: Node) -> None:
        match node.keyword:
            case "virtual_server":
                self._servers.append(servers.virtual_server(node, self._problems))
            case "virtual_server_group":
                name, entries = servers.group(node, self._problems)
                if entries:
                    self._groups[name] = entries
            case "vrrp_instance":
                instance = vrrp.instance(node, self._problems)
                if instance.name in self._instances:
                    why = f"The vrrp_instance {instance.name} is defined twice"
                    self._problems.append(Problem(node.place, why))
                else:
                    self._instances[instance.name] = instance
            case "vrrp_script":
                self._scripts.append(vrrp.script(node, self._problems))
            case "global_defs":
                self._globals += node.inner
            case name if name in _GLOBAL:
                self._globals.append(node)

    def conf(self, source: Source) -> Conf:
        found = vrrp.global_defs(self._globals, self._problems)
        return Conf(
            found,
            tuple(self._groups.items()),
            tuple(self._servers),
            tuple(self._instances.values()),
            tuple(self._scripts),
            tuple(sorted((*source.problems, *self._problems), key=lambda each: each.place)),
            tuple(dict.fromkeys(source.paths)),
        )
