"""Give a LangChain agent the tools of an MCP server (Model Context Protocol).

This file is also the server, which has two small tools: the client starts it as a process of its
own and talks to it over its standard input and output.

    pip install langchain-mcp-adapters "mcp<2"
    python examples/mcp_tools.py
"""

import asyncio
import os
import sys
from datetime import date

from mcp.server.fastmcp import FastMCP

QUESTION = "What day of the week was 2024-02-29?"
server = FastMCP("calendar", log_level="WARNING")


@server.tool()
def day_of_week(day: str) -> str:
    """Get the day of the week of a date, such as 2000-12-31."""
    return f"{date.fromisoformat(day):%A}"


@server.tool()
def days_between(first: str, last: str) -> int:
    """Count the days from one date to another, such as 2000-12-31."""
    return (date.fromisoformat(last) - date.fromisoformat(first)).days


async def main() -> None:
    """Ask the agent one question and show the conversation."""
    from langchain.agents import create_agent  # imported here: the server does not need it
    from langchain_mcp_adapters.client import MultiServerMCPClient

    from langchain_urial import ChatUrial
    from urial_core.demo import DEMO_NOTICE, demo_model_file

    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE)
    model = os.environ.get("URIAL_MODEL") or str(demo_model_file())
    client = MultiServerMCPClient(
        {
            "calendar": {
                "transport": "stdio",
                "command": sys.executable,
                "args": [__file__, "--serve"],
            }
        }
    )
    agent = create_agent(ChatUrial(model=model, max_tokens=80), await client.get_tools())
    state = await agent.ainvoke({"messages": [("human", QUESTION)]}, {"recursion_limit": 12})
    for message in state["messages"]:
        message.pretty_print()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        server.run()
    else:
        asyncio.run(main())
