"""The drawing of a memory plan: a well-formed SVG whose rectangles are the plan's blocks."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.memory_drawing import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_memory
from edge_sdk.ops.activation import Tanh
from edge_sdk.ops.elementwise import Mul
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.training.step import training_session
from edge_sdk.workspace import Workspace

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = ("x", "y", "width", "height")


def rectangles(text: str) -> dict[str, tuple[str, tuple[float, ...]]]:
    """Tooltip → colour and x, y, width, height."""
    root = ET.fromstring(text)  # noqa: S314 - our own
    return {
        title.text: (shape.get("fill"), tuple(float(shape.get(name)) for name in NUMBERS))
        for shape in root.iter(f"{SVG}rect")
        for title in shape.iter(f"{SVG}title")
    }


def test_places_are_steps_and_offsets():
    """In x · tanh(x) on 1 KiB the product is written over x; tanh(x) lies above it, from step 0 to step 1."""
    g = Builder("net")
    x = g.input("x", Spec((256,)))
    graph = g.build(g.add(Mul(), x, g.add(Tanh(), x, name="t"), name="y"))

    drawn = rectangles(draw_memory(Session(graph, Workspace())))

    across, up = (WIDTH - LEFT - RIGHT) / 2, (HEIGHT - TOP - BOTTOM) / 2
    assert drawn["x, y, input, 1.0 KiB, steps 0 to 1"] == (
        COLOURS["input"],
        pytest.approx((LEFT, TOP + up, 2 * across, up), abs=0.01),
    )
    assert drawn["t, activation, 1.0 KiB, steps 0 to 1"] == (
        COLOURS["activation"],
        pytest.approx((LEFT, TOP, 2 * across, up), abs=0.01),
    )


def test_a_graph_of_any_name_can_be_drawn():
    """What means something in XML is escaped, in the text and in the attribute that readers of the screen get."""
    g = Builder('a<b & "c"')
    graph = g.build(g.add(Tanh(), g.input("x", Spec((4,))), name="y"))

    text = draw_memory(Session(graph, Workspace()))

    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.get("aria-label").startswith('a<b & "c": ')
    assert any((shown.text or "").startswith('a<b & "c": ') for shown in root.iter(f"{SVG}text"))


@pytest.mark.parametrize("recompute", [None, "activations"])
def test_every_block_of_a_training_step_is_drawn_once(recompute):
    """Values, scratch and packed weights; each kind has its colour, and what is made again counts as activation."""
    session = training_session(tiny_model(), batch=4, recompute=recompute)

    text = draw_memory(session)

    values = {block for block in session.memory.blocks.values() if block.size}
    scratch = [block for blocks in session.memory.scratch for block in blocks if block.size]
    assert text.count("<title>") == len(values) + len(scratch)
    kinds = {re.search(r", ([a-z ]+), [\d.]+ [KM]iB, steps", title)[1] for title in rectangles(text)}
    assert {"input", "activation", "gradient", "scratch"} <= kinds <= set(COLOURS)
    made_again = [title for title in rectangles(text) if ":again" in title]
    assert bool(made_again) == (recompute is not None)
    assert all(", activation, " in title for title in made_again if title.split(",")[0].endswith(":again"))
    assert "backward" in text
    assert f"peak {session.memory.arena_bytes / 1024:.1f} KiB" in text
