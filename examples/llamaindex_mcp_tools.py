"""Give a LlamaIndex agent the tools of an MCP server (Model Context Protocol).

The server is ``examples/mcp_tools.py``, which runs as a process of its own.

    pip install llama-index-tools-mcp "mcp<2"
    python examples/llamaindex_mcp_tools.py
"""

import asyncio
import os
import sys
from pathlib import Path

from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

from llamaindex_urial import UrialLLM
from urial_core.demo import DEMO_NOTICE, demo_model_file

QUESTION = "What day of the week was 2024-02-29?"
SERVER = Path(__file__).parent / "mcp_tools.py"


async def main() -> None:
    """Ask the agent one question and show its tool calls."""
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE)
    model = os.environ.get("URIAL_MODEL") or str(demo_model_file())
    llm = UrialLLM(model=model, max_tokens=80)
    client = BasicMCPClient(sys.executable, args=[str(SERVER), "--serve"])
    tools = await McpToolSpec(client=client).to_tool_list_async()
    agent = FunctionAgent(tools=tools, llm=llm)
    memory = ChatMemoryBuffer.from_defaults(llm=llm)
    handler = agent.run(QUESTION, memory=memory, max_iterations=5)
    print(f"> {QUESTION}")
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"  {event.tool_name}({event.tool_kwargs}) returned {event.tool_output.content}")
    print(await handler)


if __name__ == "__main__":
    asyncio.run(main())
