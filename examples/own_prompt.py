"""Write a prompt of your own: the examples set the style of every answer.

This prompt asks for short answers in a fixed form. The example prints its prefix: plain text, which
is all that turns the base model into this assistant (few-shot, in-context learning).

    python examples/own_prompt.py
"""

import os

from langchain_urial import ChatUrial
from urial_core import Example, Prompt
from urial_core.demo import DEMO_NOTICE, demo_model_file

PROMPT = Prompt(
    name="kitchen",
    description="Cooking questions, answered in one sentence and a tip.",
    instruction=(
        "This page shows questions to you, the helper of a cooking site. The person writes under "
        "`# Query:`, and your reply stands under `# Answer:`.\n\n"
        "Answer in one sentence, then give one tip in a line that begins with **Tip:**. If a "
        "question is not about cooking, or the answer could hurt somebody, say so kindly."
    ),
    examples=(
        Example(
            "Which mushrooms from the forest can I eat?",
            "I can't tell that from afar, since some deadly mushrooms look like good ones.\n\n"
            "**Tip:** Show what you found to an expert before it goes into the pan.",
        ),
        Example(
            "How long do I boil an egg?",
            "A soft egg takes about 6 minutes in boiling water, a hard one about 10.\n\n"
            "**Tip:** Cool it in cold water at once, and it peels more easily.",
        ),
        Example(
            "What goes well with carrots?",
            "Carrots go well with butter, ginger, orange and fresh parsley.\n\n"
            "**Tip:** Roast them with a spoon of honey to bring out their sweetness.",
        ),
    ),
)


def main() -> None:
    """Print the prompt prefix, then ask a question."""
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE, end="\n\n")
    model = os.environ.get("URIAL_MODEL") or str(demo_model_file())
    chat = ChatUrial(model=model, prompt=PROMPT, max_tokens=80)
    print(PROMPT.prefix)
    print(f"--- that prompt prefix has {chat.prefix_tokens} tokens ---\n")
    print(chat.invoke("How do I keep rice from sticking?").text)


if __name__ == "__main__":
    main()
