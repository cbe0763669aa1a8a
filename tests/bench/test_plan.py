"""Plans: what is read, and that every error names its key."""

import pytest

from dirtune.bench import plan
from dirtune.errors import PlanError

SMALL = """
[[services]]
vip = "198.18.0.100"
port = 80
[[clients]]
host = "c1"
[[clients]]
host = "c2"
[load]
rates = [150]
"""


def test_defaults_of_a_small_plan():
    found = plan.parse(SMALL)

    assert found.director.host == "local"
    assert found.hosts == ("local", "c1", "c2")
    assert found.url == "http://198.18.0.100:80/"
    assert (found.load.warmup_s, found.load.window_s, found.load.timeout_s) == (5, 10, 1)
    assert found.load.load_s == 16
    assert (found.load.pairs, found.compare.primary) == (8, "cpu_us_per_connection")


def test_the_example_is_a_plan():
    found = plan.parse(plan.EXAMPLE)

    assert [d.node for d in found.service.destinations] == ["rs1", "rs2"]
    assert found.load.load_s == 191
    assert plan.warnings(found) == ()


@pytest.mark.parametrize(
    ("text", "length"),
    [("500ms", 0.5), ("90s", 90), ("3m", 180), ("1.5 h", 5400), (7, 7), (0.25, 0.25)],
)
def test_durations(text, length):
    assert plan.seconds(text) == length


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("rates", "rate", "rate"),
        ("rates = [150]", "rates = []", "load.rates"),
        ("rates = [150]", "rates = [0]", r"load\.rates\[0\]"),
        ("rates = [150]", 'rates = [150]\nwindow = "soon"', "load.window: 'soon'"),
        ("rates = [150]", "rates = [150]\nservice = 1", "load.service"),
        ("rates = [150]", 'rates = [150]\nduration = "5s"', "load.duration"),
        ("rates = [150]", 'rates = [150]\ngenerator = "wrk"', "load.generator"),
        ("port = 80", "port = 0", r"services\[0\]\.port"),
        ("port = 80", "fwmark = 1", r"services\[0\]: the load needs"),
        ("port = 80", 'protocol = "icmp"', r"services\[0\]\.protocol"),
        ('host = "c1"', 'name = "c1"', r"clients\[0\]"),
        ("[load]", "[lab]\n[load]", r"\[lab\]: a lab writes its own plan"),
        ("[load]", "[load", "not TOML"),
    ],
)
def test_errors_name_the_key(old, new, named):
    with pytest.raises(PlanError, match=named):
        plan.parse(SMALL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("destination", "named"),
    [
        ('node = "rs9"', "no real server is named 'rs9'"),
        ("weight = 1", "needs a node or an address"),
        ('address = "198.18.0.11"\nforwarding = "fast"', r"destinations\[0\]\.forwarding"),
    ],
)
def test_destinations_are_checked(destination, named):
    text = SMALL.replace("port = 80", f"port = 80\n[[services.destinations]]\n{destination}")

    with pytest.raises(PlanError, match=named):
        plan.parse(text)


def test_the_file_is_named(tmp_path):
    (tmp_path / "plan.toml").write_text("title = 3")

    with pytest.raises(PlanError, match=r"plan\.toml: "):
        plan.read(tmp_path / "plan.toml")
    with pytest.raises(PlanError, match=r"absent\.toml: No such file"):
        plan.read(tmp_path / "absent.toml")


def test_ssh_config_is_relative_to_the_plan(tmp_path):
    (tmp_path / "plan.toml").write_text('ssh_config = "lab/config"\n' + SMALL)

    assert plan.read(tmp_path / "plan.toml").ssh_config == str(tmp_path / "lab/config")


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (400, []),  # 200/s per client; 28232 ports / 120 s = 235/s
        (600, ["ip_local_port_range"]),  # 300/s
        (2000, ["take 4 clients"]),  # 1000/s; 64512 / 120 = 537.6/s; 2000 / 537.6 = 3.7
    ],
)
def test_tuple_budget(rate, said):
    long = SMALL.replace("[150]", f'[{rate}]\nduration = "3m"')

    warned = plan.warnings(plan.parse(long))

    assert len(warned) == len(said)
    assert all(part in text for part, text in zip(said, warned, strict=True))


def test_short_trials_are_said():
    (said,) = plan.warnings(plan.parse(SMALL))

    assert "are short" in said


def test_what_the_example_only_mentions_is_a_plan_too():
    text = plan.EXAMPLE.replace("\n# [", "\n[")
    lines = [line.removeprefix("# ") if "=" in line else line for line in text.splitlines()]
    found = plan.parse("\n".join(lines))

    assert found.knee.loss == (1e-4,)
    assert (found.controls.link, found.controls.router) == (True, "198.18.0.1")
    assert found.matrix.real_servers == (1, 2)
    assert (found.price.currency, found.price.director) == ("USD", 2500)
