"""Hold a conversation: the history is a list of LangChain messages, as with any chat model.

Each answer is streamed. The last line of each turn shows how much of the page was not computed
again: the constant page after the first question, the conversation so far after each turn.

    python examples/multi_turn.py
"""

import os

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage

from langchain_urial import ChatUrial
from urial_core.demo import DEMO_NOTICE, demo_model_file

QUESTIONS = ["What is a good way to start the day?", "And how should it end?"]


def main() -> None:
    """Ask the questions one after the other, each with all that was said before."""
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE)
    model = os.environ.get("URIAL_MODEL") or str(demo_model_file())
    chat = ChatUrial(model=model, max_tokens=100, overflow="truncate")
    messages: list[BaseMessage] = [SystemMessage("Use at most three sentences.")]
    for question in QUESTIONS:
        print(f"\n> {question}")
        messages.append(HumanMessage(question))
        reply = AIMessageChunk("")
        for chunk in chat.stream(messages):
            print(chunk.text, end="", flush=True)
            reply += chunk
        messages.append(reply)
        if usage := reply.usage_metadata:
            reused = usage.get("input_token_details", {}).get("cache_read", 0)
            print(f"\n[{usage['input_tokens']} tokens read, {reused} of them reused]")


if __name__ == "__main__":
    main()
