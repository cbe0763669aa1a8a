"""What many hostile hosts answer at once does not take this machine's memory."""

import asyncio
import threading
import time

import pytest

from dirtune import remote, signals
from dirtune.errors import ParseError
from dirtune.remote import room, streams

LARGE = "x" * (2**20 + 1)


def answered(size, most_bytes=64 * 2**20):
    async def read():
        reader = asyncio.StreamReader()
        reader.feed_data(b"x" * size)
        reader.feed_eof()
        return len(await streams.answer(reader, most_bytes))

    return signals.run(read())


def test_a_large_answer_is_given_up_once_all_have_filled_the_memory(monkeypatch):
    assert answered(3 * 2**20) == 3 * 2**20
    monkeypatch.setattr(room, "MOST_BYTES", 2**20)

    with pytest.raises(streams.TooMuch, match=r"Ask fewer hosts at once$"):
        answered(3 * 2**20)
    assert answered(2**19) == 2**19


def test_what_is_made_of_answers_counts_while_it_is_kept(monkeypatch):
    monkeypatch.setattr(room, "MOST_BYTES", room.taken_bytes() + 320 * 2**20)
    kept = []

    def keep_all():
        while len(kept) < 20:
            signals.run(remote.parsed(LARGE, lambda _: kept.append(bytearray(64 * 2**20))))

    with pytest.raises(ParseError, match="Ask fewer hosts"):
        keep_all()
    assert 3 <= len(kept) <= 6
    kept.clear()
    assert signals.run(remote.parsed(LARGE, len)) == len(LARGE)


@pytest.mark.parametrize("text", ["small", LARGE], ids=["small", "large"])
def test_nothing_is_parsed_where_no_memory_is_left(text, monkeypatch):
    monkeypatch.setattr(room, "MOST_BYTES", 0)

    with pytest.raises(ParseError, match="Ask fewer hosts"):
        signals.run(remote.parsed(text, lambda _: pytest.fail("parsed")))


def test_few_large_answers_are_parsed_at_once_and_the_loop_goes_on():
    now, most, lock = [0], [0], threading.Lock()

    def parse(text):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return len(text)

    async def all_at_once():
        looks = 0
        works = asyncio.gather(*(remote.parsed(LARGE, parse) for _ in range(8)))
        while not works.done():
            await asyncio.sleep(0.01)
            looks += 1
        return await works, looks

    sizes, looks = signals.run(all_at_once())

    assert sizes == [len(LARGE)] * 8
    assert most == [2]
    assert looks > 5
