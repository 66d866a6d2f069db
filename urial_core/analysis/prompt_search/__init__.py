"""Prompt search: which instruction and which of one's own good answers a prompt should hold.

fitting.py    ``fit``: a pool and a measure -> a prompt file, and whether it is better
pool_split.py which pairs may become examples, which decide, and which judge the result
measures.py   what a prompt is measured by: likelihood, a measure of answers, or a judge
scoring.py    prompts and pairs -> scores, recorded and resumed
search.py     the greedy search itself, without a model
result.py     what was found, and whether a gain is shown
"""

from urial_core.analysis.prompt_search.fitting import fit
from urial_core.analysis.prompt_search.result import PromptFit

__all__ = ["PromptFit", "fit"]
