"""Having the constant page computed ahead."""

from __future__ import annotations

import pytest
from fake_server import PROMPT, FakeServer, refusal


@pytest.mark.parametrize("kind", ["vllm", "generic"])
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_one_request_warms_a_shared_cache(kind: str, way: str) -> None:
    """The page alone goes, for one token."""
    fake_server = FakeServer(kind)
    model = fake_server.model()
    if way == "sync":
        model.warm(PROMPT)
    else:
        await model.awarm(PROMPT.prefix)
    [body] = fake_server.completions
    assert (body["prompt"], body["max_tokens"]) == (PROMPT.prefix, 1)


def test_every_slot_of_llama_cpp_is_warmed_by_the_first() -> None:
    """The first slot reads the page; the others get its state, and are asked to prove it."""
    fake_server = FakeServer("llama.cpp")
    model = fake_server.model()
    model.server()
    before = len(fake_server.seen)
    model.warm(PROMPT)
    seen = fake_server.seen[before:]
    assert [(each.path, each.body.get("id_slot")) for each in seen] == [
        ("/v1/completions", 0),
        ("/slots/0?action=save", None),
        ("/slots/1?action=restore", None),
        ("/v1/completions", 1),
        ("/slots/2?action=restore", None),
        ("/v1/completions", 2),
    ]
    assert len({each.body["filename"] for each in seen if "action" in each.path}) == 1
    assert {each.body["prompt"] for each in seen if "prompt" in each.body} == {PROMPT.prefix}


def test_slots_that_cannot_be_saved_read_the_page_each() -> None:
    """Without ``--slot-save-path`` it takes longer, and every slot is warm all the same."""
    fake_server = FakeServer("llama.cpp")
    fake_server.overrides["/slots/0?action=save"] = refusal(501, message="not supported")
    fake_server.model().warm(PROMPT)
    assert [body["id_slot"] for body in fake_server.completions] == [0, 1, 2]
    assert not [path for path in fake_server.paths if "restore" in path]
