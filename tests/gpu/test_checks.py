"""What the checks of the emulated device find in kernels with one defect each, and nothing in those without it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gpu.device_calls import call_on_device
from gpu.planted_defects import DEFINITIONS, FILE, PLANTED, THREADS, Planted, PlantedSource
from op_cases.case import normal

from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import CHECK_VARIABLE, EmulatedDriver
from edge_sdk.kernels.gpu.emulation_findings import Fault, KernelFaultError
from edge_sdk.kernels.gpu.launch import Launch, address_table
from edge_sdk.kernels.gpu.source import FOLDER, source
from edge_sdk.ops.activation import Softmax
from edge_sdk.spec import Array, Spec

load_device("gpu")
pytestmark = pytest.mark.emulated

SOURCE = PlantedSource("planted")
WHO = r"thread \(\d+, 0, 0\) of block \(0, 0, 0\)"


@pytest.fixture
def driver() -> EmulatedDriver:
    """The emulated device."""
    emulated = current_driver()
    assert isinstance(emulated, EmulatedDriver)
    return emulated


def run(driver: EmulatedDriver, one: Planted, *, wrong: bool) -> Array:
    """What a kernel leaves in y."""
    x = on_device(driver, np.arange(256, dtype=np.float32))
    y = driver.allocate(4 * THREADS * one.blocks).view(np.float32)
    if one.zeros:
        driver.write(y, np.zeros_like(y))
    kernel = driver.function(SOURCE, f"{one.name}_{'wrong' if wrong else 'right'}")
    Launch(driver, kernel, (one.blocks, 1, 1), (THREADS, 1, 1), one.shared, (y, x))()
    return driver.read(y)


def on_device(driver: EmulatedDriver, content: Array) -> Array:
    """Return a copy in the device's memory."""
    array = driver.allocate(content.nbytes).view(content.dtype).reshape(content.shape)
    driver.write(array, content)
    return array


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.name)
def test_a_defect_is_found(
    driver: EmulatedDriver, one: Planted, backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As what it is, whichever threads run first; the same kernel without it passes."""
    monkeypatch.setattr(driver, "reversed", backwards)

    with pytest.raises(KernelFaultError) as found:
        run(driver, one, wrong=True)
    run(driver, one, wrong=False)

    assert found.value.fault is one.fault, found.value


def planted(name: str) -> tuple[Planted, int]:
    """One of the kernels, and the line in which its defect stands."""
    index, one = next((index, one) for index, one in enumerate(PLANTED) if one.name == name)
    return one, len(DEFINITIONS) + 2 * index + 1


def test_a_race_names_both_threads_and_lines(driver: EmulatedDriver) -> None:
    """Who did what, to which array, where in the source."""
    one, line = planted("no_barrier")

    with pytest.raises(KernelFaultError) as found:
        run(driver, one, wrong=True)

    wanted = (
        rf"race: no_barrier_wrong: {WHO} writes 4 bytes of shared s \(256 bytes\) at 128, {FILE}:{line}; "
        rf"{WHO} read there, {FILE}:{line}, and nothing orders the two"
    )
    assert re.fullmatch(wanted, str(found.value)), found.value


def test_what_is_out_of_bounds_is_told_by_the_nearest_array(driver: EmulatedDriver) -> None:
    """By how many bytes an access misses it."""
    one, line = planted("one_behind")

    with pytest.raises(KernelFaultError) as found:
        run(driver, one, wrong=True)

    wanted = (
        "out of bounds: one_behind_wrong: thread (63, 0, 0) of block (0, 0, 0) writes 4 bytes of memory 0 bytes behind "
        f"y (256 bytes), {FILE}:{line}; neither the launch's arguments nor shared memory reach there"
    )
    assert str(found.value) == wanted


def test_arrays_named_in_a_table_may_be_touched_and_no_more(driver: EmulatedDriver) -> None:
    """Up to their ends."""
    x, y = (on_device(driver, np.ones(count, np.float32)) for count in (1, 5))
    table = address_table([x, y])
    kernel = driver.function(SOURCE, "through_table")

    Launch(driver, kernel, (1, 1, 1), (1, 1, 1), 0, (table, np.int32(5)))()
    with pytest.raises(KernelFaultError, match=r"4 bytes of memory 0 bytes behind an array of table \(20 bytes\)"):
        Launch(driver, kernel, (1, 1, 1), (1, 1, 1), 0, (table, np.int32(6)))()


def test_only_what_was_written_can_be_copied_and_read(driver: EmulatedDriver) -> None:
    """A copy takes along which elements hold something, also of an array with steps."""
    whole = driver.allocate(32).view(np.float32).reshape(2, 4)
    copied = driver.allocate(32).view(np.float32).reshape(2, 4)
    driver.write(whole[:, ::2], np.ones((2, 2), np.float32))

    driver.copy(copied, whole)

    assert driver.read(copied[:, ::2]).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(KernelFaultError, match="the host reads 32 bytes of the device, of which 16 are unwritten"):
        driver.read(copied)
    driver.forget(whole)
    with pytest.raises(KernelFaultError) as found:
        driver.read(whole[0, 0:1])
    assert found.value.fault is Fault.UNINITIALISED


@pytest.mark.parametrize(("value", "checked"), [("1", True), ("0", False), ("", False)])
def test_a_variable_switches_the_checks_on(value: str, checked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any program."""
    monkeypatch.setenv(CHECK_VARIABLE, value)

    assert EmulatedDriver().checked == checked


def test_checks_change_no_result(driver: EmulatedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a warp and of a block give the bytes that they do without; a defect passes then."""
    for columns in (37, 1501):
        x, op = normal(5, columns), Softmax()
        kernel = find_kernel(op, "gpu", [Spec(x.shape)])
        assert kernel is not None
        (checked,) = call_on_device(kernel, op, [x])
        with monkeypatch.context() as patch:
            patch.setattr(driver, "checked", False)
            (plain,) = call_on_device(kernel, op, [x])
            run(driver, planted("no_barrier")[0], wrong=True)
        assert checked.tobytes() == plain.tobytes()


@pytest.mark.parametrize("name", ["conv", "norm"])
def test_each_line_of_a_source_knows_its_file(name: str) -> None:
    """What the compiler reads stands, letter by letter, where it is said to."""
    files = {path.name: path.read_text(encoding="utf-8").splitlines() for path in FOLDER.iterdir()}

    lines = [line for line in source(name).lines if line.file in files]

    assert {f"{name}.cu", "common.cuh"} <= {line.file for line in lines}
    assert all(files[line.file][line.number - 1] == line.text for line in lines)
