"""Redact packet filter rules, the kernel log, and names of threads.

A word is kept if it is in the vocabulary, if it is a small number, or if many machines have the
same name. All other words are replaced.
"""

import re
import string
from collections.abc import Collection
from functools import lru_cache

from dirtune.analyse.redact import boot, vocabulary
from dirtune.analyse.redact.addresses import RUN, Addresses
from dirtune.analyse.redact.names import Names

_UNITS = (
    r"[kKMGT]?(?:i?[bB](?:ytes?|it)?(?:ps|/s)?|bit|bps|Hz|pps)|[munp]?s(?:ecs?)?|[kKMGTpxhd%]|min"
)
_NUMBER = re.compile(rf"\d{{1,9}}(?:{_UNITS})?|0x[0-9a-f]{{1,6}}|0xffffff(?:ff|00)|[a-zA-Z]")
_LOG_NUMBER = re.compile(rf"\d{{1,10}}(?:{_UNITS})?|0x[0-9a-f]{{1,8}}|[a-zA-Z]")
_COUNTERS = re.compile(r"\d+:\d+")
_NUMBERED = re.compile(r"([a-z_]+)\d{1,4}")
_PCI = re.compile(r"(?<![\w.])(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](?![\w.])")
_TIME = re.compile(r"\d{1,7}\.\d{1,9}")
_PIECE = re.compile(r"[^\W]+")
_ROW_WORD = re.compile(r'"[^"\n]*"|[^\s"\'{}(),;=<>|&!\[\]]+')
_LOG_WORD = re.compile(r"[^\s\"'{}(),;=<>|&!\[\]]+")
_DUMP = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2} ){5,}[0-9A-Fa-f]{2}(?![0-9A-Fa-f])")
_BOOTED = re.compile(r"(?i)((?:kernel )?command line: *)(.*)")
_CHAINS = re.compile(
    r"(?P<kind>KUBE-(?:SVC|SEP|FW|XLB|EXT|SVL|POD)-|cali-|CILIUM_|DOCKER-)(?P<own>.+)"
)
_KEYWORDS = vocabulary.RULES | vocabulary.BEFORE_INTERFACE
# Words in the kernel log that come before a secret, and the secret itself.
_SECRET = re.compile(
    r"(?i)\b(serial ?(?:number|no)?|s/n|wwn|wwpn|asset|uuid|guid|passw(?:or)?d|secret|token|user"
    r"|acct|uid|auid|hostname|principal|key|exe|comm)"
    r"([\"']?\s?[=:#]\s?[\"']?)([^\s\"',;)]+)"
)
# Encloses the number of a replacement that is inserted later; no kernel text contains it.
_MARK = "\ue000"
_MARKED = re.compile(rf"{_MARK}(\d+){_MARK}")
_LONGEST_WORD = 256
_MOST_PARTS = 4  # several numbers that are not an address: a version


class Texts:
    """A redactor for packet filter rules, kernel logs and names of threads."""

    def __init__(self, addresses: Addresses, names: Names, drivers: Collection[str]) -> None:
        """Redact with the replacements *addresses* and *names*.

        *drivers* are the drivers and modules of the recorded host, whose names are kept in logs.
        """
        self._addresses, self._names = addresses, names
        self._log_words = vocabulary.LOG | vocabulary.THREADS | {d.lower() for d in drivers}
        self._rule = lru_cache(1 << 16)(self._judge_rule)
        self._logged = lru_cache(1 << 16)(self._judge_logged)

    def rules(self, text: str) -> str:
        """Return a redacted listing of nft, iptables-save, arptables-save or `ip rule`."""
        return "".join(map(self._rules_row, text.splitlines(keepends=True)))

    def log(self, text: str) -> str:
        """Return the redacted *text*, which may be free text, such as the kernel log."""
        return "".join(map(self._log_row, text.splitlines(keepends=True)))

    def thread(self, name: str) -> str:
        """Return the redacted name of a program or a kernel thread."""
        if name in vocabulary.COMMON_PROGRAMS:
            return name
        if name.startswith(("irq/", "napi/")):
            return self._names.cut(self._addresses.text(name), 15)
        program = next((known for known in vocabulary.PROGRAMS if name.startswith(known)), "")
        return program + self._names.around(name[len(program) :], self._thread_part)

    def interface(self, name: str) -> str:
        """Return the redacted name of an interface, which may end in a wildcard."""
        bare = name.rstrip("*+")
        return (self._names.interface(bare) if bare else "") + name[len(bare) :]

    def _rules_row(self, row: str) -> str:
        before, used, end = "", False, 0

        def replaced(match: re.Match[str]) -> str:
            nonlocal before, used, end
            word, quoted = match[0].strip('"'), match[0].startswith('"')
            bare = "" if quoted else word.lstrip("-").lower()
            # One word, or a list of words, follows a keyword.
            before = "" if used and "," not in row[end : match.start()] else before
            end = match.end()
            if bare in _KEYWORDS and (before not in vocabulary.BEFORE_OWN or word[0] == "-"):
                before, used = bare, False
                return match[0]
            result, used = self._own(word, before, quoted=quoted), True
            return f'"{result}"' if quoted else result

        return _ROW_WORD.sub(replaced, row)

    def _own(self, word: str, before: str, *, quoted: bool) -> str:
        """Return the replacement of *word*, which follows the keyword *before* in a rule."""
        if before in vocabulary.BEFORE_OWN:
            return self._names.word(word)
        if before in vocabulary.BEFORE_INTERFACE or quoted:
            return word if word.lower() in vocabulary.RULES else self.interface(word)
        counted = before in {"packets", "bytes"} and word.isdecimal()
        return word if counted else self._rule(word)

    def _log_row(self, row: str) -> str:
        booted = _BOOTED.search(row)
        if booted:
            options = boot.options(booted[2], self._names.word, self._names.common_disk)
            start = _LOG_WORD.sub(lambda match: self._logged(match[0]), row[: booted.start()])
            return f"{start}{booted[1]}{options}" + row[booted.end() :]
        own: list[str] = []

        def kept_for_later(start: str, word: str) -> str:
            own.append(self._names.word(word))
            return f"{start}{_MARK}{len(own) - 1}{_MARK}"

        row = _DUMP.sub(lambda match: kept_for_later("", match[0]), row.replace(_MARK, "?"))
        row = _SECRET.sub(lambda match: kept_for_later(match[1] + match[2], match[3]), row)
        row = _LOG_WORD.sub(lambda match: self._logged(match[0]), row)
        return _MARKED.sub(lambda match: own[int(match[1])], row)

    def _judge_rule(self, word: str) -> str:
        chain = _CHAINS.fullmatch(word)
        if chain and word.lower() not in vocabulary.RULES:
            return chain["kind"] + self._names.word(chain["own"])
        if _COUNTERS.fullmatch(word):
            return word
        return self._judge(word, vocabulary.RULES, _NUMBER)

    def _judge_logged(self, word: str) -> str:
        if _TIME.fullmatch(word):
            return word
        return self._judge(word, self._log_words, _LOG_NUMBER)

    def _judge(self, word: str, known: frozenset[str], number: re.Pattern[str]) -> str:
        """Return *word* if each of its parts may be kept, else a replacement.

        A part may be kept if it is in *known*, matches *number*, or is a name that many machines
        have.
        """
        core = word.strip(string.punctuation)
        if core and self._names.has(core):
            return word.replace(core, self._names.within(core), 1)
        if not core or {core.lower(), word.lower()} & known:
            return word
        start, _, end = word.partition(core)
        if len(word) > _LONGEST_WORD:
            return self._names.word(word)
        if number.fullmatch(core):
            return word
        hidden = RUN.sub(self._hidden, _PCI.sub("\0", word))
        pieces = _PIECE.findall(self._names.hidden(hidden))
        plain = all(self._plain(piece, known, number) for piece in pieces)
        if plain and len(pieces) - sum(map(str.isalpha, pieces)) < _MOST_PARTS:
            return self._names.within(self._addresses.text(word, self.interface))
        return f"{start}{self._names.word(core)}{end}"

    def _hidden(self, match: re.Match[str]) -> str:
        return match[0] if self._addresses.in_run(match[0].partition("%")[0]) is None else "\0"

    def _plain(self, piece: str, known: frozenset[str], number: re.Pattern[str]) -> bool:
        lower = piece.lower()
        numbered = _NUMBERED.fullmatch(lower)
        return (
            lower in known
            or bool(number.fullmatch(piece))
            or bool(numbered and numbered[1] in known)
            or self._names.interface_kept(piece)
            or self._names.common_disk(piece) is not None
        )

    def _thread_part(self, text: str) -> str:
        """Return a redacted part of a thread's name, into which some servers put an address."""
        parts = []
        place = 0
        for match in RUN.finditer(text):
            address = self._addresses.in_run(match[0])
            if address is not None:
                parts += [_PIECE.sub(self._thread_piece, text[place : match.start()]), address]
                place = match.end()
        return "".join((*parts, _PIECE.sub(self._thread_piece, text[place:])))

    def _thread_piece(self, match: re.Match[str]) -> str:
        plain = self._plain(match[0], self._log_words, _LOG_NUMBER)
        return match[0] if plain else self._names.word(match[0])
