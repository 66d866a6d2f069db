"""Chat over several turns: the history is a list of LangChain messages, as with any chat model.

Each answer is streamed. The line after it shows how many tokens were found in the KV cache (prefix
caching): those of the prompt prefix and of the conversation so far.

    python examples/multi_turn.py
"""

import os

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage

from langchain_urial import ChatUrial
from urial_core.demo import DEMO_NOTICE, demo_model_file

QUESTIONS = ["What is a good way to start the day?", "And how should it end?"]


def main() -> None:
    """Ask the questions one after the other, each with the conversation so far."""
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
            cached = usage.get("input_token_details", {}).get("cache_read", 0)
            print(f"\n[{usage['input_tokens']} input tokens, {cached} of them cached]")


if __name__ == "__main__":
    main()
