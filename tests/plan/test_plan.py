"""Plans: what is read, and that every error names its key."""

import pytest

from dirtune import plan
from dirtune.bench import ports_and_duration
from dirtune.errors import PlanError
from dirtune.plan import values

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
    assert found.load.load_s == 201  # 10 s ramp, 130 s hold, 60 s window, and one more
    assert ports_and_duration.warnings(found) == ()


@pytest.mark.parametrize(
    ("text", "length"),
    [("500ms", 0.5), ("90s", 90), ("3m", 180), ("1.5 h", 5400), (7, 7), (0.25, 0.25)],
)
def test_durations(text, length):
    assert values.seconds(text) == length


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("rates", "rate", "rate"),
        ("rates = [150]", "rates = []", "load.rates"),
        ("rates = [150]", "rates = [0]", r"load\.rates\[0\]"),
        ("rates = [150]", "rates = [inf]", r"load\.rates\[0\]"),
        ("rates = [150]", "rates = [nan]", r"load\.rates\[0\]"),
        # Both would be trial r1e+06-1.
        (
            "rates = [150]",
            "rates = [1000000, 1000001]",
            r"load\.rates\[1\]: 1e\+06 .*load\.rates\[0\]",
        ),
        ("[load]", '[matrix]\nscheduler = ["rr", "rr"]\n[load]', r"matrix\.scheduler\[1\]: rr"),
        ('host = "c2"', 'host = "c1"', r"clients\[1\]: c1 .*clients\[0\]"),
        ('host = "c2"', 'host = "c1"\nname = "c2"', r"clients\[1\]: c1 "),
        ('host = "c2"', 'host = "c2"\naddress = "c2"', r"clients\[1\]\.address: 'c2' is not an"),
        ("198.18.0.100", "198.18.0.999", r"services\[0\]\.vip: '198\.18\.0\.999' is not an IPv4"),
        ("[load]", "[knee]\nloss = [1e-4, 1e-4]\n[load]", r"knee\.loss\[1\]: 0\.0001"),
        (
            "[load]",
            '[controls]\nrouter = "lb1"\n[load]',
            r"controls\.router: 'lb1' is not an IPv4",
        ),
        ("[load]", '[director]\nhost = "d"\naddress = "d"\n[load]', r"director\.address: 'd' is"),
        ("port = 80", 'port = 80\nflags = ["mh-port"]', r"services\[0\]\.flags: "),
        (
            "rates = [150]",
            "rates = [150]\ntimeout = inf",
            r"load\.timeout: .*infinite",
        ),
        ("rates = [150]", "rates = [150]\nwindow = nan", r"load\.window: .*infinite"),
        ("rates = [150]", 'rates = [150]\nwindow = "soon"', "load.window: 'soon'"),
        (
            "rates = [150]",
            'rates = [150]\n[compare]\nprimary = "cpu"',
            "compare.primary: cpu .*connect_ms",
        ),
        (
            "rates = [150]",
            'rates = [150]\n[compare]\ncovariate = "cpu_us_per_connection"',
            "compare.covariate: cpu_us_per_connection .*connect_ms",
        ),
        (
            "rates = [150]",
            'rates = [150]\n[compare]\ncovariate = "weather"',
            "compare.covariate: weather is not possible",
        ),
        (
            "rates = [150]",
            "rates = [150]\n[compare]\nrates = [200, 100, 204]",
            r"compare\.rates: 200 and 204",
        ),
        ("rates = [150]", "rates = [150]\nservice = 1", "load.service"),
        ("rates = [150]", "rates = [150]\nat_most = 12", r"load\.at_most: 12 .* Set .* to 16"),
        ("rates = [150]", "rates = [150]\nat_most = 8", r"load\.at_most: 8 .* Set .* to 16"),
        ("rates = [150]", "rates = [150]\npairs = 10\nat_most = 30", r"load\.at_most: .* to 20"),
        (
            "rates = [150]",
            "rates = [150]\npairs = 6\nat_most = 12",
            r"load\.at_most: .*pairs to 7",
        ),
        ("rates = [150]", 'rates = [150]\nduration = "5s"', "load.duration"),
        ("rates = [150]", "rates = [150]\nwarmup_max = 4", "load\\.warmup_max: .*shorter"),
        ("rates = [150]", "rates = [150]\nwarmup_max = -4", "load\\.warmup_max: .*negative"),
        ("rates = [150]", "rates = [150]\nduration = 20\nwarmup_max = 15", "load.duration"),
        ("rates = [150]", 'rates = [150]\ngenerator = "ab"', r"load\.generator"),
        ("[load]", '[knee]\n[load]\ngenerator = "wrk"', r"load\.generator: wrk is a closed loop"),
        ("rates = [150]", 'rates = [150]\ngenerator = "command"', r"load\.command: "),
        (
            "[load]",
            '[load]\ngenerator = "wrk"\nkeepalive = 2',
            "load.generator: wrk makes only one",
        ),
        ("[load]", '[matrix]\nkeepalive = [2]\n[load]\ngenerator = "wrk"', "wrk makes only one"),
        ("rates = [150]", 'rates = [150]\nforce = "198.18.0.9"', r"load\.force: 198\.18\.0\.9 is"),
        ("rates = [150]", 'rates = [150]\nwindow = "0s"', r"load\.window: .*0"),
        ("rates = [150]", "rates = [150]\ntimeout = 0", r"load\.timeout: .*0"),
        ("rates = [150]", 'rates = [150]\nprofile = "paper"', r"load\.profile"),
        ("rates = [150]", "rates = [150]\nprofile = [1]", r"load\.profile"),
        ("rates = [150]", 'rates = [150]\nprofile = "ci"\ngenerator = []', r"load\.generator"),
        ("[load]", 'settle = 3\n[load]\nprofile = "lab"', "settle"),
        ("port = 80", "port = 0", r"services\[0\]\.port"),
        ("port = 80", "fwmark = 1", r"services\[0\]: .*a vip and a port"),
        ("port = 80", 'protocol = "icmp"', r"services\[0\]\.protocol"),
        ('host = "c1"', 'name = "c1"', r"clients\[0\]"),
        ("[load]", "[lab]\n[load]", r"\[lab\]: .*dirtune lab up"),
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
        ("weight = 1", "a node or an address"),
        ('address = "198.18.0.11"\nforwarding = "fast"', r"destinations\[0\]\.forwarding"),
        (
            'address = "198.18.0"',
            r"services\[0\]\.destinations\[0\]\.address: '198\.18\.0' is not",
        ),
        (
            'address = "198.18.0.11"\n[[services.destinations]]\naddress = "198.18.0.11"',
            r"services\[0\]\.destinations\[1\]: 198\.18\.0\.11:80 ",
        ),
    ],
)
def test_destinations_are_checked(destination, named):
    text = SMALL.replace("port = 80", f"port = 80\n[[services.destinations]]\n{destination}")

    with pytest.raises(PlanError, match=named):
        plan.parse(text)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        # Line 1 of SMALL is empty; [[services]] is 2, vip 3, port 4, clients 5 and 7, [load] 9.
        ("port = 80", "port = 0", 4),
        ("port = 80", "port = 80\nprot = 1", 5),
        ('host = "c2"', "host = 2", 8),
        ('host = "c2"', 'name = "c2"', 7),
        ("rates = [150]", "rates = [150, 0]", 10),
        ("rates = [150]", 'rates = [150]\n\nwindow = "soon"', 12),
        ("rates = [150]", 'rates = [150]\nduration = "1s"', 11),
        ("rates = [150]", "rates = [150]\nservice = 7", 11),
        ("port = 80", 'port = 80\n[[services.destinations]]\nnode = "rs9"', 6),
        ("[load]", "[validity]\nlate = 300\n[load]", 10),
    ],
)
def test_errors_name_the_line(old, new, line):
    with pytest.raises(PlanError, match=rf"^line {line}: "):
        plan.parse(SMALL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        # Of EXAMPLE: the second destination's table is line 15, the second real server's 23.
        ("198.18.0.12", "198.18.0.11", r"^line 23: real_servers\[1\]: 198\.18\.0\.11 .*real"),
        (
            '  node = "rs2"',
            '  address = "198.18.0.11"',
            r"^line 15: services\[0\]\.destinations\[1\]: 198\.18\.0\.11:80 ",
        ),
        (
            "[[real_servers]]",
            '[[services]]\nvip = "198.18.0.100"\nport = 80\n[[real_servers]]',
            r"services\[1\]: TCP 198\.18\.0\.100:80 .*services\[0\]",
        ),
        ('"dr"          #', '"dr"\nport = 8080 #', r"destinations\[0\]\.port: .*80.*use nat"),
    ],
)
def test_what_ipvs_could_not_have_is_no_plan(old, new, named):
    with pytest.raises(PlanError, match=named):
        plan.parse(plan.EXAMPLE.replace(old, new, 1))


def test_a_key_that_is_not_there_has_the_line_of_its_table():
    text = SMALL + "[[clients]]\n[[clients]]\nhost = 'c4'\n"

    with pytest.raises(PlanError, match=r"^line 11: clients\[2\]: .*`host`"):
        plan.parse(text)
    with pytest.raises(PlanError, match=r"^Object missing required field `load`"):
        plan.parse(SMALL.partition("[load]")[0])


def test_profiles_are_defaults():
    standard = plan.parse(SMALL + 'profile = "standard"\nwindow = "90s"\n')
    load = standard.load

    assert (load.ramp_s, load.warmup_s, load.window_s, load.settle) == (10, 130, 90, "drain")
    assert (load.lead_s, load.load_s, standard.settle.max_s) == (140, 231, 130)
    lab = plan.parse(SMALL + 'profile = "lab"\n')
    assert (lab.load.ramp_s, lab.load.warmup_s, lab.load.window_s) == (3, 5, 10)
    ci = plan.parse(SMALL + 'profile = "ci"\n[settle]\nseconds = 2\n')
    assert (ci.load.pairs, ci.load.repeats, ci.settle.seconds, ci.settle.max_s) == (1, 1, 2, 15)


def test_a_ramp_is_for_what_can_be_started_in_steps():
    with pytest.raises(PlanError, match=r"load\.ramp: wrk"):
        plan.parse(SMALL + 'generator = "wrk"\nramp = 3\nprofile = "lab"\n')
    # A profile's ramp is only a default.
    assert plan.parse(SMALL + 'generator = "wrk"\nprofile = "lab"\n').load.lead_s == 5


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
        (2000, ["at least 4 clients"]),  # 1000/s; 64512 / 120 = 537.6/s; 2000 / 537.6 = 3.7
        ("200]\n[knee]\nhighest = 2000\n[compare", ["at least 4 clients"]),
        ("400]\n[matrix]\nclients = [2, 1]\n[compare", ["ip_local_port_range"]),  # 400/s
    ],
)
def test_tuple_budget(rate, said):
    long = SMALL.replace("rates = [150]", f'duration = "3m"\nrates = [{rate}]')

    warned = ports_and_duration.warnings(plan.parse(long))

    assert len(warned) == len(said)
    assert all(part in text for part, text in zip(said, warned, strict=True))


def test_short_trials_are_said():
    (said,) = ports_and_duration.warnings(plan.parse(SMALL))

    assert "are short" in said


def test_the_estimate_counts_the_gaps():
    # 16 trials of 2 + 10 + 1 s of load, 3 s idle, 1 s time-out, 4 s of odds and ends.
    short = plan.parse(SMALL + "warmup = 2\n")
    assert ports_and_duration.estimate_s(short, 16) == 16 * (13 + 3 + 1 + 4)
    # 201 s of load and 120 s until the table has drained: 8 pairs at 3 rates take 4 h 23 min.
    standard = plan.parse(SMALL + 'profile = "standard"\n')
    assert ports_and_duration.estimate_s(standard, 48) == 48 * (201 + 120 + 3 + 1 + 4)


def test_arms_are_compared_at_the_loads_first_rate_or_at_those_named():
    load = SMALL.replace("rates = [150]", "rates = [150, 300]")
    one, three = plan.parse(load), plan.parse(f"{load}[compare]\nrates = [320, 400, 460]\n")

    assert (one.pair_rates, one.compared_at) == ((150,), (None,))
    assert (three.pair_rates, three.compared_at) == ((320, 400, 460), (320, 400, 460))


def test_two_looks_are_planned_by_at_most():
    two = plan.parse(SMALL + "pairs = 7\nat_most = 14\n")

    assert (two.load.pairs, two.load.at_most) == (7, 14)
    assert plan.parse(SMALL).load.at_most is None


@pytest.mark.parametrize(
    ("pairs", "at_most", "planned"),
    [(None, None, (8, 16)), (4, None, (4, None)), (10, 20, (10, 20)), (None, 16, (8, 16))],
)
def test_other_numbers_of_pairs_replace_the_plans(pairs, at_most, planned):
    changed = plan.with_pairs(plan.parse(SMALL + "at_most = 16\n"), pairs, at_most)

    assert (changed.load.pairs, changed.load.at_most) == planned


def test_other_numbers_of_pairs_keep_the_rule():
    with pytest.raises(PlanError, match=r"load\.at_most: 16 is not twice load\.pairs \(10\)"):
        plan.with_pairs(plan.parse(SMALL), 10, 16)


def test_what_the_example_only_mentions_is_a_plan_too():
    text = plan.EXAMPLE.replace("\n# [", "\n[")
    lines = [line.removeprefix("# ") if "=" in line else line for line in text.splitlines()]
    found = plan.parse("\n".join(lines))

    assert found.knee.loss == (1e-4,)
    assert (found.controls.link, found.controls.router) == (True, "198.18.0.1")
    assert (found.matrix.real_servers, found.matrix.clients) == ((1, 2), (1, 2))
    assert (found.price.currency, found.price.director) == ("USD", 2500)
