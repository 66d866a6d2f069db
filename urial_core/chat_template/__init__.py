"""A prompt as a chat template: Jinja for transformers, vLLM and llama.cpp, Modelfile for Ollama."""

from urial_core.chat_template.jinja_template import chat_template, set_chat_template
from urial_core.chat_template.modelfile import modelfile

__all__ = ["chat_template", "modelfile", "set_chat_template"]
