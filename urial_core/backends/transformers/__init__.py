"""The transformers backend: run a causal language model in this process, on torch.

    model.py              TransformersModel, the CompletionModel; its worker thread
    source.py             where a model comes from, and what is known without loading it
    loading.py            hub ids, folders, GGUF files -> model and tokenizer; devices and dtypes
    tokenization.py       text -> token ids and back
    engine.py             continuous batching: requests -> steps of tokens
    prompt_reader.py      prompts -> their keys and values (prefill), from the longest cached prefix
    sequence.py           one request's prompt, and the reply that is decoded or scored after it
    prompt_lookup.py      drafts of what a reply copies from its prompt
    scoring.py            given answers -> what two sides predict at each of their tokens
    json_grammar.py       constrained decoding of JSON
    sampling.py           logits -> token
    forward.py            one pass of the model over a batch
    kv_cache.py           keys and values of the batch
    prefix_tree.py        the prefix cache
    packed_linear.py      faster linear layers on a CPU
    grouped_attention.py  faster grouped-query attention of one token on a CPU
    shared_prefix.py      attention to a prefix that a batch shares, by one copy of it

Importing this package loads neither torch nor transformers; using a model does. llguidance is
loaded at the first JSON schema.
"""

from urial_core.backends.transformers.model import TransformersModel

__all__ = ["TransformersModel"]
