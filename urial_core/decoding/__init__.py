"""Decoding: from a model's completions to the reply that the user gets, without any I/O.

stream_decoders.py  echo, stop sequences, whitespace, headers: feed text, get text
template_decoder.py where a reply continues a template, and headings that it invents
turn_decoder.py     a turn's text up to its delimiter
reply_decoder.py    these in a row, and why the reply ended
token_spans.py      which tokens make up a piece of the reply
echo.py             completions without an echo of their prompt
steps.py            what a reply asks for (completions, token counts), and what it emits
text_reply.py       a reply in text
json_reply.py       a reply that is JSON matching a schema
tool_calls.py       calls: the schema that they must match, and decoding them
tool_reply.py       a reply that may call tools
"""

from urial_core.completion import CompletionModel
from urial_core.composing import ReplyRequest
from urial_core.decoding.echo import without_echo
from urial_core.decoding.json_reply import json_reply
from urial_core.decoding.reply_decoder import ReplyDecoder
from urial_core.decoding.steps import ReplyContext, ReplySteps
from urial_core.decoding.text_reply import text_reply
from urial_core.decoding.tool_reply import tool_reply

__all__ = ["ReplyDecoder", "reply_steps"]


def reply_steps(model: CompletionModel, request: ReplyRequest, *, live: bool) -> ReplySteps:
    """Return the steps of the reply that a request needs.

    Args:
        model: The model. What it declares is read, and it is never called.
        request: The request.
        live: Whether the reply is streamed, so that what is emitted cannot be retracted.
    """
    calls_tools = request.tools and request.tools.callable and not request.prefill
    if not calls_tools and request.response_format is None:
        steps = text_reply(request)
    else:
        context = ReplyContext(model.features, model.context_window, live)
        steps = tool_reply(request, context) if calls_tools else json_reply(request, context)
    return without_echo(steps) if getattr(model, "may_echo", False) else steps
