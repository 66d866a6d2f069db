"""Put a base model into an existing LangChain chain: only the line that makes the model changes.

The chain below is what many applications have: ``prompt | model | StrOutputParser()``. Run it with
``URIAL_MODEL`` set to a hub id, a folder or a ``.gguf`` file; without it, the demo model answers.

    python examples/swap_into_lcel.py
"""

import os

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_urial import ChatUrial
from urial_core.demo import DEMO_NOTICE, demo_model_file

prompt = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer for {audience}."),
        ("human", "{question}"),
    ]
)

# The only line that changes: another chat model was made here before.
model = ChatUrial(model=os.environ.get("URIAL_MODEL") or str(demo_model_file()), max_tokens=120)

chain = prompt | model | StrOutputParser()

if __name__ == "__main__":
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE, end="\n\n")
    question = {"audience": "a ten-year-old child", "question": "What do bees do all day?"}
    for text in chain.stream(question):
        print(text, end="", flush=True)
    print()
