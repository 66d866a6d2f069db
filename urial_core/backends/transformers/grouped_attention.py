"""Attention of one new token on a CPU, where heads share keys and values in groups.

torch's CPU kernel for grouped heads takes several times as long for one token as for the same work
with a group's heads laid out as the rows of one query, which gives the same result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

__all__ = ["use_grouped_attention"]

_NAME = "urial_grouped_sdpa"


def use_grouped_attention(model: Any) -> None:
    """Switch a model on a CPU from transformers' ``sdpa`` to this attention, if it uses that."""
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend; query is [rows, heads, tokens, dim], the result [rows, tokens, heads, dim]."""
    rows, heads, tokens, dim = query.shape
    groups = key.shape[1]
    if tokens > 1 or heads == groups:
        attended: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return attended
    folded = query.view(rows, groups, heads // groups, dim)
    output = scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask, scale=scaling
    )
    return output.reshape(rows, 1, heads, value.shape[-1]), None
