"""The transformers backend: run a causal language model in this process, on torch.

    model.py              TransformersModel, the CompletionModel; its worker thread
    source.py             where a model comes from, and what is known without loading it
    loading.py            hub ids, folders, GGUF files -> model and tokenizer; devices and dtypes
    tokenization.py       text -> token ids and back
    engine.py             requests -> steps of tokens, with prefix caching and batches
    sequence.py           one request's prompt, and the reply that is decoded or scored after it
    json_grammar.py       constrained decoding of JSON
    sampling.py           logits -> token
    kv_cache.py           keys and values of the batch, and the prefix cache
    grouped_attention.py  faster grouped-query attention of one token on a CPU

Importing this package loads neither torch nor transformers; using a model does. llguidance is
loaded at the first JSON schema.
"""

from urial_core.backends.transformers.model import TransformersModel

__all__ = ["TransformersModel"]
