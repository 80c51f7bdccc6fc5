"""What can watch a pipeline run: ``PassManager([...], instruments=[Verify(), Timing()])``.

Or, without touching code, ``PASSPRINT_INSTRUMENTS=verify,timing``.
"""

from passprint.pipeline.alarm import ZeroMatchWarning
from passprint.pipeline.instruments.base import Instrument, NotFollowedWarning, PassRun, PipelineRun, Rewrite
from passprint.pipeline.instruments.chosen import instruments_from_text
from passprint.pipeline.instruments.draw import Draw
from passprint.pipeline.instruments.dump import Dump
from passprint.pipeline.instruments.numerics import Numerics, NumericsWarning
from passprint.pipeline.instruments.overlaps import Overlaps
from passprint.pipeline.instruments.record import Record
from passprint.pipeline.instruments.reproduce import Reproduce
from passprint.pipeline.instruments.statistics import Statistics
from passprint.pipeline.instruments.timing import Timing
from passprint.pipeline.instruments.verify import Verify
from passprint.pipeline.overlap import OverlapWarning

__all__ = [
    "NotFollowedWarning",
    "Draw",
    "Dump",
    "Instrument",
    "Numerics",
    "NumericsWarning",
    "OverlapWarning",
    "Overlaps",
    "PassRun",
    "PipelineRun",
    "Record",
    "Reproduce",
    "Rewrite",
    "Statistics",
    "Timing",
    "Verify",
    "ZeroMatchWarning",
    "instruments_from_text",
]
