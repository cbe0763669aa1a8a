"""The earlier of two samples, as the recorder takes it: only the fields that change over time."""

import dataclasses

from dirtune.snapshot import FIELDS, MOVING, Snapshot


def sample_before(later, taken_s=0.0, **fields):
    """The sample before *later*: what moves is as it is in *later*, unless *fields* tell.

    A field that the recorder does not read in the earlier sample cannot be given.
    """
    strange = {name for name in fields if name in FIELDS and name not in MOVING}
    assert not strange, f"the recorder does not read these fields in the earlier sample: {strange}"
    moving = {name: getattr(later, name) for name in MOVING}
    return Snapshot(**{"taken_s": taken_s} | moving | fields)


def with_earlier(later, taken_s, **fields):
    """The snapshot *later* with the sample before it."""
    return dataclasses.replace(later, earlier=sample_before(later, taken_s, **fields))
