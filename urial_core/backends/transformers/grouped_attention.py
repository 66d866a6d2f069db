"""Speed up grouped-query attention (GQA) of one new token on a CPU.

torch's CPU kernel for grouped heads takes several times as long for one token as for the same work
with a group's heads laid out as the rows of one query, which gives the same result.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

__all__ = ["use_grouped_attention"]

_NAME = "urial_grouped_sdpa"


def use_grouped_attention(model: Any) -> None:
    """Switch a model on a CPU from transformers' ``sdpa`` to this attention, if it uses that."""
    if model.device.type == "cpu" and getattr(model.config, "_attn_implementation", None) == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> Any:
    """Attend; query is [batch, heads, tokens, dim], the result [batch, tokens, heads, dim]."""
    batch, heads, tokens, dim = query.shape
    groups = key.shape[1]
    if tokens > 1 or heads == groups:
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    folded = query.view(batch, groups, heads // groups, dim)
    scale = options.get("scaling")
    output = scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scale)
    return output.reshape(batch, 1, heads, value.shape[-1]), None
