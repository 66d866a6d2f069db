"""URIAL: an untuned base model as a chat model, by in-context learning alone.

The method (Lin et al., ICLR 2024, arXiv 2312.01552) needs one constant page of text: an
instruction and a few restyled examples, then the conversation written the same way. This package
is the method itself and its engines; ``langchain_urial`` fits it into LangChain. Importing it loads
no framework, nor torch nor transformers.
"""

from urial_core.chat import UrialChat
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionModel,
    TokenLogprob,
    Usage,
)
from urial_core.compose import compose
from urial_core.constraint import Choice, ConstrainedModel, Constraint, JsonSchema
from urial_core.errors import (
    ContextOverflowError,
    ConversationError,
    GenerationError,
    MissingDependencyError,
    ModelError,
    ModelLoadError,
    ParameterError,
    PromptError,
    ServerError,
    ServerUnreachableError,
    UnknownPromptError,
    UnsupportedContentError,
    UnsupportedModelError,
    UnsupportedSchemaError,
    UrialError,
)
from urial_core.frame import Frame
from urial_core.messages import Message
from urial_core.neutralise import neutralise, restore
from urial_core.parameters import GenerationParameters
from urial_core.presets import load_prompt, preset_names
from urial_core.prompt import Example, Prompt
from urial_core.reply import Reply, ReplyEnd, ReplyReader, TextDelta, ToolCallDelta
from urial_core.request import Request
from urial_core.tool_lesson import ToolLesson
from urial_core.tools import InvalidToolCall, Tool, ToolCall, ToolUse
from urial_core.version import __version__

__all__ = [
    "Choice",
    "Completion",
    "CompletionChunk",
    "CompletionModel",
    "ConstrainedModel",
    "Constraint",
    "ContextOverflowError",
    "ConversationError",
    "Example",
    "Frame",
    "GenerationError",
    "GenerationParameters",
    "InvalidToolCall",
    "JsonSchema",
    "Message",
    "MissingDependencyError",
    "ModelError",
    "ModelLoadError",
    "ParameterError",
    "Prompt",
    "PromptError",
    "Reply",
    "ReplyEnd",
    "ReplyReader",
    "Request",
    "ServerError",
    "ServerUnreachableError",
    "TextDelta",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolLesson",
    "ToolUse",
    "UnknownPromptError",
    "UnsupportedContentError",
    "UnsupportedModelError",
    "UnsupportedSchemaError",
    "UrialChat",
    "UrialError",
    "Usage",
    "__version__",
    "compose",
    "load_prompt",
    "neutralise",
    "preset_names",
    "restore",
]
