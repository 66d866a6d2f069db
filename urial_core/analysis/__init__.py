"""Analysis: what a prompt, a method or tuning does to a model, measured and shown in a report."""

from urial_core.analysis.token_shift import shift

__all__ = ["shift"]
