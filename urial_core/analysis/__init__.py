"""Analysis: what a prompt, a method or tuning does to a model, measured and shown in a report.

``compare`` has questions answered by several methods side by side; ``shift`` shows which tokens a
prompt or tuning changes; ``fit`` chooses a prompt's examples. Needs the extra ``analysis``.
"""

from urial_core.analysis.answering import Answer
from urial_core.analysis.comparing import compare
from urial_core.analysis.comparison import Comparison
from urial_core.analysis.example_pool import read_pool
from urial_core.analysis.judging import Scores, Verdict
from urial_core.analysis.prompt_search import PromptFit, fit
from urial_core.analysis.questions import Question, read_questions
from urial_core.analysis.summary import SummaryRow
from urial_core.analysis.token_shift import AnswerShift, ShiftSummary, TokenShift, shift

__all__ = [
    "Answer",
    "AnswerShift",
    "Comparison",
    "PromptFit",
    "Question",
    "Scores",
    "ShiftSummary",
    "SummaryRow",
    "TokenShift",
    "Verdict",
    "compare",
    "fit",
    "read_pool",
    "read_questions",
    "shift",
]
