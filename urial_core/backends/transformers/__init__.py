"""The engine in this process, on transformers and torch.

    model.py              TransformersModel: the CompletionModel; threads
    source.py, window.py  what is known of a model without loading it
    loading.py            model ids, folders, GGUF files -> model and tokenizer
    precision.py          the fastest number format for the machine
    tokenization.py       text to tokens and back
    engine.py             requests -> steps of tokens, over shared prefixes, in batches
    page.py               one request's text to be read
    row.py                one reply being written
    scored_page.py        a page whose reply is one of a few texts
    json_row.py           a reply held to a JSON schema
    json_grammar.py       which tokens may come next in JSON; closing it in time
    sampling.py           scores -> token
    slab_cache.py         keys and values in place, for transformers' models
    prefix_cache.py       keys and values of earlier pages, for reuse
    grouped_attention.py  one token's attention on a CPU

Importing this package loads neither torch nor transformers; using a model does. llguidance is
loaded at the first JSON schema.
"""

from urial_core.backends.transformers.model import TransformersModel

__all__ = ["TransformersModel"]
