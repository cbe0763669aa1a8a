"""The alert rules and the dashboard fit the metrics, and Prometheus itself reads them."""

import functools
import http.server
import itertools
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from dirtune.checks import discovery
from dirtune.render import prometheus, watch
from tests.render import inputs

ROOT = Path(__file__).parents[2]
RULES = ROOT / "contrib/monitoring/dirtune.rules.yml"
DASHBOARD = json.loads((ROOT / "contrib/monitoring/grafana-dashboard.json").read_text())
DOCUMENT = (ROOT / "docs/monitoring.md").read_text()
QUERIES = tuple(t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"])
METRIC = re.compile(r"\bdirtune_\w+")

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool, of Debian's package prometheus"
)


@functools.cache
def exposition():
    """Return what an audit and a watch write for the textfile collector."""
    audit = generate_latest(prometheus.registry(inputs.REPORT, time.time()))
    return audit + watch.metrics(("drops",), inputs.FIRED)


def names(text):
    return set(METRIC.findall(text))


def written():
    return {row.split()[2] for row in exposition().decode().splitlines() if "# TYPE" in row}


def promtool(*words):
    argv = ("promtool", *words)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@needs_promtool
def test_the_alerts_fire_at_their_thresholds(tmp_path):
    cases = tmp_path / "alerts.yml"
    cases.write_text(
        (Path(__file__).with_name("alerts.yml")).read_text().replace("RULES", f"{RULES}")
    )

    checked, tested = promtool("check", "rules", str(RULES)), promtool("test", "rules", str(cases))

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_case():
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    cases = Path(__file__).with_name("alerts.yml").read_text()

    assert alerts == set(re.findall(r"alertname: (\w+)", cases))


@needs_promtool
def test_promtool_parses_every_query_of_the_dashboard(tmp_path):
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(QUERIES)]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    checked = promtool("check", "rules", str(path))

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(QUERIES)} rules found" in checked.stdout


@needs_promtool
def test_promtool_has_no_objection_to_the_metrics():
    argv = ("promtool", "check", "metrics")
    done = subprocess.run(argv, input=exposition(), capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_rules_and_dashboard_use_metrics_that_exist():
    used = names(RULES.read_text()) | names("\n".join(QUERIES))

    assert used <= written()
    # A person asks for these two, when a graph is empty or lacks a line.
    unused = {"dirtune_watch_last_fired_timestamp_seconds", "dirtune_audit_series_omitted"}
    assert written() - used <= unused


def test_the_document_lists_every_metric():
    rows = {row.split("|")[1].strip() for row in DOCUMENT.splitlines() if row[:10] == "| dirtune_"}

    assert rows == written()


def test_the_checks_that_are_named_exist():
    text = RULES.read_text() + json.dumps(DASHBOARD)
    named = set(re.findall(r"\b(?:softirq|nic|irq|ipvs|conntrack)/[a-z-]+", text))

    assert named
    assert not [name for name in named if discovery.no_such(name)]


def test_the_panels_have_their_own_place():
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(set(ids)) == len(ids)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in itertools.combinations(places, 2):
        assert (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        ), (a, b)


def test_the_dashboard_asks_whichever_data_source_was_chosen():
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    targets = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]

    assert variables["datasource"]["type"] == "datasource"
    assert {one["datasource"]["uid"] for one in (*DASHBOARD["panels"], *targets)} == {
        "${datasource}"
    }
    assert variables["host"]["query"] == "label_values(dirtune_audit_findings, host)"


class _Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(exposition())

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def asked(port, query):
    """Return the series that Prometheus answers; raises for a query that it refuses."""
    words = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}/api/v1/query?{words}", timeout=5
    ) as reply:
        return json.load(reply)["data"]["result"]


@pytest.fixture
def server(tmp_path):
    """Start a Prometheus on loopback that has read the metrics twice, and return its port."""
    if not shutil.which("prometheus"):
        pytest.skip("needs Debian's package prometheus")
    source = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Metrics)
    threading.Thread(target=source.serve_forever, daemon=True).start()
    target, port = f"127.0.0.1:{source.server_port}", free_port()
    scrape = {"job_name": "dirtune", "static_configs": [{"targets": [target]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [scrape],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    argv = (
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not ready(port):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait(30)
        source.shutdown()
        source.server_close()


def ready(port):
    try:
        found = asked(port, "count_over_time(dirtune_audit_timestamp_seconds[1m]) >= 3")
    except OSError:
        return False
    return bool(found)


@pytest.mark.long  # Prometheus starts and reads the metrics three times
def test_prometheus_answers_every_panel(server):
    empty = [query for query in QUERIES if not asked(server, query.replace("$host", ".*"))]
    alerts = {one["metric"]["alertname"] for one in asked(server, "ALERTS")}

    assert not empty
    # What the inputs hold: 0.75 of conntrack, 7.3 entries per bucket and no change of a counter.
    assert alerts == {
        "DirtuneHostNotAudited",
        "DirtuneHighFinding",
        "DirtuneNicLosesPackets",
        "DirtuneWastedHandlers",
    }
