"""Load prompts: this project's presets, which are data files, and files of one's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from textwrap import shorten

from urial_core.errors import PromptError, UnknownPromptError
from urial_core.prompts.original_file import parse_original
from urial_core.prompts.prompt import Prompt
from urial_core.prompts.toml_file import parse_toml
from urial_core.utf8 import DATA_SUFFIXES, decode_utf8

__all__ = [
    "MAX_PROMPT_BYTES",
    "load_prompt",
    "parse_original",
    "parse_toml",
    "preset_names",
    "preset_or_file",
]

MAX_PROMPT_BYTES = 256 * 1024
"""Size in bytes above which prompt files are refused: no context window holds them."""

_OTHER_SUFFIXES = (*DATA_SUFFIXES, ".jsonl", ".ndjson", ".gguf", ".safetensors")
"""Suffixes of other formats: pairs, settings and models."""

_DATA = files(__package__) / "presets"


def preset_names() -> list[str]:
    """Return the names of this project's prompts, sorted."""
    entries = (entry.name for entry in _DATA.iterdir())
    return sorted(name.removesuffix(".toml") for name in entries if name.endswith(".toml"))


def load_prompt(source: str | Path | Prompt = "default") -> Prompt:
    """Load a prompt.

    Text names a preset and nothing else, so that a name from outside cannot have a file read.

    Args:
        source: A preset's name; the ``Path`` of a prompt file (``.toml``: this project's format;
            other text: the original URIAL repository's); or a prompt, which is returned as is.

    Raises:
        UnknownPromptError: Neither a preset nor a file.
        PromptError: The file cannot be read, is of another kind (such as ``.jsonl``), too large,
            not UTF-8, or not well formed.
    """
    if isinstance(source, Prompt):
        return source
    presets = ", ".join(preset_names())
    if not isinstance(source, Path):
        if source not in preset_names():
            raise UnknownPromptError(
                f"No prompt is named {shorten(repr(source), 80)}: the presets are {presets}. To "
                "read a file, pass its path as pathlib.Path(...)."
            )
        return parse_toml((_DATA / f"{source}.toml").read_text("utf-8"), f"preset {source!r}")
    path = source
    if not _is_file(path):
        raise UnknownPromptError(f"There is no prompt file {path}. The presets are {presets}.")
    suffix = path.suffix.lower()
    is_toml = suffix == ".toml"
    if suffix in _OTHER_SUFFIXES:
        raise PromptError(
            f"{path} is no prompt file: a prompt is TOML (.toml) or text (.txt). To make one of "
            "question-and-answer pairs: urial prompt new NAME --from PAIRS.jsonl, with "
            '{"question": ..., "answer": ...} on each line.'
        )
    try:
        if path.stat().st_size > MAX_PROMPT_BYTES:
            raise PromptError(
                f"{path} is larger than {MAX_PROMPT_BYTES} bytes: no prompt is that long."
            )
        # The bytes of an original file are kept, even a byte order mark.
        text = decode_utf8(path.read_bytes(), keep_mark=not is_toml)
    except OSError as error:
        raise PromptError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise PromptError(f"{path} is not UTF-8 text: {error}.") from error
    return parse_toml(text, str(path)) if is_toml else parse_original(text, path.stem)


def preset_or_file(source: str) -> str | Path:
    """Return what a user typed as ``load_prompt`` takes it: a preset's name, else a file's path."""
    return source if source in preset_names() else Path(source)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, say, or with a NUL in it
        return False
