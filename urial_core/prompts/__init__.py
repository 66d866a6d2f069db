"""Prompts: instruction, few-shot examples and format, and how they and turns are written."""

__all__: list[str] = []
