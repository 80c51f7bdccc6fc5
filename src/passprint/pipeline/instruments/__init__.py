"""Instruments: small objects that are told what happens while a pipeline runs."""

from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun, Rewrite
from passprint.pipeline.instruments.chosen import instruments_from_text

__all__ = ["Instrument", "PassRun", "PipelineRun", "Rewrite", "instruments_from_text"]
