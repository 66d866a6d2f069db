"""The engine in this process, on transformers and torch.

    model.py              TransformersModel: the CompletionModel; threads
    shared.py             one model in memory for all who name it
    source.py, window.py  what is known of a model without loading it
    loading.py            model ids, folders, GGUF files -> model and tokenizer
    precision.py          the fastest number format for the machine
    tokenization.py       text to tokens and back
    engine.py             requests -> steps of tokens, over shared prefixes, in batches
    row.py                one reply being written
    sampling.py           scores -> token
    slab_cache.py         keys and values in place, for transformers' models
    prefix_cache.py       keys and values of earlier pages, for reuse
    grouped_attention.py  one token's attention on a CPU

Importing this package loads neither torch nor transformers; using a model does.
"""

from urial_core.backends.transformers.model import TransformersModel
from urial_core.backends.transformers.shared import ENGINE_OPTIONS, shared_model

__all__ = ["ENGINE_OPTIONS", "TransformersModel", "shared_model"]
