"""Computing the prompt prefix ahead of the first request."""

from __future__ import annotations

import pytest
from fake_server import PROMPT, FakeServer, refusal


@pytest.mark.parametrize("kind", ["vllm", "generic"])
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_one_request_warms_a_shared_cache(kind: str, way: str) -> None:
    """One request for one token computes the prompt prefix."""
    fake_server = FakeServer(kind)
    model = fake_server.model()
    if way == "sync":
        model.warm(PROMPT)
    else:
        await model.awarm(PROMPT.prefix)
    [body] = fake_server.completions
    assert (body["prompt"], body["max_tokens"]) == (PROMPT.prefix, 1)


def test_llama_cpp_restores_the_first_slot_into_the_others() -> None:
    """The first slot reads the prefix; the others restore its KV cache."""
    fake_server = FakeServer("llama.cpp")
    model = fake_server.model()
    model.server()
    before = len(fake_server.received)
    model.warm(PROMPT)
    sent = fake_server.received[before:]
    assert sent.pop(0).path == "/slots"
    assert [(each.path, each.body.get("id_slot")) for each in sent] == [
        ("/v1/completions", 0),
        ("/slots/0?action=save", None),
        ("/slots/1?action=restore", None),
        ("/slots/2?action=restore", None),
    ]
    assert len({each.body["filename"] for each in sent if "action" in each.path}) == 1
    assert {each.body["prompt"] for each in sent if "prompt" in each.body} == {PROMPT.prefix}


async def test_chosen_slots_alone_are_warmed() -> None:
    """Other slots keep what they have; the first chosen one's KV cache is the one that is saved."""
    fake_server = FakeServer("llama.cpp")
    await fake_server.model().awarm(PROMPT, slots=[1, 2])
    assert [body["id_slot"] for body in fake_server.completions] == [1]
    assert [path for path in fake_server.paths if "action" in path] == [
        "/slots/1?action=save",
        "/slots/2?action=restore",
    ]


def test_busy_slots_are_not_waited_for() -> None:
    """A slot that is writing a reply keeps what it has; without an idle one, nothing is sent."""
    fake_server = FakeServer("llama.cpp")
    states = [{"id": slot, "is_processing": slot != 1} for slot in range(3)]
    fake_server.overrides["/slots"] = states
    for slots in (None, [1, 2], [0, 2]):
        fake_server.received.clear()
        fake_server.model().warm(PROMPT, slots=slots)
        assert [body["id_slot"] for body in fake_server.completions] == [1]
        assert [path for path in fake_server.paths if "action" in path] == ["/slots/1?action=save"]
    states[1]["is_processing"] = True
    fake_server.received.clear()
    fake_server.model().warm(PROMPT)
    assert not fake_server.completions


@pytest.mark.parametrize("states", [5, {"error": "?"}, [3], [{"id": [], "is_processing": 1}], None])
def test_slots_in_another_form_count_as_idle(states: object) -> None:
    """A server that does not say which slots are busy has its prefix in all of them."""
    fake_server = FakeServer("llama.cpp")
    fake_server.overrides["/slots"] = states
    fake_server.model().warm(PROMPT)
    actions = [path for path in fake_server.paths if "action" in path]
    assert actions == ["/slots/0?action=save", *(f"/slots/{n}?action=restore" for n in (1, 2))]


def test_slots_that_cannot_be_saved_each_read_the_prefix() -> None:
    """Without ``--slot-save-path`` it takes longer, but every slot is warm."""
    fake_server = FakeServer("llama.cpp")
    fake_server.overrides["/slots/0?action=save"] = refusal(501, message="not supported")
    fake_server.model().warm(PROMPT)
    assert [body["id_slot"] for body in fake_server.completions] == [0, 1, 2]
    assert not [path for path in fake_server.paths if "restore" in path]


def test_a_prefix_that_is_saved_is_not_computed() -> None:
    """Every slot restores it, the first too, and nothing is saved again."""
    fake_server = FakeServer("llama.cpp")
    fake_server.model().warm(PROMPT, is_saved=True)
    actions = [path for path in fake_server.paths if "action" in path]
    assert actions == [f"/slots/{slot}?action=restore" for slot in range(3)]
    assert not fake_server.completions


def test_a_saved_prefix_that_is_missing_is_computed() -> None:
    """The first slot reads the prefix, and its KV cache is saved for the others."""
    fake_server = FakeServer("llama.cpp")
    fake_server.overrides["/slots/0?action=restore"] = refusal(400, message="no such file")
    fake_server.model().warm(PROMPT, is_saved=True)
    assert [body["id_slot"] for body in fake_server.completions] == [0]
    assert [path for path in fake_server.paths if "action" in path] == [
        "/slots/0?action=restore",
        "/slots/0?action=save",
        "/slots/1?action=restore",
        "/slots/2?action=restore",
    ]
