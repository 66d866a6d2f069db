"""Speed up grouped-query attention (GQA) of one new token.

On a CPU, torch's kernel for grouped heads takes several times as long for one token as for the same
work with a group's heads laid out as the rows of one query, which gives the same result. On a GPU,
its kernels for a mask repeat the keys and values for each head, and read them one after the other;
matrix products read them once, and in parallel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from urial_core.backends.transformers.shared_prefix import shared_prefix

__all__ = ["takes_boolean_masks", "use_grouped_attention"]

_NAME = "urial_grouped_sdpa"


def use_grouped_attention(model: Any) -> None:
    """Switch a model on a CPU or CUDA from transformers' ``sdpa`` to this, if it uses that."""
    if model.device.type in {"cpu", "cuda"} and _implementation(model) == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


def takes_boolean_masks(model: Any) -> bool:
    """Return whether a model's attention takes a mask that is true where it may attend."""
    return _implementation(model) in {"sdpa", _NAME}


def _implementation(model: Any) -> str | None:
    return getattr(model.config, "_attn_implementation", None)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> Any:
    """Attend; query is [batch, heads, tokens, dim], the result [batch, tokens, heads, dim]."""
    batch, heads, tokens, dim = query.shape
    groups = key.shape[1]
    on_gpu = query.device.type == "cuda"
    is_plain = mask is None or (mask.dtype == torch.bool and mask.shape[1] == 1)
    prefix = shared_prefix() if is_plain else None
    if tokens > 1 or (prefix is None and (mask is None if on_gpu else heads == groups)):
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    folded = query.reshape(batch, groups, heads // groups, dim)
    scale = options.get("scaling")
    if prefix is not None:
        output = prefix.attend(folded, key, value, mask, scale)
    else:
        attend = _attend_by_products if on_gpu else scaled_dot_product_attention
        output = attend(folded, key, value, attn_mask=mask, scale=scale)
    return output.reshape(batch, 1, heads, value.shape[-1]), None


def _attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, *, attn_mask: Tensor | None, scale: float | None
) -> Tensor:
    """Attend by two matrix products; all shapes are as of ``scaled_dot_product_attention``."""
    scores = torch.matmul(query, key.mT).float()
    scores *= query.shape[-1] ** -0.5 if scale is None else scale
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    return torch.matmul(scores.softmax(-1).to(value.dtype), value)
