"""Decoding strategies: several samples for one reply, and which of them it is. Does no I/O.

strategy.py     what a strategy is, what it asks for, and the strategies by name
best_of_n.py    sample n replies and take the one with the best score
nudging.py      a small aligned model writes the words at which the base model is unsure
draft.py        the tokens of a reply so far, for both kinds of power sampling
power.py        sample from the sharpened distribution over replies, by Metropolis-Hastings
rollouts.py     the same block by block, by short rollouts
scores.py       log-probability, relevance, agreement, or a function of one's own
model_scores.py a chat model as a judge, or a reranker
"""

from urial_core.strategies.best_of_n import BestOfN
from urial_core.strategies.loading import STRATEGIES, load_strategy
from urial_core.strategies.nudging import Nudging
from urial_core.strategies.power import PowerSampling
from urial_core.strategies.rollouts import RolloutPower
from urial_core.strategies.strategy import DecodingStrategy

__all__ = [
    "STRATEGIES",
    "BestOfN",
    "DecodingStrategy",
    "Nudging",
    "PowerSampling",
    "RolloutPower",
    "load_strategy",
]
