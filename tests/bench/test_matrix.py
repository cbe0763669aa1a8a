"""Cells of a plan: their plans, what they need of the nodes, and what is refused."""

import msgspec
import pytest

from dirtune import plan
from dirtune.bench import matrix
from dirtune.errors import PlanError
from tests.plans import plan_of, plan_text

BASE = {
    "director": "lb1",
    "service": {"scheduler": "rr"},
    "to": [{"node": "rs1", "weight": 3}, "rs2", {"address": "198.18.0.13"}],
    "servers": [
        {"host": "one", "name": "rs1", "address": "198.18.0.11"},
        {"host": "two", "name": "rs2", "address": "198.18.0.12"},
    ],
    "clients": ["c1", "c2"],
}


def planned(more="", **changes):
    return plan_of(more, **{**BASE, **changes})


def six(more):
    return plan.parse(plan_text(more, **BASE).replace("198.18.0.", "fd00::"))


def cells(text="", **options):
    return matrix.cells(planned(text), **options)


def test_no_matrix_is_one_cell_the_plan_itself():
    (cell,) = cells()

    assert (cell.name, cell.plan, cell.holds) == ("", planned(), ())


def test_every_combination_once():
    found = cells('[matrix]\nscheduler = ["rr", "wlc"]\nreal_servers = [1, 3]\n')

    assert [c.name for c in found] == [
        "scheduler=rr,real_servers=1",
        "scheduler=rr,real_servers=3",
        "scheduler=wlc,real_servers=1",
        "scheduler=wlc,real_servers=3",
    ]
    assert found[1].holds == ()  # that is the plan as it stands
    assert found[3].plan.service.scheduler == "wlc"


def test_fewer_clients_make_the_same_load():
    half, whole = cells("[matrix]\nclients = [1, 2]\n")

    assert [peer.host for peer in half.plan.clients] == ["c1"]
    assert (half.holds, half.boot, whole.plan.clients) == ((), {}, planned().clients)
    with pytest.raises(PlanError, match=r"matrix\.clients: .*3"):
        cells("[matrix]\nclients = [3]\n")


def test_the_director_is_brought_there_and_back():
    # Written down from ipvsadm(8).
    hold = cells('[matrix]\nscheduler = ["wlc"]\nreal_servers = [1]\n')[0].holds[0]

    assert hold.host == "lb1"
    assert hold.do.splitlines() == [
        "ipvsadm -E -t 198.18.0.100:80 -s wlc",
        "ipvsadm -d -t 198.18.0.100:80 -r 198.18.0.12:80",
        "ipvsadm -d -t 198.18.0.100:80 -r 198.18.0.13:80",
    ]
    assert hold.undo.splitlines() == [
        "ipvsadm -E -t 198.18.0.100:80 -s rr",
        "ipvsadm -a -t 198.18.0.100:80 -r 198.18.0.12:80 -g -w 1",
        "ipvsadm -a -t 198.18.0.100:80 -r 198.18.0.13:80 -g -w 1",
    ]


def test_a_destination_that_changes_is_edited():
    found = planned()
    first = msgspec.structs.replace(found.service.destinations[0], weight=5, forwarding="nat")
    changed = msgspec.structs.replace(
        found.service, destinations=(first, *found.service.destinations[1:])
    )

    moves = matrix.ipvs_moves(found, found.service, changed)
    assert moves == "ipvsadm -e -t 198.18.0.100:80 -r 198.18.0.11:80 -m -w 5"


def test_addresses_of_version_6_stand_in_brackets():
    found = six("[matrix]\nreal_servers = [1]\n")

    assert "-d -t '[fd00::100]:80' -r '[fd00::12]:80'" in matrix.cells(found)[0].holds[0].do


def test_what_a_shell_would_read_is_no_scheduler():
    with pytest.raises(PlanError, match=r"matrix\.scheduler\[0\]"):
        cells('[matrix]\nscheduler = ["rr; reboot"]\n')


def test_whatever_else_the_service_has_is_kept_and_put_back():
    """`ipvsadm -E` and `-a` take away or leave out what they are not given."""
    service = {"scheduler": "mh", "flags": ["mh-port"], "persistence": "300s", "netmask": "24"}
    tunnel = {"forwarding": "tun", "tunnel": "gue", "tunnel_port": 6080}
    limits = {"upper_threshold": 100, "lower_threshold": 50}
    first, second, third = BASE["to"]
    to = [first, {"node": second, **tunnel, **limits}, third]
    text = '[matrix]\nscheduler = ["sh"]\nreal_servers = [1]\n'
    hold = matrix.cells(planned(text, service=service, to=to))[0].holds[0]

    # By ipvsadm(8): -b flags, -p and -M persistence, -x and -y the thresholds.
    edited, *_ = hold.do.splitlines()
    assert edited == "ipvsadm -E -t 198.18.0.100:80 -s sh -p 300 -M 255.255.255.0"
    edited, back, _ = hold.undo.splitlines()
    assert edited == "ipvsadm -E -t 198.18.0.100:80 -s mh -p 300 -M 255.255.255.0 -b mh-port"
    added = "ipvsadm -a -t 198.18.0.100:80 -r 198.18.0.12:80 -i"
    gue = "--tun-type gue --tun-port 6080 --tun-nocsum"
    assert back == f"{added} -w 1 -x 100 -y 50 {gue}"


def test_pages_by_their_size():
    text = '[matrix]\npage_bytes = [628, 9000]\npage_path = "/{page_bytes}.html"\n'

    assert [cell.plan.load.path for cell in cells(text)] == ["/628.html", "/9000.html"]


def test_requests_for_each_connection():
    assert [cell.plan.load.keepalive for cell in cells("[matrix]\nkeepalive = [1, 10]\n")] == [
        1,
        10,
    ]


def test_an_axis_that_is_not_carried_out_says_so_once():
    text = '[matrix]\nforwarding = ["dr", "nat", "tun"]\n'
    found = cells(text)

    assert [cell.name for cell in found if cell.refused is None] == ["forwarding=dr"]
    assert len(matrix.refusals(found)) == 1
    assert [cell.refused for cell in cells("[matrix]\ncpus = [2]\n", boots=True)] == [None]
    assert cells("[matrix]\ncpus = [2]\n", boots=True)[0].boot == {"cpus": 2}


def test_a_lab_made_anew_forwards_as_asked_and_ipvs_is_only_moved_from_there():
    found = cells('[matrix]\nforwarding = ["dr", "nat"]\nreal_servers = [1, 3]\n', boots=True)
    nat_one, nat_all = found[2:]

    assert [cell.refused for cell in found] == [None] * 4
    assert nat_all.boot == {"forwarding": "nat"}
    assert {d.forwarding for d in nat_all.plan.service.destinations} == {"nat"}
    assert nat_all.holds == (), "the lab that is up then has it so already"
    assert nat_one.holds[0].undo.splitlines() == [
        "ipvsadm -a -t 198.18.0.100:80 -r 198.18.0.12:80 -m -w 1",
        "ipvsadm -a -t 198.18.0.100:80 -r 198.18.0.13:80 -m -w 1",
    ]


def test_controls_are_aimed_past_the_virtual_service():
    found = cells(
        '[controls]\ndirect = true\nnull_server = true\nrouted = true\nrouter = "198.18.0.1"'
    )
    null, direct, routed, own = found

    assert (null.plan.url, direct.plan.url) == (
        "http://127.0.0.1:18080/",
        "http://198.18.0.11:80/",
    )
    assert [cell.path for cell in found] == ["past", "past", "routed", "ipvs"]
    assert [hold.host for hold in null.holds] == ["c1", "c2"]
    assert [hold.host for hold in routed.holds] == ["lb1", "c1", "c2"]
    assert routed.holds[1].do == "ip route add 198.18.0.11 via 198.18.0.1"
    assert routed.holds[1].undo == "ip route del 198.18.0.11 via 198.18.0.1"
    assert own.plan.url == "http://198.18.0.100:80/"


def test_behind_nat_nothing_goes_past_the_director():
    text = '[controls]\ndirect = true\nrouted = true\nrouter = "198.18.128.1"\n'
    first, *others = BASE["to"]
    behind = planned(text, to=[{**first, "forwarding": "nat"}, *others])

    direct, routed, _ = matrix.cells(behind)

    assert direct.refused.startswith("controls.direct: ")
    assert routed.refused is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[matrix]\nreal_servers = [4]\n", r"matrix\.real_servers: 4 .* 3 "),
        ("[matrix]\nreal_servers = [0]\n", r"matrix\.real_servers\[0\]"),
        ("[matrix]\npage_bytes = [1]\n", r"matrix\.page_path does not"),
        ("[matrix]\nmoon = [1]\n", "moon"),
        ('[matrix]\nforwarding = ["masq"]\n', r"matrix\.forwarding\[0\]"),
        ("[controls]\nrouted = true\n", r"controls\.router: .*needs this key"),
        ("[knee]\nloss = [1]\n", r"knee\.loss\[0\]"),
        ('[knee]\ntrial = "soon"\n', r"knee\.trial: 'soon'"),
        ("[knee]\ntrial = 0\n", r"knee\.trial: .* 0"),
        ("[price]\ndirector = 100\n", "currency"),
    ],
)
def test_a_wrong_table_names_its_key(text, said):
    with pytest.raises(PlanError, match=said):
        planned(text)


def test_a_node_without_an_address_cannot_be_aimed_at():
    servers = [{"host": "one", "name": "rs1"}, BASE["servers"][1]]
    plan = planned("[controls]\ndirect = true\n", servers=servers)

    with pytest.raises(PlanError, match="real_servers: rs1 needs an address"):
        matrix.cells(plan)


def test_the_director_forwards_on_one_card_only():
    text = '[controls]\nrouted = true\nrouter = "198.18.0.1"\n'
    forwards = cells(text)[0].holds[0]

    assert "ip -o route get 198.18.0.11" in forwards.do
    assert '"$dev/forwarding=1"' in forwards.do
    assert "ip_forward" not in forwards.do  # it resets other settings of every card
    assert matrix.cells(six(text))[0].refused.endswith("IPv4")
