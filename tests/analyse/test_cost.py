"""Costs, scaling and prices by the paper's own figures, worked out by hand."""

import pytest
from facts import cell, node, run, trial

from dirtune.analyse import cost
from dirtune.analyse.run import Knee
from dirtune.render import run_tables


def test_cpu_per_connection_of_figure_16():
    # Director with one CPU, 45.83 % idle at 6466.2 replies/s: 0.5417 / 6466.2 = 83.8 us.
    # rs1 with four, 1.74 % idle, a quarter of the load: 4 x 0.9826 / 1616.55 = 2431 us.
    servers = tuple(node(f"rs{n}", "real server", idle=1.74) for n in range(1, 5))
    found = cost.node_costs(
        trial(7000, 6466.2, nodes=(node("lb1", "director", idle=45.83, cpus=1), *servers))
    )

    assert [each.node for each in found] == ["lb1", "rs1", "rs2", "rs3", "rs4"]
    assert found[0].us_per_connection == pytest.approx(83.8, abs=0.05)
    assert found[1].us_per_connection == pytest.approx(2431, abs=1)


def test_a_real_servers_own_share_counts_where_it_is_known():
    servers = tuple(node(f"rs{n}", "real server", idle=50, cpus=1) for n in (1, 2))
    found = cost.node_costs(trial(300, 300, nodes=servers, shares={"rs1": 200, "rs2": 100}))

    assert [each.us_per_connection for each in found] == pytest.approx([2500, 5000])


def test_what_a_control_passes_by_has_no_cost():
    roles = {"lb1": "director", "rs1": "real server", "rs2": "real server", "c1": "client"}
    found = tuple(node(name, role, idle=50, cpus=1) for name, role in roles.items())

    def costs(cell, nodes):
        return [each.node for each in cost.node_costs(trial(100, 100, cell=cell, nodes=nodes))]

    assert costs("null_server", found) == ["c1"]
    assert costs("direct", found) == ["c1"]  # which of the two took it all is not known
    assert costs("direct", (found[0], found[1], found[3])) == ["rs1", "c1"]
    assert costs("routed", found) == ["lb1", "c1"]
    assert costs("scheduler=rr", found) == ["lb1", "rs1", "rs2", "c1"]


def test_stolen_time_and_unknown_cpus():
    stolen = node("c1", "client", idle=40, cpus=1, steal=10.0)
    unknown = node("c2", "client", idle=40, cpus=None)

    (only,) = cost.node_costs(trial(100, 100, nodes=(stolen, unknown)))
    # Half a CPU for 50 connections/s.
    assert (only.node, only.us_per_connection) == ("c1", pytest.approx(10_000))


CELLS = (
    cell("cpus=1,real_servers=1", cpus=1, real_servers=1),
    cell("cpus=1,real_servers=4", cpus=1, real_servers=4),
    cell("cpus=4,real_servers=4", cpus=4, real_servers=4),
)


def swept(name, replies, **changes):
    return trial(replies + 600, replies, cell=name, **changes)


def matrix(**changes):
    trials = (
        swept(CELLS[0].name, 3897.9),
        swept(CELLS[1].name, 6466.2),
        swept(CELLS[1].name, 9999.0, validity="noisy"),
        swept(CELLS[2].name, 12296.5),
    )
    return run(*trials, cells=CELLS, **changes)


def test_scaling_against_so_many_times_one():
    # 6466.2 / (4 x 3897.9) = 41.5 %; 12296.5 / (4 x 6466.2) = 47.5 %. The noisy trial is not
    # in it, and four CPUs with one real server were not measured.
    found = {(row.axis, row.others, row.nodes): row.efficiency for row in cost.scaling(matrix())}

    assert found == {
        ("real_servers", "cpus=1", 1): 1,
        ("real_servers", "cpus=1", 4): pytest.approx(0.4147, abs=1e-4),
        ("cpus", "real_servers=4", 1): 1,
        ("cpus", "real_servers=4", 4): pytest.approx(0.4754, abs=1e-4),
    }


def test_the_trial_meant_for_a_look_at_the_nodes_comes_before_a_faster_one():
    sampled = {"nodes": (node("lb1", "director", idle=50),), "cell": "a"}
    slow = trial(100, 90, kind="observed", **sampled)
    fast = trial(100, 100, **sampled)
    probed = trial(100, 110, kind="profiled", **sampled)

    assert cost.looked_at(run(fast, slow, probed)) == (slow,)
    assert cost.looked_at(run(trial(100, 80, **sampled), fast, trial(200, 200))) == (fast,)


def test_a_cell_that_was_not_saturated_has_no_peak_to_scale_or_price():
    kept_up = trial(300, 300, cell=CELLS[1].name)
    found = run(swept(CELLS[0].name, 3897.9), kept_up, cells=CELLS, plan_document={"price": PRICE})

    assert cost.scaling(found) == ()
    assert [row for row in cost.price_per_rate(found) if isinstance(row, cost.PricePerRate)] == []


def test_network_in_bytes_and_bits():
    found = cost.network_io(trial(1, 1, counters={"bytes_in": 3_000, "bytes_out": 7_000}), 80_000)

    assert found == (1000.0, 8000.0, 0.1)
    assert cost.network_io(trial(1, 1, counters={"bytes_in": 3_000}), None) is None


PRICE = {"currency": "USD", "director": 7500.0, "of": {"cpus": 4, "real_servers": 4}}


def test_a_price_is_not_divided_by_the_rate_of_another_configuration():
    # The paper put the price of four processors over the rate of one.
    found = cost.price_per_rate(matrix(plan_document={"price": PRICE}))

    refused = [row for row in found if isinstance(row, cost.NotPriced)]
    assert [row.cell for row in refused] == [CELLS[0].name, CELLS[1].name]
    assert "cpus 1 instead of 4" in refused[1].differences
    (priced,) = [row for row in found if isinstance(row, cost.PricePerRate)]
    assert (priced.cell, priced.scope) == (CELLS[2].name, "director only")
    assert priced.per_rate == pytest.approx(7500 / 12296.5)
    assert priced.spread is None  # one trial


def test_scopes_and_the_uncertainty_of_the_rate():
    trials = (trial(4000, 3600), trial(4000, 3680))
    services = [{"destinations": [{}, {}, {}, {}]}]
    prices = {"currency": "USD", "director": 7500, "real_server": 1000, "switch": 500}
    knee = Knee(1e-4, "", 3000.0, 3100.0, "system", "")
    plan = {"price": prices, "services": services, "load": {"service": 0}}
    found = cost.price_per_rate(run(*trials, plan_document=plan, knees=(knee,)))

    assert [(row.scope, row.price) for row in found[::2]] == [
        ("director only", 7500),
        ("director and 4 real servers", 11500),
        ("director, 4 real servers and switch", 12000),
    ]
    # 3600 and 3680: mean 3640, sd 56.57.
    assert found[0].per_rate == pytest.approx(2.0604, abs=1e-4)
    assert found[0].spread == pytest.approx((7500 / 3696.57, 7500 / 3583.43), rel=1e-4)
    assert found[1].metric == "knee at 0.01 % lost"
    assert found[1].per_rate == 2.5


def test_what_ipvs_adds_to_routing():
    def cost_of(name, offered, us):
        return trial(offered, offered, cell=name, metrics={"cpu_us_per_connection": us})

    found = cost.ipvs_cost_us(
        run(
            cost_of("routed", 100, 60),
            cost_of("", 100, 84),
            cost_of("", 100, 86),
            cost_of("", 200, 90),
        )
    )

    assert found == (("", 100, 25),)


def forwarding(*trials):
    cells = [
        cell(f"forwarding={method},cpus=1", forwarding=method, cpus=1) for method in ("dr", "nat")
    ]
    metrics = ("cpu_us_per_connection", "packets_per_connection")
    return run(
        *(
            trial(
                offered,
                offered,
                cell=f"forwarding={method},cpus=1",
                metrics=dict(zip(metrics, figures, strict=True)),
                **changes,
            )
            for method, offered, figures, changes in trials
        ),
        cells=tuple(cells),
    )


def test_what_nat_takes_is_its_packets_times_what_each_takes():
    found = cost.forwarded(
        forwarding(
            ("dr", 100, (1000, 5), {}),
            ("dr", 200, (900, 5), {}),  # NAT was not measured at this rate
            ("nat", 100, (1700, 9), {}),
            ("nat", 100, (1900, 9), {}),
            ("nat", 100, (9999, 9), {"validity": "noisy"}),
        )
    )

    # 1800 / 1000 = 1.8; 9 / 5 = 1.8: as much for each packet, and only more of them.
    assert found == (("cpus=1", 100, "nat", "dr", 1.8, 1.8, 1.0),)


def test_packets_that_nobody_counted_explain_nothing():
    only = {"cpu_us_per_connection": 1000}
    cells = (cell("forwarding=dr", forwarding="dr"), cell("forwarding=nat", forwarding="nat"))
    trials = (trial(100, 100, cell=each.name, metrics=only) for each in cells)

    assert cost.forwarded(run(*trials, cells=cells)) == ()


def test_nat_beside_direct_routing_in_words():
    made = forwarding(("dr", 100, (1000, 5), {}), ("nat", 100, (1800, 10), {}))

    (line,) = (row for row in run_tables.text(made, "simple").splitlines() if "compared" in row)
    assert line.startswith("cpus=1, nat compared with dr at 100/s: ")
    assert "per connection, the director spends 1.80 times the CPU time" in line
    assert "2.00 times the packets" in line
    assert "per packet, it spends 0.90 times the CPU time" in line


def clients(peaks, knees=(), apart=(-1, 1)):
    """Return a run over numbers of clients, each swept to where replies fall behind."""
    cells = {n: cell(f"clients={n}", clients=n) for n in {*peaks, *dict(knees)}}
    trials = (
        trial(rate + 600, rate + by, cell=cells[n].name)
        for n, rate in peaks.items()
        for by in apart
    )
    found = tuple(
        Knee(1e-4, cells[n].name, rate, rate + 5, limit, "more is lost above it")
        for n, (rate, limit) in knees
    )
    return run(*trials, cells=tuple(cells.values()), knees=found)


@pytest.mark.parametrize(
    ("peaks", "enough"),
    [
        ({2: 300, 4: 303}, 2),
        ({4: 303, 2: 300, 1: 150}, 2),
        ({1: 150, 2: 300}, None),
        ({1: 100, 2: 150, 4: 290}, None),
        ({1: 300, 2: 200}, 1),  # whatever made two slower, it was not a want of clients
    ],
)
def test_the_clients_limit_where_more_of_them_make_more(peaks, enough):
    (found,) = cost.by_clients(clients(peaks))

    assert (list(found.made.items()), found.enough) == (sorted(peaks.items()), enough)


def test_more_that_may_be_chance_is_not_for_want_of_clients():
    peaks = {1: 300, 2: 340}

    # +-30 in two trials: a standard error of 30, of the difference 42; 40 is less than three.
    for apart in ((-30, 30), (0,)):
        assert not cost.by_clients(clients(peaks, apart=apart))[0].known
        said = run_tables.text(clients(peaks, apart=apart), "simple")
        assert "340/s with 2 clients. The difference may be chance" in said
    (found,) = cost.by_clients(clients(peaks, apart=(-5, 5)))
    assert (found.enough, found.known) == (None, True)
    # Nor is that they made as much known where twenty per cent more would be chance.
    assert not cost.by_clients(clients({1: 300, 2: 310}, apart=(-50, 50)))[0].known


def test_of_clients_only_peaks_and_knees_that_were_reached_tell():
    reached, above = (300, "system"), (600, "clients")
    found = cost.by_clients(clients({}, [(1, reached), (2, (301, "system")), (4, above)]))

    assert found == (("", "knee at 0.01 % lost", {1: 300, 2: 301}, 1, True),)
    assert cost.by_clients(clients({1: 300})) == ()
    kept_up = (trial(100, 100, cell=f"clients={n}") for n in (1, 2))
    cells = tuple(cell(f"clients={n}", clients=n) for n in (1, 2))
    assert cost.by_clients(run(*kept_up, cells=cells)) == ()


def test_what_more_clients_made_in_words():
    said = run_tables.text(clients({1: 300, 2: 301}), "simple")
    assert (
        "Peak: 300/s with 1 client, 301/s with 2 clients. More than 1 client gained nothing, so"
        " the clients are not the limit."
    ) in said
    assert "so the clients are the limit" in run_tables.text(clients({1: 150, 2: 301}), "simple")


def test_a_knee_says_where_to_compare():
    found = run_tables.text(clients({}, [(1, (300, "system")), (2, (600, "clients"))]), "simple")

    assert "compare before and after at 240, 300, 345/s" in found
    assert found.count("compare before and after") == 1, "where the clients limit it is no knee"
