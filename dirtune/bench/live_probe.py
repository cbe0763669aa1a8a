"""Run `dirtune profile` on the director over SSH, and read its result."""

import time

from dirtune import remote
from dirtune.analyse.profile import Profile
from dirtune.errors import NodeUnreachable, NotPossible
from dirtune.remote import Process
from dirtune.remote.far_dirtune import FarDirtune

# In an emulated director, bcc needs half a minute to compile the probes.
_PROBE_LOAD_S = 180
_LOADED, _MEASURING = "loaded", "measuring"


class LiveProbe:
    """One window in which the dirtune installed on the director measures with probes."""

    def __init__(self, far: FarDirtune, process: Process, seconds: float) -> None:
        self._far = far
        self._process = process
        self._seconds = seconds

    async def loaded(self) -> None:
        """Wait until the probes are loaded on the director.

        Raises `NotPossible` with the error message of the director's dirtune if it exits before
        that.
        """
        await self._heard(_LOADED)

    async def begin(self) -> None:
        """Start the measurement, and wait until the director's dirtune confirms the start."""
        await self._process.send("\n")
        await self._heard(_MEASURING)

    async def finish(self) -> Profile:
        """Return the profile of the window.

        Raises `NotPossible` if the director's dirtune printed none.
        """
        done = await self._process.finish(
            timeout_s=self._seconds + _PROBE_LOAD_S, most_bytes=remote.DOCUMENT_BYTES
        )
        text = done.stdout[max(done.stdout.find("{"), 0) :]
        return await self._far.decoded("dirtune profile", text, Profile)

    async def _heard(self, word: str) -> None:
        line = complaint = ""
        until_s = time.monotonic() + _PROBE_LOAD_S
        while line.strip() != word:
            # A line on standard error explains the failure only if dirtune exits after the line.
            try:
                line = await self._process.line(timeout_s=until_s - time.monotonic())
            except NodeUnreachable as error:
                if complaint:
                    reason = complaint.removeprefix("dirtune: ")
                    raise NotPossible(f"The director's dirtune failed: {reason}") from error
                raise
            complaint = line if line.startswith("dirtune: ") else complaint

    async def end(self) -> None:
        """End the `dirtune profile` on the director if it is still running."""
        await self._process.end()
