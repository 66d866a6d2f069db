"""Get structured output: constrained decoding guarantees that the reply matches a schema.

With a pydantic class, the result is a valid object of the class. With a JSON schema, the dict can
be streamed while it grows.

    python examples/typed_output.py
"""

import os
from typing import Literal

from pydantic import BaseModel, Field

from langchain_urial import ChatUrial
from urial_core.demo import DEMO_NOTICE, demo_model_file

LETTER = (
    "Hello, my kettle, bought on Monday, is broken: it does not switch off any more. I am rather "
    "cross, and would like my money back. Yours, Ann Miller"
)


class Complaint(BaseModel):
    """What a customer complains about."""

    customer: str = Field(description="The customer's name.")
    product: str = Field(description="What was bought.")
    mood: Literal["calm", "angry"]
    wants_refund: bool


def main() -> None:
    """Read a letter into an object, then stream it into a dict."""
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE)
    model = os.environ.get("URIAL_MODEL") or str(demo_model_file())
    chat = ChatUrial(model=model, max_tokens=120)
    question = f"Fill in the form for this letter.\n\n{LETTER}"

    complaint = chat.with_structured_output(Complaint).invoke(question)
    print(f"> {LETTER}\n\n{complaint!r}\n")

    as_dict = chat.with_structured_output(Complaint.model_json_schema())
    for partial in as_dict.stream(question):
        print(partial)


if __name__ == "__main__":
    main()
