"""Redact the settings of a host: the values of the kernel, and the files that set them."""

import fnmatch
import re

from dirtune.analyse.redact import vocabulary
from dirtune.analyse.redact.replacements import Replacements
from dirtune.collect import sysctls
from dirtune.collect.settings_files import parse_shell_variables, parse_sysctl_conf

_PLAIN_VALUE = re.compile(r"[-+]?\d{1,12}|0x[0-9a-f]{1,16}|[0-9a-f]{1,16}")
_IRQBALANCE = re.compile(r"IRQBALANCE_[A-Z_]+|OPTIONS|ENABLED|ONESHOT")
_IRQBALANCE_WORD = re.compile(
    r"(?P<name>--[a-z]{1,20}|-[a-z])(?P<value>=?(?:\d{1,5}|exact|subset|ignore))?"
)


def setting_value(replace: Replacements, text: str) -> str:
    """Return a setting's value with all words replaced, except for numbers and kernel words."""

    def word(match: re.Match[str]) -> str:
        plain = _PLAIN_VALUE.fullmatch(match[0]) or match[0].lower() in vocabulary.VALUES
        return match[0] if plain else replace.names.word(match[0])

    return re.sub(r"[^\s,:;()]+", word, text)


def sysctl_conf(replace: Replacements, text: str) -> str:
    """Return the settings of a sysctl.conf that dirtune reads, with their values redacted."""
    rows = []
    for name, value in parse_sysctl_conf(text).items():
        if _JUDGED.fullmatch(f"/proc/sys/{name}"):
            parts = name.split("/")
            if parts[2:3] == ["conf"]:
                parts[3] = replace.names.interface(parts[3])
            rows.append(f"{'/'.join(parts)} = {setting_value(replace, value)}\n")
    return "".join(rows)


def module_list(_: Replacements, text: str) -> str:
    """Return the names of the modules to load, without their parameters and the comments."""
    rows = (row.split() for row in text.splitlines())
    return "".join(f"{row[0]}\n" for row in rows if row and row[0][0] not in "#;")


def irqbalance(replace: Replacements, text: str) -> str:
    """Return irqbalance's variables; its options, numbers and masks are kept."""

    def word(word: str) -> str:
        option = _IRQBALANCE_WORD.fullmatch(word)
        if option or re.fullmatch(r"[0-9a-fA-Fx,-]{1,2048}", word):
            return word
        name, equals, value = word.partition("=")
        known = _IRQBALANCE_WORD.fullmatch(name) and equals
        return f"{name}={replace.names.word(value)}" if known else replace.names.word(word)

    return "".join(
        f'{name}="{" ".join(map(word, value.split()))}"\n'
        for name, value in parse_shell_variables(text).items()
        if _IRQBALANCE.fullmatch(name)
    )


def profile(replace: Replacements, text: str) -> str:
    """Return the name of tuned's active profile; words in the names of tuned's own are kept."""

    def word(match: re.Match[str]) -> str:
        known = match[0].lower() in vocabulary.PROFILES or match[0].isdecimal()
        return match[0] if known else replace.names.word(match[0])

    return re.sub(r"[^\s-]+", word, text)


def _pattern(shell: str) -> re.Pattern[str]:
    """Return a regular expression for the shell pattern *shell*, in which * matches no slash."""
    return re.compile(fnmatch.translate(shell).replace(".*", "[^/]*"))


_JUDGED = re.compile("|".join(_pattern(source).pattern for source in sysctls.SOURCES))
