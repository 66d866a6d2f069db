"""Loading presets and prompt files in TOML."""

from __future__ import annotations

import unicodedata
from errno import EACCES
from pathlib import Path

import pytest

from urial_core import (
    Example,
    Message,
    Prompt,
    PromptError,
    PromptFormat,
    UnknownPromptError,
    compose,
    load_prompt,
    preset_names,
)
from urial_core.prompts.loading import MAX_PROMPT_BYTES, preset_or_file

EXAMPLES_OF = {
    "chat": 4,
    "chat_ja": 4,
    "chat_rag": 4,
    "default": 3,
    "helpful": 3,
    "instruction_only": 0,
    "ja": 3,
    "rag": 3,
    "short": 1,
}

SMALL = """\
version = 1
name = "small"
instruction = "Be brief."
"""

FULL = """\
version = 1
name = "full"
description = "All keys."
language = "de"
instruction = '''
Sei nett.
Immer.'''

[format]
query_header = "Frage:"
answer_header = "Antwort:"
system_header = "Regeln:"
tool_header = "Ergebnis:"
fence = ""
separator = "\\n\\n"
text_separator = "\\n"
strip_newlines = true

[[examples]]
query = "Wie geht's?"
answer = "Gut! \\u00fc \\\\ {x}"
"""


def test_the_presets() -> None:
    """``preset_names`` returns exactly these names, sorted."""
    assert preset_names() == sorted(EXAMPLES_OF)


@pytest.mark.parametrize(("name", "count"), EXAMPLES_OF.items())
def test_every_preset_loads(name: str, count: int) -> None:
    """Every preset has its name, a description, its language and its number of examples."""
    prompt = load_prompt(name)
    assert prompt.name == name
    assert prompt.description.endswith(".")
    assert len(prompt.examples) == count
    assert prompt.language == ("ja" if name in ("ja", "chat_ja") else "en")


@pytest.mark.parametrize("name", EXAMPLES_OF)
def test_every_preset_renders_one_turn_for_each_text(name: str) -> None:
    """A preset's prefix has two turns for each example, and begins every composed prompt."""
    prompt = load_prompt(name)
    lines = prompt.prefix.splitlines()
    assert lines.count("# Query:") == lines.count("# Answer:") == len(prompt.examples)
    request = compose(prompt, [Message("user", "Hi")])
    assert request.prompt == prompt.prefix + ("\n# Query:\n````\nHi\n````\n\n# Answer:\n````\n")
    assert request.prefix_length == len(prompt.prefix)


@pytest.mark.parametrize("name", EXAMPLES_OF)
def test_presets_have_no_control_characters(name: str) -> None:
    """A preset has no control characters but newlines, and no trailing whitespace."""
    prefix = load_prompt(name).prefix
    odd = {char for char in prefix if unicodedata.category(char) in {"Cc", "Cf", "Co", "Cn"}}
    assert odd == {"\n"}
    assert all(line == line.rstrip() for line in prefix.split("\n"))


@pytest.mark.parametrize("name", EXAMPLES_OF)
def test_presets_name_the_headers_they_use(name: str) -> None:
    """A preset's instruction names the headers of queries, answers and system messages."""
    instruction = load_prompt(name).instruction
    for header in ("# Query:", "# Answer:", "# System:"):
        assert f"`{header}`" in instruction


@pytest.mark.parametrize(
    ("name", "base"), [("chat", "default"), ("chat_ja", "ja"), ("chat_rag", "rag")]
)
def test_a_chat_preset_adds_a_greeting(name: str, base: str) -> None:
    """Its prefix begins with the whole one of its base, so that the prefix cache holds both."""
    assert load_prompt(name).prefix.startswith(load_prompt(base).prefix)
    assert load_prompt(name).examples[:-1] == load_prompt(base).examples


def test_the_default_preset() -> None:
    """Without a source, the preset ``default`` is loaded."""
    assert load_prompt() == load_prompt("default")


def test_a_prompt_is_returned_unchanged() -> None:
    """A prompt given as the source is returned unchanged."""
    prompt = Prompt(name="mine", instruction="I")
    assert load_prompt(prompt) is prompt


@pytest.mark.parametrize("source", ["defualt", "", "no/such.toml", "DEFAULT", "a\0b"])
@pytest.mark.parametrize("kind", [str, Path])
def test_an_unknown_name_is_refused(source: str, kind: type[str | Path]) -> None:
    """A source that is neither a preset nor a file is an error that lists the presets."""
    with pytest.raises(UnknownPromptError) as caught:
        load_prompt(kind(source))
    assert all(name in str(caught.value) for name in preset_names())


def test_text_never_reads_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A str that is a file's path reads nothing: the error says how to read a file."""
    path = tmp_path / "own.toml"
    path.write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    for source in (str(path), "own.toml", "./own.toml", "/etc/hostname"):
        with pytest.raises(UnknownPromptError, match=r"pass its path as pathlib\.Path\("):
            load_prompt(source)
    assert load_prompt(Path("own.toml")).name == "small"


@pytest.mark.parametrize("name", ["short", "own.toml"])
def test_what_a_user_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """On the command line, a preset's name is the preset; anything else is a file's path."""
    (tmp_path / name).write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    expected = {"short": "short", "own.toml": "small"}
    assert load_prompt(preset_or_file(name)).name == expected[name]


def test_a_text_is_not_a_source() -> None:
    """A long text given as the source raises ``UnknownPromptError``, not ``OSError``."""
    with pytest.raises(UnknownPromptError):
        load_prompt("Be helpful and honest. " * 300)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder given as the source is an unknown prompt."""
    with pytest.raises(UnknownPromptError):
        load_prompt(tmp_path)


def test_all_keys_of_a_file_are_loaded(tmp_path: Path) -> None:
    """Every key of a file sets its attribute."""
    path = tmp_path / "full.toml"
    path.write_bytes(FULL.encode())
    assert load_prompt(path) == Prompt(
        name="full",
        description="All keys.",
        language="de",
        instruction="Sei nett.\nImmer.",
        format=PromptFormat(
            query_header="Frage:",
            answer_header="Antwort:",
            system_header="Regeln:",
            tool_header="Ergebnis:",
            fence="",
            separator="\n\n",
            text_separator="\n",
            strip_newlines=True,
        ),
        examples=(Example("Wie geht's?", "Gut! ü \\ {x}"),),
    )


def test_optional_keys_have_defaults(tmp_path: Path) -> None:
    """A file needs version, name and instruction only; other keys have defaults."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    assert load_prompt(path) == Prompt(name="small", instruction="Be brief.")


def test_a_preset_takes_precedence_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preset's name loads the preset, even where a file has that name; a Path loads the file."""
    (tmp_path / "short").write_text("Something else.\n")
    monkeypatch.chdir(tmp_path)
    assert len(load_prompt("short").examples) == 1
    assert load_prompt(Path("short")).prefix == "Something else.\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SMALL + "author = 'me'\n", "author: Extra inputs"),
        (SMALL + "[format]\nquote = '>'\n", "format.quote: Unexpected"),
        (SMALL + "[[examples]]\nquery='q'\nanswer='a'\nid=1\n", "examples.0.id: Unexpected"),
        (SMALL + "[[examples]]\nquery='q'\n", "examples.0.answer: Field required"),
        (SMALL + "[[examples]]\nquery=1\nanswer='a'\n", "examples.0.query: .*string"),
        (SMALL + "[[examples]]\nquery=''\nanswer='a'\n", "Example 1 .*empty query"),
        (SMALL + "examples = 'none'\n", "examples: .*array"),
        (SMALL + "language = 1\n", "language: .*string"),
        (SMALL + "[format]\nstrip_newlines = 'yes'\n", "format.strip_newlines: .*boolean"),
        (SMALL + "[format]\nfence = '``'\n", "fence '``' must be"),
        (SMALL.replace("version = 1", "version = 2"), "version: .*1"),
        (SMALL.replace("version = 1", "version = '1'"), "version: .*1"),
        (SMALL.replace("version = 1\n", ""), "version: Field required"),
        (SMALL.replace('instruction = "Be brief."', ""), "instruction: Field required"),
        (SMALL.replace('"Be brief."', '" "'), "blank instruction"),
        (SMALL + "[[examples]]\nquery='q'\nanswer='''\n# Query:\n'''\n", "its answer holds a line"),
        ("Just text.", "not valid TOML"),
        ("", "version: Field required"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    """A file with invalid TOML, keys or values is refused, with the location of the error."""
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(PromptError, match=message):
        load_prompt(path)


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.JSON", "a.csv", "a.yaml", "model.gguf"])
def test_files_of_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    """Pairs, settings and models are no instruction: the error says how to make a prompt."""
    path = tmp_path / name
    path.write_text('{"question": "Hi", "answer": "Hello"}\n')
    with pytest.raises(PromptError, match=r"urial prompt new NAME --from PAIRS\.jsonl"):
        load_prompt(path)


def test_the_suffix_is_compared_in_lower_case(tmp_path: Path) -> None:
    """``.TOML`` is TOML, too."""
    path = tmp_path / "small.TOML"
    path.write_text(SMALL)
    assert load_prompt(path) == Prompt(name="small", instruction="Be brief.")


def test_utf_16_is_refused(tmp_path: Path) -> None:
    """A file with NUL characters is no UTF-8 text, although its bytes may be valid UTF-8."""
    path = tmp_path / "small.txt"
    path.write_bytes("Be brief.".encode("utf-16-le"))
    with pytest.raises(PromptError, match="not UTF-8 text: it holds NUL characters"):
        load_prompt(path)


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    """The error about an invalid file contains its path."""
    path = tmp_path / "bad.toml"
    path.write_text("x")
    with pytest.raises(PromptError, match=r"bad\.toml"):
        load_prompt(path)


@pytest.mark.parametrize("name", ["big.toml", "big.txt"])
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, name: str) -> None:
    """A file above the size limit is refused in any format; one at the limit is loaded."""
    path = tmp_path / name
    path.write_text(SMALL + "#" * (MAX_PROMPT_BYTES - len(SMALL) - 1) + "\n")
    assert load_prompt(path).prefix
    path.write_text(path.read_text() + "\n")
    with pytest.raises(PromptError, match=f"larger than {MAX_PROMPT_BYTES} bytes"):
        load_prompt(path)


@pytest.mark.parametrize("name", ["latin.toml", "latin.txt"])
def test_a_file_must_be_utf8(tmp_path: Path, name: str) -> None:
    """A file in another encoding than UTF-8 is refused, with an error that names UTF-8."""
    path = tmp_path / name
    path.write_bytes("instruction = 'Grüß dich'\n".encode("latin-1"))
    with pytest.raises(PromptError, match="not UTF-8"):
        load_prompt(path)


@pytest.mark.parametrize("name", ["closed.toml", "closed.txt"])
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What the system refuses to read is an error that names the file and the reason."""
    path = tmp_path / name
    path.write_text(SMALL)

    def refuse(_: Path) -> bytes:
        raise PermissionError(EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PromptError, match=rf"Cannot read .*{name}: Permission denied"):
        load_prompt(path)


def test_a_toml_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark before TOML is left out; an original file keeps all its bytes."""
    path, original = tmp_path / "small.toml", tmp_path / "small.txt"
    for file in (path, original):
        file.write_text(SMALL, "utf-8-sig")
    assert load_prompt(path) == Prompt(name="small", instruction="Be brief.")
    assert load_prompt(original).prefix == f"\ufeff{SMALL}"
