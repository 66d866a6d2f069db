"""A reply ends where it would run on into the message's template, however it is split."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from adversarial import cut, many, sizes
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    GenerationParameters,
    Message,
    PromptFormat,
    ReplyDecoder,
    UrialChat,
    load_prompt,
)
from urial_core.decoding.template_decoder import TemplateDecoder
from urial_core.prompts.template_stops import TemplateStops, template_stops
from urial_core.testing import FakeModel

RAG = """\
Context information is below.
---------------------
file_name: hours.md

Opening hours: nine to five
Question: is this a document's own?
---------------------
Given the context information and not prior knowledge, answer the query.
Query: When does it open?
Answer: """
REACT = """\
Use the following format:

Question: the input question you must answer
Thought: you should always think about what to do
Action: the action to take, should be one of [search]
Action Input: the input to the action
Observation: the result of the action
... (this Thought/Action/Action Input/Observation can repeat N times)
Thought: I now know the final answer
Final Answer: the final answer to the original input question

Begin!

Question: What is the capital of France?
Thought:"""
SCRATCHPAD = """ I should search.
Action: search
Action Input: capital
Observation: Name: Paris
Population: 2 million
Thought:"""
SQL = """\
Use the following format:

Question: Question here
SQLQuery: SQL Query to run
SQLResult: Result of the SQLQuery
Answer: Final answer here

Only use the following tables:
CREATE TABLE "animal" (name TEXT)

Question: Which animals are there?
SQLQuery: """
TICKET = """\
Context:
Ticket: 12
Topic: refund
Request: money back

Question: What is it about?
Answer:"""
TRIPLETS = """\
Some text is provided below.
---------------------
Example:Text: Alice is Bob's mother.Triplets:
(Alice, is mother of, Bob)
Text: Philz is a coffee shop.
Triplets:
(Philz, is, coffee shop)
---------------------
Text: Bees make honey.
Triplets:
"""
SUB_QUESTIONS = """\
# Example 1
<Tools>
```json
{"a": "b"}
```

<User Question>
Compare a and b

<Output>
```json
{"items": []}
```

# Example 2
<Tools>
```json
{"c": "d"}
```

<User Question>
Compare c and d

<Output>
"""
REFINE = """\
The original question is as follows: When does it open?
We have provided an existing answer: At nine.
------------
It is open until five.
------------
Given the new context, refine the original answer to better answer the question."""
GRADER = """\
Example Format:
QUESTION: question here
STUDENT ANSWER: student's answer here
EXPLANATION: step by step reasoning here
GRADE: CORRECT or INCORRECT here

QUESTION: What is 2 + 2?
STUDENT ANSWER: 4
EXPLANATION:"""
CARD = """\
Context: Bees make honey.
Question: What do bees make?
Difficulty: easy

Give a harder version of the card.

New card:"""
SUMS = """\
Input: 1+1
Reasoning: add
Verdict: 2

Input: 3+3
Reasoning: add"""
PLANS = """\
Make a plan.

For example,
Task: Bake a cake.
Plan: Find a recipe.
Plan: Buy eggs.

Begin!

Task: When was Ann born?"""
WORDS = "Word: big\nOpposite: small\nWord: tall\nOpposite: short\nWord: fast"
CHAT = "Correct the spelling of this chat:\n\nUser: helo\nAgent: god morning\nUser: by"
CORRECTED = "User: hello\nAgent: good morning\nUser: bye"
BRIEF = "Improve this prompt.\n\nContext: We sell shoes.\nTask: Build a shop."
IMPROVED = "Context: We sell shoes online.\n\nTask: Build a shop with a cart."
CRITERIA = """\
Here is the data:
[BEGIN DATA]
***
[Input]: Is it open?
***
[Submission]: Yes.
***
[END DATA]
Does the submission meet the criteria?"""


def decode(stops: TemplateStops | None, pieces: Iterable[str]) -> tuple[str, str]:
    """Return the text of a reply, and why it ended."""
    decoder = ReplyDecoder(PromptFormat(), template=stops)
    text = "".join(decoder.feed(piece) for piece in pieces) + decoder.flush()
    return text, decoder.end_reason("stop")


@pytest.mark.parametrize(
    ("message", "answer", "more"),
    [
        (RAG, "At nine.", "\n---------------------\nGiven the context"),
        (RAG, "At nine.", "\n---------\nGiven the context"),
        (RAG, "At nine.", "\nGiven the context information and not prior knowledge, answer the"),
        (RAG, "At nine.", "\n\nQuery: When does it close?\nAnswer: At five."),
        (RAG, "Opening hours: nine to five\n- Query: by mail", "\nQuery: When?"),
        (REACT, "I look.\nAction: search\nAction Input: France", "\nObservation: Paris"),
        (REACT, "I know.\nFinal Answer: Paris", "\n\nQuestion: And of Spain?\nThought: I know."),
        (REACT, "I know.\nThought: Sure.\nFinal Answer: Paris", "\nQuestion: What?"),
        (REACT + SCRATCHPAD, "I know.\nFinal Answer: Paris\nPopulation: 2", "\nObservation: x"),
        (SQL, "SELECT name FROM animal", "\nSQLResult: cat\nAnswer: a cat"),
        (SQL, "SELECT name FROM animal", "\n\nQuestion: How many?\nSQLQuery: SELECT 1"),
        (SQL, "SELECT name FROM animal", "\nAnswer: a cat"),
        (SQL, "SELECT name FROM animal", "\nSQLQuery: SELECT 1"),
        (TRIPLETS, "(Bees, make, honey)", "\nText: Cats purr.\nTriplets:\n(Cats, do, purr)"),
        (TRIPLETS, "(Bees, make, honey)", "\n---------------------\n(Cats, do, purr)"),
        (SUB_QUESTIONS, '```json\n{"items": [1]}\n```', "\n\n# Example 3\n<Tools>"),
        (SUB_QUESTIONS, "I have no idea.\n```", "\n\n# Example 3\n<Tools>"),
        (REFINE, "From nine to five.", "\n------------\nMore"),
        (REFINE, "From nine to five.", "\nThe original question is as follows: When?"),
        (GRADER, "It is right.\nGRADE: CORRECT", "\n\nQUESTION: What is 1 + 1?"),
        (CRITERIA, "It is on topic.\n\nY", "\n\n[BEGIN DATA]\n***\n[Input]: Is it shut?"),
        ("Question: Why?\nContext: Because.", "Because.", "\nQuestion: How?\nContext: So."),
        ("User: Hi\nAI: Hello\nUser: Bye\nAI:", "Bye!", "\nUser: Hm\nAI: Hm"),
        ("Product: Pen\nSlogan:", "It writes.", "\n\nProduct: Ink\nSlogan: It flows."),
        ("User: Hi\nAI: Hello\nUser: Bye", "Bye!", "\n\nUser: Hm\nAI: Hm"),
        ("User: Hi\nAI: Hello\nUser: Bye", "AI: Bye!", "\nUser: Hm\nAI: Hm"),
        (WORDS, "Opposite: slow", "\nWord: loud\nOpposite: quiet"),
        (
            "Word: stop\nOpposite: continue\nWord: tall\nOpposite: short\nWord: fast",
            "Opposite: slow",
            "\nWord: loud\nOpposite: quiet",
        ),
        ("User: May I continue?\nAI: Pay.\nUser: How much?", "AI: Five.", "\nUser: Thanks."),
        (PLANS, "Plan: Ask her.", "\n\nTask: Go.\nPlan: Run."),
        (SUMS, "Verdict: 6", "\n\nInput: 5+5\nReasoning: add\nVerdict: 10"),
        (SUMS, "Reasoning: carry\nVerdict: 6", "\n\nInput: 5+5"),
        (RAG, "At nine.\nIt closes at five.\nAnswer:", "\nQuery: When does it close?"),
        ("Use the text.\nQuestion: Why?\nContext: So.", "So.", "\n\nQuestion: How?\nContext: Hm."),
        ("Use the text.\nQuestion: Why?\nContext: So.", "**So.**", "\n\nQuestion: How?"),
        (
            "## Question\nWhy?\n\n## Context\nSo.",
            "So.\n\n## Context\nIt is.",
            "\n\n## Question\nHm?",
        ),
        ("Read it.\n\n## Question\nWhy?\n\n## Context\nSo.", "So.", "\n\n## Question\nHm?"),
        ("Read.\n\n## Context\nSo.\n\n### Instructions\nHm.", "So.", "\n\n## Context\nHm?"),
        (
            "Read.\n\n### Information\nSo.\n\n### Instruction\nHm.\n\n### Context\nSo.",
            "So.\n\n### Context\nIt is.",
            "\n\n### Instruction\nHm?",
        ),
        (
            "Read.\n\n### Instruction:\nSay it.\n\n### Input:\nBees.",
            "Honey.",
            "\n\n### Instruction:\nSay.",
        ),
        (BRIEF, "Honey.", f"\n\n{IMPROVED}"),
        *(
            (BRIEF, f"## Answer\n\nHoney.\n\n{title}", f"\n\n{IMPROVED}")
            for title in (
                "# Example 2",
                "## Question 2",
                "**Another:**",
                "*Question 2:*",
                "Example 2:",
                "Next question:",
                "Query #3:",
            )
        ),
        ("User: Hi\nAI: Hello\nUser: Which fruits?", "AI: Here they are:", "\nUser: Thanks"),
        (RAG, "(A line of the same size)", "\n---------------------"),
        (TICKET, "The parcel is lost.", "\nTopic: refund\nRequest: money"),
        (
            "NOTES\n\nNOTES: a\nTopic: b\n\nQuestion: c\nAnswer:",
            "NOTES: a\nTopic: b",
            "\n\nQuestion: d",
        ),
    ],
)
def test_an_invented_turn_is_left_out(message: str, answer: str, more: str) -> None:
    """The reply is the answer without the template's next turn; alone, it is unchanged.

    Below the answer, a heading, a colon in bold, or the title of another example introduces
    nothing, and neither does a line that begins with a label of the message.
    """
    stops = template_stops(message)
    assert decode(stops, answer + more) == decode(stops, [answer + more]) == (answer, "template")
    assert decode(stops, answer) == decode(stops, [answer]) == (answer, "end_of_text")


@pytest.mark.parametrize(
    "answer",
    [
        "The label is Query: or Answer:, in mid-line.",
        "Labels:\n- Query: the question\n* Query: again\n1. Query: once more\n  Query: indented",
        "A file:\n```\nQuery: x\n---------------------\nAnswer: y\n```\nThat is all.",
        "Query parameters\nQueries: two",
        "First step\nAnswer: At nine.",
        "Opening hours of the library\n----------------------------\nNine to five.",
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\nmore",
        "```python\nprint('Query:')\n```",
        "````",
    ],
)
def test_a_rightful_answer_is_never_cut(answer: str) -> None:
    """Labels in mid-line, in lists and in code are text, and so are headings and tables."""
    answer = answer.removesuffix("````")
    assert decode(template_stops(RAG), answer)[0] == answer


@pytest.mark.parametrize(
    "message",
    [
        "Why is the sky blue?",
        "Write a FAQ with lines that begin with Question: and Answer:",
        "Use this form:\nTitle: the title\nSteps: the steps",
        "Rewrite more politely:\nQuestion: What?\nAnswer: No.",
        "Improve it:\n\nInstall\n-------\nRun it.\n\nUsage\n-----\nCall it.",
        "def f():\n    return {'Question': 1}",
        "See https://example.org\nNote: it is long",
        "Complete this function:\n\ndef parse_json(text):",
        "What comes next?\n\nclass JSON:",
        "A card:\n\nQuestion: Why?\nAnswer: Because.\n\nWrite two more like this:",
        "Our journal:\nAction: mix\nObservation: it bubbles\nWrite an entry.",
        "Write a recipe.\n\nIngredients:\nInstructions:",
        "From the mail.\n\nMail: My order 5 is broken.\n\nTopic:\nRequest:\nSummary:",
    ],
)
def test_an_ordinary_message_has_no_stops(message: str) -> None:
    """A message is a template only if its form shows it."""
    assert template_stops(message) is None


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (CHAT, CORRECTED),
        (CHAT, f"Here is the corrected chat:\n\n{CORRECTED}"),
        (CHAT, f"**Corrected chat:**\n\n{CORRECTED}"),
        (CHAT.replace("\n", "\n\n"), CORRECTED.replace("\n", "\n\n")),
        (f"{CHAT}\n\nCorrected chat:", CORRECTED),
        (CHAT.partition("\n\n")[2], CORRECTED),
        (CHAT.replace("\nUser: by", "\n\nUser: by"), CORRECTED),
        (
            "Sort these tasks by owner:\n\nTask: paint\nOwner: Zoe\n\nTask: cook",
            "Task: cook\n\nTask: paint\nOwner: Zoe",
        ),
        ("Fix it.\n\nhost: a\nport: 80\nhost: b", "host: a\nport: 80\nhost: b.org"),
        (
            "Clean up.\n\nTopic: budget\nOwner: Ann\nTopic: hiring",
            "Topic: Budget\nOwner: Ann\nTopic: Hiring",
        ),
        (
            "Continue this dialogue for three more lines.\n\nAnna: Hi.\nBen: Hello.\nAnna: Well?",
            "Ben: Fine.\nAnna: Good.\nBen: And you?",
        ),
        (f"Make them harder.\n\n{SUMS}", "Hard ones\n\nInput: 9*8\nReasoning: hm\nVerdict: 72"),
        (f"Add two more sums:\n\n{SUMS}", "Sums\n\nInput: 9*8\nReasoning: hm\nVerdict: 72"),
        (CARD, "Difficulty: hard\nQuestion: Where?\nContext: Bees."),
        (
            CARD.replace("New card:", "Be brief."),
            "Context: Bees.\nQuestion: Where?\nDifficulty: hard",
        ),
        (CARD, "Here we go!\nNew card:\nContext: Bees.\nQuestion: Where?"),
    ],
)
def test_a_chat_or_list_of_records_is_rewritten(message: str, answer: str) -> None:
    """A message that ends with a record shows no turns: its labels are the reply's own.

    A record's or a chat's last line stands right below others, or the message announces them with
    a colon; a turn's stands apart.
    """
    stops = template_stops(message)
    assert decode(stops, answer) == decode(stops, [answer]) == (answer, "end_of_text")


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (BRIEF, IMPROVED),
        (BRIEF, f"Here is a better one:\n\n{IMPROVED}"),
        (BRIEF, f"Sure: **\n\n{IMPROVED}"),
        (BRIEF, f"Sure: __ \n{IMPROVED}"),
        (BRIEF, f"# Prompt\n\n{IMPROVED}"),
        (BRIEF, f"**Prompt:**\n\n{IMPROVED}"),
        (BRIEF, f"## Prompt:\n\n{IMPROVED}"),
        (BRIEF, f"Sure: here it is:\n\n{IMPROVED}"),
        (BRIEF, f"It was long.\n\n**New prompt**:\n\n{IMPROVED}"),
        (BRIEF, f"I shortened it.\n\nThe new prompt:\n\n{IMPROVED}"),
        ("Write more.\nQuestion: Why?\nContext: So.", "Example 2:\nQuestion: How?\nContext: Hm."),
        ("Write more.\nQuestion: Why?\nContext: So.", "# Quiz\n\nQuestion: How?\nContext: Hm."),
        (
            "Write a story with these sections.\n\nContext: why\nTask: what\nTopic: one word",
            "# Login\n\nContext: We need it.\n\nTask: Build it.\n\nTopic: login",
        ),
        (
            "Summarise.\n\n## Question\nWhy is it slow?\n\n## Context\nNo index.",
            "It is slow.\n\n## Context\nThere is no index.",
        ),
    ],
)
def test_a_reply_introduces_its_own_labels(message: str, answer: str) -> None:
    """Without a cue, labels follow a heading as the reply's first line, or a line with a colon."""
    stops = template_stops(message)
    assert decode(stops, answer) == decode(stops, [answer]) == (answer, "end_of_text")


QUESTION = "Use the text.\n\nBees make honey.\n\nQuestion: What do bees make?\nHelpful Answer:"


@pytest.mark.parametrize(
    ("message", "raw", "text", "end"),
    [
        (QUESTION, "Question: What do bees make?\nHelpful Answer: Honey.", "Honey.", "end_of_text"),
        (QUESTION, "Question: What do bees make?\n\nHoney.", "Honey.", "end_of_text"),
        (QUESTION, "Question:\nWhat do  bees make? \nHoney.\n\nQuestion: x", "Honey.", "template"),
        (QUESTION, "Question: What do bees make? Wax?\nHoney.", "", "template"),
        (QUESTION, "Question: How many?\nHelpful Answer: Six.", "", "template"),
        (QUESTION, "Question: What do bees make?\nQuestion: How many?\nSix.", "", "template"),
        (QUESTION, "Question: What do bees make?", "", "end_of_text"),
        ("Question: 2 + 2?\nAnswer:", "Question: 3 + 3?\nAnswer: 6", "", "template"),
        (
            "Context: c\nQuestion: q\n\nAnswer:",
            "Context: c\nQuestion: q\nAnswer: 4",
            "4",
            "end_of_text",
        ),
        ("Context: c\nQuestion: q\n\nAnswer:", "Question: q Answer: 4", "4", "end_of_text"),
        ("Context: c\nQuestion: q\n\nAnswer:", "Question: q Answers", "", "template"),
        ("Context: c\nQuestion: q\n\nAnswer:", "Question: r\nAnswer: 4", "", "template"),
        ("Follow Up Input: why?\nStandalone question:", "why?", "why?", "end_of_text"),
        (
            "<Message>\nwhy?\n<Question>",
            "<Message>\nwhy?\n<Question>\nWhy a?",
            "Why a?",
            "end_of_text",
        ),
        (SQL, "Question: Which animals are there?\nSQLQuery: SELECT 1", "SELECT 1", "end_of_text"),
        (SQL, "Question: How many?\nSQLQuery: SELECT 1", "", "template"),
        (
            REACT,
            "Question: What is the capital of France?\nThought: Hm.\nAction: search",
            "Hm.\nAction: search",
            "end_of_text",
        ),
        (PLANS, "Task: When was Ann born?\nPlan: Ask her.", "Plan: Ask her.", "end_of_text"),
        (PLANS, "Task: Go.\nPlan: Run.", "", "template"),
        (PLANS.replace("For example,", "Examples:"), "Task: Go.\nPlan: Run.", "", "template"),
        (WORDS, "Word: fast\nOpposite: slow\nWord: loud", "Opposite: slow", "template"),
        ("User: Hi\nAI: Hm?\nUser: Why?", "User: Why?\nAI: So.\nUser: Ah", "AI: So.", "template"),
    ],
)
def test_the_message_s_own_question_is_an_echo(message: str, raw: str, text: str, end: str) -> None:
    """What the message gives last may be repeated before the answer; another question ends it.

    The cue may follow it at once or in a line below.
    """
    stops = template_stops(message)
    assert decode(stops, raw) == decode(stops, [raw]) == (text, end)


@pytest.mark.parametrize(
    ("raw", "end"),
    [
        ('Bees make honey."""', "template"),
        ('Bees make honey."""\n\nPassage:"""Wasps.', "template"),
        ('"""Bees make honey."""', "template"),
        ('Passage:"""\nBees make honey.\n"""\n', "template"),
        ("Bees make honey.", "end_of_text"),
    ],
)
def test_quotes_that_the_cue_opens_end_the_reply(raw: str, end: str) -> None:
    """The quotes of ``Passage:\"\"\"`` are the template's, at both ends of the reply."""
    stops = template_stops('Write a passage.\n\nWhat do bees make?\n\nPassage:"""\n\n')
    assert decode(stops, raw) == decode(stops, [raw]) == ("Bees make honey.", end)


def test_begun_quotes_of_a_cut_reply_are_left_out() -> None:
    """Where ``max_tokens`` cuts the closing quotes, their beginning is no text either."""
    stops = template_stops('Write a passage.\n\nWhat do bees make?\n\nPassage:"""')
    for text in ('Bees make honey.""', 'Bees make honey."', "Bees make honey."):
        decoder = TemplateDecoder(stops or TemplateStops())
        assert decoder.feed(text) + decoder.flush(cut=True) == "Bees make honey."


def test_quotes_in_code_end_no_reply() -> None:
    """Where the cue asks for code, its quotes are a docstring's."""
    stops = template_stops('Write a function.\n\nTask: add\nCode: """')
    code = 'def f():\n    """Add."""\n    return 1'
    assert decode(stops, code) == decode(stops, [code]) == (code, "end_of_text")


@pytest.mark.parametrize(
    ("message", "raw"),
    [
        ("资料如下。\n\n问题：几点开门？\n答案：", "九点。\n\n问题：几点关门？"),
        ("资料如下。\n\n问题：几点开门？\n答案：", "问题：几点开门？\n答案：九点。\n问题："),
        ("Texte.\n\nQuestion : Quand ?\nRéponse :", "九点。\n\nQuestion : Où ?"),
        ("Texte.\n\nQuestion : Quand ?\nRéponse :", "Réponse : 九点。\n\nQuestion: Où ?"),
        (
            "Texte.\n\nQuestion\u00a0: Quand ?\nRéponse\u00a0:",
            "Question\u00a0: Quand ?\nRéponse\u00a0: 九点。\nQuestion\u00a0: Où ?",
        ),
    ],
)
def test_a_colon_counts_as_the_message_writes_it(message: str, raw: str) -> None:
    """Labels may end in a full-width colon, or in a space and a colon."""
    stops = template_stops(message)
    assert decode(stops, raw) == decode(stops, [raw]) == ("九点。", "template")


def test_what_may_be_an_echo_is_decided_soon() -> None:
    """No text is held back without end because it may repeat the message's question."""
    decoder = ReplyDecoder(PromptFormat(), template=template_stops(QUESTION))
    assert not decoder.feed("Question: What do")
    for _ in range(200):
        decoder.feed(" ")
    assert decoder.ended


@pytest.mark.parametrize("answer", ["Question: Who?\nContext: She.", "More:\n\nQuestion: Who?"])
def test_a_reply_in_the_form_of_the_message_is_no_invention(answer: str) -> None:
    """Without a cue, a reply may begin with a label, or announce labels with a colon."""
    message = "Write more of these.\nQuestion: Why?\nContext: Because."
    assert decode(template_stops(message), answer)[0] == answer


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (TICKET, "Ticket: 12\nTopic: refund\nRequest: money back"),
        (TICKET, "Topic: refund\nRequest: money back"),
        (TICKET, "This is the ticket:\n\nTopic: refund\nRequest: money back"),
        (
            "Passages:\n\n[1] Policy: 7\n    Claim: 4\n\nQuestion: Which?\nAnswer:",
            "Policy: 7\nClaim: 4",
        ),
        (
            "Question: How?\n\nserver: x\ninput: a\nport: 1\n\nNew config:",
            "server: x\ninput: a\nport: 2",
        ),
    ],
)
def test_a_record_of_the_message_is_repeated(message: str, answer: str) -> None:
    """A reply may begin with labels that stand together in what was given, or announce them."""
    stops = template_stops(message)
    assert decode(stops, answer) == decode(stops, [answer]) == (answer, "end_of_text")
    assert decode(stops, f"{answer}\n\nQuestion: What else?")[0].strip() == answer


@pytest.mark.parametrize("last", ["user", "input", "query", "Question"])
def test_a_record_above_the_cue_may_end_with_any_label(last: str) -> None:
    """Labels right above the cue are what is asked only if each is of something given."""
    stops = template_stops(f"Change it.\n\nserver: x\nport: 1\n{last}: a\n\nNew config:")
    answer = f"server: x\nport: 2\n{last}: b"
    assert decode(stops, answer) == decode(stops, [answer]) == (answer, "end_of_text")
    stops = template_stops("Context: c\nQuestion: q\n\nAnswer:")
    assert decode(stops, "Context: d\nQuestion: r\nAnswer: 4") == ("", "template")


@pytest.mark.parametrize(
    ("message", "raw", "text"),
    [
        (RAG, "Answer: 4", "4"),
        (RAG, "\n\n```\n4.0", "4.0"),
        (RAG, "```\n4.0\n```", "4.0"),
        (RAG, "```\n4.0\n```\nIt fits.", "4.0\nIt fits."),
        (RAG, "```\n 4.0\n````x", "4.0"),
        (RAG, "```\n\n\n4.0\n````", "```\n\n\n4.0"),
        (RAG, "```\n4.0\n\nQuery: 5", "4.0"),
        (RAG, "```\nx = 1\ny = 2\n```", "```\nx = 1\ny = 2\n```"),
        (RAG, "```python\nx = 1\n```\nDone.", "```python\nx = 1\n```\nDone."),
        (RAG, "Answers vary.", "Answers vary."),
        (SQL, "```sql\nSELECT name\nFROM animal\n```\nIt lists them.", "SELECT name\nFROM animal"),
        (SQL, "SQLQuery:\n```sql\nSELECT 1", "SELECT 1"),
        (SUB_QUESTIONS, "```json\n{}\n```", "```json\n{}\n```"),
        ("Is it 4?", "Answer: 4", "Answer: 4"),
        ("Is it 4?", "```\n4.0\n```", "```\n4.0\n```"),
    ],
)
def test_a_value_comes_without_wrapping_where_the_cue_asks_for_it(
    message: str, raw: str, text: str
) -> None:
    """After a cue, its echo and a fence around a value are left out; elsewhere all is kept."""
    stops = template_stops(message)
    assert decode(stops, raw)[0] == decode(stops, [raw])[0] == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("8.\n\n## System:\n````\nmore", "8."),
        ("8.\n\n## System:\n", "8."),
        ("8.\n\n### Explanation:\n\n````", "8."),
        ("8.\n\n## System: rules", "8.\n\n## System: rules"),
        ("## Steps:\n1. Cook.\n## Notes:\nNone.", "## Steps:\n1. Cook.\n## Notes:\nNone."),
        ("```sh\n# Install:\n```", "```sh\n# Install:\n```"),
    ],
)
def test_an_invented_heading_of_the_prompt_ends_the_reply(raw: str, text: str) -> None:
    """A heading before the fence, or at the end, begins a turn; with text below it, it is text."""
    assert decode(None, raw)[0] == decode(None, [raw])[0] == text


lines = st.sampled_from(
    [
        *(line for message in (RAG, SQL, CHAT, BRIEF, PLANS) for line in message.split("\n")),
        *(
            "Query",
            "-",
            "-----",
            "```",
            "```sql",
            "## A:",
            "````",
            "**A**",
            "**A:**",
            "A: **",
            "A: __ ",
            "A *",
            "# A",
            "Example 2:",
            " 4",
            "````x",
            '"""',
            'Passage:"""',
            'b"""',
        ),
    ]
)


QUOTED = 'Write it.\n\nWhat do bees make?\n\nPassage:"""'
MESSAGES = [RAG, SQL, REACT, REFINE, CRITERIA, QUESTION, CHAT, BRIEF, PLANS, QUOTED]


@many
@given(st.lists(lines), st.sampled_from(MESSAGES), sizes)
def test_any_split_gives_the_same_reply(raw: list[str], message: str, lengths: list[int]) -> None:
    """A text at once, in pieces or by character gives the same reply and the same end."""
    text, stops = "\n".join(raw), template_stops(message)
    whole = decode(stops, [text])
    assert decode(stops, cut(text, lengths)) == whole
    assert decode(stops, text) == whole


@pytest.mark.parametrize("scratchpad", ["", " Yes.\nFollow up: Who?\nIntermediate answer: Bo."])
def test_a_turn_that_has_begun_is_no_record_to_repeat(scratchpad: str) -> None:
    """LangChain's self-ask agent: the turn's further labels introduce none of its question's."""
    prompt = pytest.importorskip("langchain_classic.agents.self_ask_with_search.prompt").PROMPT
    stops = template_stops(prompt.format(input="Who was taller?", agent_scratchpad=scratchpad))
    answer = "Follow up: How tall was Bo?\nIntermediate answer: 180.\nSo the final answer is: Bo"
    raw = f"{answer}\n\nQuestion: Who was older?\nFollow up: How old was Bo?"
    assert decode(stops, raw) == (answer, "template")


def test_a_stop_of_the_caller_is_added() -> None:
    """The caller's own stop string ends the reply too, and is reported as such."""
    decoder = ReplyDecoder(PromptFormat(), stop=("\nObservation",), template=template_stops(REACT))
    assert decoder.feed("Action Input: x\nObservation: y") == "Action Input: x"
    assert (decoder.end_reason("stop"), decoder.stop) == ("stop_string", "\nObservation")


def test_a_system_message_may_hold_the_template() -> None:
    """An agent's format in the system message keeps the model from inventing observations."""
    rules = "```\nAction: tool\nAction Input: {}\n```\n\n```\nObservation: response\n```"
    stops = template_stops("What is 2 + 2?", [rules])
    reply = "Thought: I add.\nAction: add\nAction Input: {}"
    assert decode(stops, f"{reply}\nObservation: 5") == (reply, "template")


def test_a_system_message_may_prescribe_the_reply() -> None:
    """The labels of the format that it announces are the reply's; those of a template are not."""
    message = "Context: Ann lost a key.\nQuestion: Where is my key?"
    form = "You are an agent. Reply in this format:\nThought: <thought>\nQuestion: <a question>"
    reply = "Thought: She lost it.\nQuestion: Where did you see it last?"
    stops = template_stops(message, [form])
    assert decode(stops, reply) == decode(stops, [reply]) == (reply, "end_of_text")
    assert decode(stops, f"{reply}\n\nContext: Bob lost a hat.") == (reply, "template")
    turns = "For example:\nTopic: keys\nQuestion: Where is it?\nFinal Answer: There."
    for rules, asked in (
        (turns, "Question: Where is my key?"),
        (REACT.partition("\n\nBegin!")[0], message),
        (form, f"{message}\nThought:"),
    ):
        answer = "I know.\nFinal Answer: Here."
        more = f"{answer}\n\nQuestion: And the hat?"
        assert decode(template_stops(asked, [rules]), more) == (answer, "template")


@pytest.mark.parametrize(
    ("rules", "more"),
    [
        ("Some examples:\nInput: 1 + 1\nOutput: 2", "Input: 3 + 3\nOutput: 6"),
        ("Use this context:\n\nTitle: FAQ\nQuestion: Who?\nAnswer: Ann.", "Question: Who else?"),
        ("An example:\nTopic: keys\nQuestion: Where?\nReply: There.", "Question: Whose?"),
        ("Answer with the help of this:\nContext: The library.", "Context: The hall."),
    ],
)
def test_documents_and_examples_of_a_system_message_are_no_format(rules: str, more: str) -> None:
    """Labels are the reply's only below a line that names its format, form or structure."""
    stops = template_stops("Question: Where is my key?\nAnswer:", [rules])
    assert decode(stops, f"Here.\n\n{more}") == ("Here.", "template")


def test_the_preset_may_have_the_labels() -> None:
    """A message with a cue is not answered with the labels of the prompt's own examples."""
    request = UrialChat(FakeModel(), load_prompt("rag")).request([Message("user", RAG)])
    assert decode(request.template, "At nine.\n\nContext:\n[1] More") == ("At nine.", "template")
    plain = UrialChat(FakeModel(), load_prompt("rag")).request([Message("user", "Why?")])
    assert plain.template is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_stops_there(*, stream: bool) -> None:
    """The model is stopped, the reason reported; with ``stop_at_template`` off, all is kept."""
    model = FakeModel(["At", " nine.\nQu", "ery: Wh", "at?", " More"])
    chat = UrialChat(model, load_prompt("short"))
    request = chat.request([Message("user", RAG)])
    if stream:
        *deltas, end = chat.stream(request)
        assert "".join(delta.text for delta in deltas) == "At nine."
        assert model.chunks_sent == 3
    else:
        [reply] = chat.reply([request])
        assert reply.text == "At nine."
        end = reply.end
    assert (end.reason, end.finish_reason) == ("template", "stop")
    whole = chat.request([Message("user", RAG)], stop_at_template=False)
    assert chat.reply([whole])[0].text == "At nine.\nQuery: What? More"


def test_a_reply_that_is_another_turn_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    """An invented turn is no answer: it is sampled again, and a second one is logged."""
    invented, answer = ["Question: How many?\nHelpful Answer: Six."], ["Honey."]
    for replies, text in (((invented, answer), "Honey."), ((invented, invented), "")):
        chat = UrialChat(FakeModel(*replies), load_prompt("short"))
        [reply] = chat.reply([chat.request([Message("user", QUESTION)])])
        assert (reply.text, reply.end.attempts) == (text, 2)
        assert ("stop_at_template" in caplog.text) == (not text)


def test_log_probabilities_are_those_of_the_text() -> None:
    """The tokens of an echoed cue are left out of a reply's log-probabilities as well."""
    from urial_core.completion import CompletionChunk, TokenLogprob
    from urial_core.decoding.text_reply import decode_completion

    chat = UrialChat(FakeModel(), load_prompt("short"))
    request = chat.request([Message("user", RAG)], GenerationParameters(logprobs=0))
    tokens = ("Answer", ":", " At", " nine", ".")
    chunk = CompletionChunk(
        "".join(tokens), "stop", None, tuple(TokenLogprob(t, -1) for t in tokens)
    )
    reply = decode_completion(request, chunk)
    assert "".join(one.token for one in reply.logprobs).strip() == reply.text == "At nine."
