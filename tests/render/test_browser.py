"""The pages of reports in a browser: what is drawn, what a keyboard reaches, what fits.

UPDATE_SCREENSHOTS=1 writes the pictures in docs/images again.
"""

import os
import shutil
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("altair", reason="charts need the extra `report`")
pytest.importorskip("playwright", reason="needs Playwright")
pytest.importorskip("axe_playwright_python", reason="needs axe-core")

from axe_playwright_python import sync_playwright as axe
from playwright import sync_api as playwright

from dirtune.analyse.run import CpuShare
from dirtune.bench import store
from dirtune.render import audit_page
from dirtune.render.report import html, of_comparisons, of_document, of_session
from tests.render import inputs
from tests.render.crowded import crowded
from tests.render.test_hostile_names import EVIL, hostile

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the package chromium")
ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs/images"


def timed():
    """Return a run whose trials follow one another, on a director with four CPUs."""
    run = crowded()
    per_cpu = {f"cpu{n}": {"softirq": CpuShare(10.0 * n, 1.0)} for n in range(4)}
    trials = tuple(
        msgspec.structs.replace(
            trial,
            started=f"2026-01-02T10:{n:02}:00+00:00",
            signals={"director": {"busy_percent": 50.0 + n}, "rs1": {"busy_percent": 20.0}},
            nodes=tuple(
                msgspec.structs.replace(node, per_cpu=per_cpu if node.role == "director" else {})
                for node in trial.nodes
            ),
        )
        for n, trial in enumerate(run.trials)
    )
    return msgspec.structs.replace(run, trials=trials)


def long_names():
    """Return a run with names of 10,000 characters, and with names that are written from right
    to left."""
    run = timed()
    long = "x" * 10_000
    steps = (msgspec.structs.replace(run.steps[0], note=long, command=long),)
    inventory = {"\u05e9\u05dc\u05d5\u05dd" * 20: {"kernel": long}}
    return msgspec.structs.replace(hostile(run), title=long, steps=steps, inventory=inventory)


SHAPES = {
    "compared": lambda: html(timed()),
    "swept": lambda: html(store.example("paper")),
    "paper": lambda: html(store.example("paper"), paper=True),
    "unfinished": lambda: html(inputs.UNFINISHED),
    "hostile": lambda: html(long_names()),
    "audit": lambda: of_document(audit_page.document(inputs.REPORT)),
    "two-runs": lambda: of_comparisons(crowded().comparisons, ("before", EVIL)),
    "session": lambda: of_session(inputs.SESSION),
    "session-hostile": lambda: of_session(hostile(inputs.SESSION)),
    "audit-hostile": lambda: of_document(audit_page.document(hostile(inputs.REPORT))),
    "recorded": lambda: html(store.load(ROOT / "reports/crowded-line")),
}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return a function that writes the page of a shape once, and returns its URL."""
    folder = tmp_path_factory.mktemp("pages")

    def url(shape):
        path = folder / f"{shape}.html"
        if not path.exists():
            path.write_text(SHAPES[shape]())
        return path.as_uri()

    return url


@pytest.fixture
def show(browser, pages):
    """Return a function that opens the page of a shape; the page may ask for nothing else."""
    contexts, asked, said = [], [], []

    def opened(shape, *, width=1200, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append((message.type, message.text)))
        page.on("pageerror", lambda error: said.append(("error", str(error))))
        page.goto(pages(shape))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith("file:")] == []
    assert len(asked) == len(contexts)
    # Vega-Lite warns that only the width of a chart adapts to the page.
    assert [text for kind, text in said if kind != "warning"] == []


def open_all(page):
    page.click("#all")
    page.locator("[data-chart]:not([data-drawn='done'])").first.wait_for(state="detached")


def marks(page, chart, kind):
    """Return the number of marks of *kind* in a drawn chart; those of axes do not count."""
    own = f"[data-chart='{chart}'] g.mark-{kind}.role-mark"
    page.wait_for_selector(f"[data-chart='{chart}'][data-drawn='done']")
    return page.locator(f"{own} > path, {own} > line").count()


# The run has 8 pairs, 4 timed handlers, 3 nodes in two profiled trials, and 19 trials, of which
# one is not valid. The director has 4 states and 4 CPUs, the real servers have 3 states.
@pytest.mark.parametrize(
    ("chart", "kind", "count"),
    [
        ("ratio", "symbol", 2),
        ("ratio", "rule", 3),
        ("ratio", "rect", 1),
        ("handlers", "rect", 4),
        ("pairs", "line", 8),
        ("pairs", "symbol", 16),
        ("latency", "symbol", 16 * 3),
        ("cpu-states", "rect", 2 * (4 + 3 + 3)),
        ("busy", "rect", 19 + 3 * 19),
        ("per-cpu", "rect", 2 * 4),
    ],
)
def test_every_number_has_its_mark(drawn, chart, kind, count):
    assert marks(drawn, chart, kind) == count


@pytest.fixture(scope="module")
def drawn(browser, pages):
    page = browser.new_page()
    page.goto(pages("compared"))
    open_all(page)
    yield page
    page.close()


def test_a_sweep_shows_each_trial_and_its_reason(show):
    page = show("swept")
    open_all(page)
    run = store.example("paper")
    swept = [t for t in run.trials if t.kind == "judged" and t.cell != "routed"]

    assert marks(page, "capacity", "symbol") == len(swept)
    hollow = page.locator("[data-chart='capacity'] g.mark-symbol path[fill='transparent']")
    assert hollow.count() == sum(not t.valid for t in swept) > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_leaves_the_page_at_any_width(show, shape):
    page = show(shape, width=360)
    open_all(page)
    for width in (360, 800, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        outside = page.evaluate(
            """() => [...document.querySelectorAll("body *")].filter(e => !e.closest("svg")
              && !e.parentElement.closest(".scroll, pre, .long, #vg-tooltip-element")
              && e.id !== "vg-tooltip-element"
              && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML
              .slice(0, 80))"""
        )
        assert outside == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shape", SHAPES)
def test_axe_finds_nothing_serious(show, shape, scheme):
    page = show(shape, color_scheme=scheme)
    open_all(page)
    found = axe.Axe().run(page).response["violations"]

    assert [
        (rule["id"], rule["nodes"][0]["html"][:120])
        for rule in found
        if rule["impact"] in {"serious", "critical"}
    ] == []


def test_a_keyboard_folds_toggles_and_copies(show):
    page = show("compared", permissions=["clipboard-read", "clipboard-write"])
    summary = page.locator("#handler-cost > summary")

    summary.focus()
    page.keyboard.press("Enter")
    assert marks(page, "handlers", "rect") == 4

    series = page.locator("#handler-cost .series button", has_text="sym53c8xx")
    for count in (3, 4):
        series.focus()
        page.keyboard.press("Space")
        bars = page.locator("[data-chart='handlers'] g.mark-rect.role-mark > path")
        playwright.expect(bars).to_have_count(count)

    page.locator(".copy").first.focus()
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("status")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "dirtune fix apply irq/shared-with-nic --confirm 120"

    # Everything else that can be pressed is reached with Tab alone.
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
    assert {"Open all", "Finding", "Notes", "Numbers of this char"} <= reached
    assert {"Copy", "Copied"} & reached


def test_a_page_without_scripts_shows_its_charts_and_folds(show):
    page = show("compared", java_script_enabled=False)

    assert page.locator("[data-chart='ratio'] svg").is_visible()
    page.locator("#comparison > summary").press("Enter")
    assert page.locator("[data-chart='pairs'] svg").is_visible()


def test_paper_shows_every_section(show):
    page = show("compared")
    page.emulate_media(media="print")

    assert page.locator("[data-chart='pairs'] svg").is_visible()
    assert page.locator("#notes > p").last.is_visible()
    assert not page.locator("#all").is_visible()


def test_hostile_names_run_nothing(show):
    page = show("hostile")
    open_all(page)

    assert page.locator("img, iframe").count() == 0
    assert page.locator("script").count() == 3
    assert page.get_by_text("<img src=x onerror=alert(1)>").count() > 0


@pytest.mark.skipif("UPDATE_SCREENSHOTS" not in os.environ, reason="UPDATE_SCREENSHOTS is not set")
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (360, "light")])
def test_screenshots_for_the_documentation(show, width, scheme):
    page = show("recorded", width=width, color_scheme=scheme)
    page.wait_for_selector("[data-chart='ratio'][data-drawn='done']")
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"report-{width}-{scheme}.png")
