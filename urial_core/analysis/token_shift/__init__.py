"""Token shift: what a URIAL prompt or tuning changes in a base model's choice of tokens.

analysis.py   ``shift``: questions -> rows, figures and report; resuming
sides.py      who answers, and what the base model sees of it
comparing.py  conversations -> answers, and both sides' predictions of each token
scoring.py    AnswerScorer: what that takes of the models
in_process.py models of the transformers backend: whole distributions
on_server.py  models behind vLLM: ranks and log-probabilities by ``prompt_logprobs``
rows.py       what is kept of an answer
figures.py    what is computed of all answers
kinds.py      stylistic and content tokens
summary.py    rows -> figures
report.py     rows and figures -> report page
"""

from urial_core.analysis.token_shift.analysis import shift
from urial_core.analysis.token_shift.figures import Figures, ShiftSummary
from urial_core.analysis.token_shift.rows import AnswerShift, TokenShift

__all__ = ["AnswerShift", "Figures", "ShiftSummary", "TokenShift", "shift"]
