"""URIAL: an untuned base model as a chat model, by in-context learning alone.

The method (Lin et al., ICLR 2024, arXiv 2312.01552) needs one constant prompt prefix: an
instruction and a few restyled examples (few-shot), then the conversation in the same format. This
package is the method and its backends; ``langchain_urial`` and ``llamaindex_urial`` adapt it.
Importing it loads neither framework, nor torch, nor transformers.
"""

from urial_core.chat import UrialChat
from urial_core.citations import (
    Citation,
    find_citations,
    number_passages,
    passages_with_question,
)
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionModel,
    CompletionRequest,
    ModelFeatures,
    TokenLogprob,
    Usage,
)
from urial_core.composing import ReplyRequest, compose
from urial_core.decoding import ReplyDecoder
from urial_core.errors import (
    AnalysisError,
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
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.escaping import escape, unescape
from urial_core.prompts.loading import load_prompt, preset_names
from urial_core.prompts.original_file import PromptWarning
from urial_core.prompts.prompt import Example, Prompt
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.tool_examples import ToolExamples
from urial_core.replies import Reply, ReplyEnd, TextDelta, ToolCallDelta
from urial_core.strategies import BestOfN, Nudging, PowerSampling, RolloutPower
from urial_core.structured.constraints import Choice, Constraint, JsonSchema
from urial_core.tools import InvalidToolCall, Tool, ToolCall, ToolUse

__version__ = "0.1.0"

__all__ = [
    "AnalysisError",
    "BestOfN",
    "Choice",
    "Citation",
    "Completion",
    "CompletionChunk",
    "CompletionModel",
    "CompletionRequest",
    "Constraint",
    "ContextOverflowError",
    "ConversationError",
    "Example",
    "GenerationError",
    "GenerationParameters",
    "InvalidToolCall",
    "JsonSchema",
    "Message",
    "MissingDependencyError",
    "ModelError",
    "ModelFeatures",
    "ModelLoadError",
    "Nudging",
    "ParameterError",
    "PowerSampling",
    "Prompt",
    "PromptError",
    "PromptFormat",
    "PromptWarning",
    "Reply",
    "ReplyDecoder",
    "ReplyEnd",
    "ReplyRequest",
    "RolloutPower",
    "ServerError",
    "ServerUnreachableError",
    "TextDelta",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolExamples",
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
    "escape",
    "find_citations",
    "load_prompt",
    "number_passages",
    "passages_with_question",
    "preset_names",
    "unescape",
]
