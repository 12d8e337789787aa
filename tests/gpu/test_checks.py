"""What the checks of the emulated device find in kernels with one defect each, and nothing in those without it."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.planted_defects import FILE, PLANTED, THREADS, Planted, PlantedSource

from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver
from edge_sdk.kernels.gpu.emulation_findings import Fault, KernelFaultError
from edge_sdk.kernels.gpu.launch import Launch
from edge_sdk.spec import Array

SOURCE = PlantedSource("planted")


@pytest.fixture
def driver() -> EmulatedDriver:
    """The emulated device."""
    emulated = current_driver()
    assert isinstance(emulated, EmulatedDriver)
    return emulated


def run(driver: EmulatedDriver, one: Planted, *, wrong: bool) -> Array:
    """What a kernel leaves in y."""
    x = driver.allocate(4 * 256).view(np.float32)
    driver.write(x, np.arange(256, dtype=np.float32))
    y = driver.allocate(4 * THREADS * one.blocks).view(np.float32)
    if one.zeros:
        driver.write(y, np.zeros_like(y))
    kernel = driver.function(SOURCE, f"{one.name}_{'wrong' if wrong else 'right'}")
    Launch(driver, kernel, (one.blocks, 1, 1), (THREADS, 1, 1), one.shared, (y, x))()
    return driver.read(y)


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.name)
def test_a_defect_is_found_and_named(
    driver: EmulatedDriver, one: Planted, backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what it is, whichever threads run first; the same kernel without it passes."""
    monkeypatch.setattr(driver, "reversed", backwards)

    with pytest.raises(KernelFaultError) as found:
        run(driver, one, wrong=True)
    run(driver, one, wrong=False)

    assert found.value.fault is one.fault, found.value
