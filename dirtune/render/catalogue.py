"""The catalogue of checks as a list, a page, JSON, and docs/checks.md."""

from collections.abc import Sequence

from tabulate import tabulate

from dirtune.checks import Check
from dirtune.render.json_documents import ChecksDocument

_TRUST = {
    "A": "read in kernel source or reproduced",
    "B": "documented by a vendor, distribution or operator",
    "C": "an expert's rule, not calibrated",
}


def listing(checks: Sequence[Check], *, tablefmt: str = "plain") -> str:
    """Return one row per check."""
    rows = [(check.id, check.severity.value, check.title) for check in checks]
    return tabulate(rows, ("check", "severity", "finding"), tablefmt=tablefmt)


def page(check: Check) -> str:
    """Return a check's page."""
    basis = f"Severity {check.severity.value}, trust {check.trust}: {_TRUST[check.trust]}."
    title, _, rest = check.doc.partition("\n")
    return f"# {check.id}\n\n{title}\n\n{basis}\n{rest}".rstrip()


def document(checks: Sequence[Check]) -> ChecksDocument:
    """Return the catalogue in the schema `dirtune/checks/1`."""
    return {
        "schema": "dirtune/checks/1",
        "checks": [
            {
                "id": check.id,
                "severity": check.severity.value,
                "trust": check.trust,
                "title": check.title,
                "page": check.doc,
            }
            for check in checks
        ],
    }


def book(checks: Sequence[Check]) -> str:
    """Return docs/checks.md."""
    head = "# Checks\n\nMade by `dirtune explain --format markdown`; do not edit."
    pages = (page(check).replace("\n## ", "\n### ").replace("# ", "## ", 1) for check in checks)
    return "\n\n".join((head, listing(checks, tablefmt="github"), *pages)) + "\n"
