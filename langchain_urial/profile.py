"""What a wrapped model can do, in LangChain's terms."""

from __future__ import annotations

from langchain_core.language_models.model_profile import ModelProfile

from urial_core import CompletionModel, Prompt
from urial_core.completion import estimate_tokens

__all__ = ["profile_of"]


def profile_of(model: CompletionModel, prompt: Prompt, window: int | None) -> ModelProfile:
    """Fill in a profile without loading anything.

    Args:
        model: The model. Its window counts where it is at hand.
        prompt: The constant page, which takes its part of the window.
        window: The window in tokens, where the user has said it.
    """
    profile = ModelProfile(
        text_inputs=True,
        text_outputs=True,
        image_inputs=False,
        image_outputs=False,
        audio_inputs=False,
        audio_outputs=False,
        video_inputs=False,
        video_outputs=False,
        tool_calling=True,
        tool_choice=True,
        tool_call_streaming=True,
        image_tool_message=False,
        pdf_tool_message=False,
        structured_output=True,
        mid_conversation_system_messages=True,
    )
    window = window or model.known_context_window
    if window:
        profile["max_input_tokens"] = max(window - estimate_tokens(prompt.prefix), 0)
    return profile
