"""What ``rag.py`` asks: chains, query engines, chat engines and agents of both frameworks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.tools import RetrieverTool
from pydantic import PrivateAttr
from rag_stores import PASSAGES_PER_QUESTION

from langchain_urial import ChatUrial, create_rag_chain
from llamaindex_urial import UrialLLM, rag_templates
from urial_core import GenerationError, Prompt
from urial_core.backends.llama_cpp import LlamaCppModel

MAX_TOKENS = 64
AGENT_TOKENS = 128  # a call's arguments count, too
ARMS = (
    "bare model",
    "default",
    "default, system message",
    "rag, plain template",
    "rag, its message",
    "chat engine, default",
    "chat engine, rag",
    "agent, default",
)
TOOL = ("search_handbook", "Finds passages about the island of Orrin.")
PLAIN = PromptTemplate.from_template(  # rlm/rag-prompt of LangChain's hub and tutorials
    "You are an assistant for question-answering tasks. Use the following pieces of retrieved "
    "context to answer the question. If you don't know the answer, just say that you don't know. "
    "Use three sentences maximum and keep the answer concise.\n"
    "Question: {question} \nContext: {context} \nAnswer:"
)
SYSTEM = (  # of LangChain's tutorial of retrieval chains
    "You are an assistant for question-answering tasks. Use the following pieces of retrieved "
    "context to answer the question. If you don't know the answer, say that you don't know. Use "
    "three sentences maximum and keep the answer concise.\n\n{context}"
)


class BareLLM(CustomLLM):
    """The base model without any prompt of this project, as a completion LLM of LlamaIndex's."""

    _llm: UrialLLM = PrivateAttr()

    def __init__(self, llm: UrialLLM) -> None:
        super().__init__()
        self._llm = llm

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=4096, num_output=MAX_TOKENS)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:  # noqa: ARG002, FBT001, FBT002
        stop = ["\n\n", "\nQuestion:", "\nQuery:"]
        text = self._llm.complete(prompt, formatted=True, stop=stop, repetition_penalty=1.1).text
        return CompletionResponse(text=text)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002
        raise NotImplementedError("The benchmark asks for whole answers only.")


Answer = tuple[str, list[str]]
"""A reply's text, and the ids of the passages that it was given, in order."""


def langchain_arms(
    model: LlamaCppModel, rag: Prompt, retriever: BaseRetriever
) -> dict[str, Callable[[str], Answer]]:
    """Return LangChain's two-step chain with each model and template, and its agent."""
    bare = BareLLM(UrialLLM(llm=model, max_tokens=MAX_TOKENS))
    chats = {
        "default": ChatUrial(llm=model, max_tokens=MAX_TOKENS),
        "rag": ChatUrial(llm=model, prompt=rag, max_tokens=MAX_TOKENS),
    }

    def plain(llm: Any, template: Runnable[Any, Any] = PLAIN) -> Callable[[str], Answer]:
        chain: Runnable[Any, Any] = (
            RunnablePassthrough.assign(
                context=lambda given: "\n\n".join(doc.page_content for doc in given["docs"])
            )
            | template
            | llm
        )

        def answer(question: str) -> Answer:
            docs = retriever.invoke(question)
            return chain.invoke({"docs": docs, "question": question}), ids_of(docs)

        return answer

    in_system_message = ChatPromptTemplate([("system", SYSTEM), ("human", "{question}")])

    def helper(question: str) -> Answer:
        result = create_rag_chain(chats["rag"], retriever).invoke({"input": question})
        return result["answer"], ids_of(result["context"])

    tool = create_retriever_tool(retriever, *TOOL, response_format="content_and_artifact")
    agent = create_agent(ChatUrial(llm=model, max_tokens=AGENT_TOKENS), [tool])

    def look_up(question: str) -> Answer:
        messages = agent.invoke({"messages": [HumanMessage(question)]})["messages"]
        results = [message for message in messages if isinstance(message, ToolMessage)]
        docs = [doc for result in results for doc in result.artifact or ()]
        return messages[-1].text, ids_of(docs)

    def ids_of(docs: Sequence[Document]) -> list[str]:
        return [doc.metadata["id"] for doc in docs]

    return {
        "bare model": plain(lambda value: bare.complete(value.to_string()).text),
        "default": plain(chats["default"] | StrOutputParser()),
        "default, system message": plain(chats["default"] | StrOutputParser(), in_system_message),
        "rag, plain template": plain(chats["rag"] | StrOutputParser()),
        "rag, its message": helper,
        "agent, default": look_up,
    }


def llamaindex_arms(
    model: LlamaCppModel, rag: Prompt, index: VectorStoreIndex
) -> dict[str, Callable[[str], Answer]]:
    """Return LlamaIndex's query engine and chat engine with each template, and its agent."""

    def engine(llm: Any, **templates: Any) -> Callable[[str], Answer]:
        made = index.as_query_engine(llm=llm, similarity_top_k=PASSAGES_PER_QUESTION, **templates)

        def answer(question: str) -> Answer:
            response = made.query(question)
            return str(response), [node.metadata["id"] for node in response.source_nodes]

        return answer

    def chat_engine(llm: UrialLLM, **templates: Any) -> Callable[[str], Answer]:
        def answer(question: str) -> Answer:
            made = index.as_chat_engine(
                ChatMode.CONTEXT, llm=llm, similarity_top_k=PASSAGES_PER_QUESTION, **templates
            )
            response = made.chat(question)
            return str(response), [node.metadata["id"] for node in response.source_nodes]

        return answer

    retriever = index.as_retriever(similarity_top_k=PASSAGES_PER_QUESTION)
    tool = RetrieverTool.from_defaults(retriever, name=TOOL[0], description=TOOL[1])

    def look_up(question: str) -> Answer:
        async def run() -> Any:
            llm = UrialLLM(llm=model, max_tokens=AGENT_TOKENS)
            agent = FunctionAgent(tools=[tool], llm=llm)
            return await agent.run(question)

        try:
            output = asyncio.run(run())
        except GenerationError:  # its call was cut, as values that run away are
            return "", []
        nodes = [node for call in output.tool_calls for node in call.tool_output.raw_output or ()]
        return str(output), [node.metadata["id"] for node in nodes]

    chat = UrialLLM(llm=model, prompt=rag, max_tokens=MAX_TOKENS)
    default = UrialLLM(llm=model, max_tokens=MAX_TOKENS)
    return {
        "bare model": engine(BareLLM(UrialLLM(llm=model, max_tokens=MAX_TOKENS))),
        "default": engine(default),
        "rag, plain template": engine(chat),
        "rag, its message": engine(chat, **rag_templates()),
        "chat engine, default": chat_engine(default),
        "chat engine, rag": chat_engine(chat, **rag_templates()),
        "agent, default": look_up,
    }
