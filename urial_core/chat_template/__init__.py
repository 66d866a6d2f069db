"""A prompt as a chat template, so that a base model chats on any engine."""

from urial_core.chat_template.jinja_template import chat_template
from urial_core.chat_template.modelfile import modelfile
from urial_core.chat_template.tokenizer import set_chat_template

__all__ = ["chat_template", "modelfile", "set_chat_template"]
