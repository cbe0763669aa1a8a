"""A diagnosis of this machine as text."""

from tabulate import tabulate

from dirtune.analyse.doctor import Diagnosis, Feature


def table(diagnosis: Diagnosis) -> str:
    """Return one line per feature, and under those that do not work why, with the remedy."""
    width = max(len(feature.name) for feature in diagnosis.features)
    lines = [f"kernel {diagnosis.kernel}"]
    for feature in diagnosis.features:
        lines.append(f"{feature.name:<{width}}  {_state(feature):<3}  {feature.what}")
        lines += [f"{'':<{width}}       {o.why}: {o.remedy}" for o in feature.obstacles]
    return "\n".join(lines)


def markdown(diagnosis: Diagnosis) -> str:
    """Return a table with one row per obstacle, or one for a feature that works."""
    rows = [
        (feature.name, _state(feature), why, f"`{remedy}`" if remedy else "")
        for feature in diagnosis.features
        for why, remedy in [(o.why, o.remedy) for o in feature.obstacles] or [("", "")]
    ]
    return tabulate(rows, ("feature", "works", "why not", "remedy"), "pipe")


def _state(feature: Feature) -> str:
    return "yes" if feature.works else "no"
