"""The exported files in LiteRT.js, in Chromium without a screen.

    pytest -m clients tests/clients/test_browser.py

It needs Chromium (Debian: chromium) and npm, which brings the two packages of LiteRT.js. The page is served on the
loopback, and the browser reaches nothing else.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from clients.browser.server import PageServer, serving, showing
from clients.environments import npm_packages
from clients.exported_files import FILES

pytestmark = pytest.mark.clients

PACKAGES = ["@litertjs/core@2.5.3", "@litertjs/wasm-utils@2.5.3"]
SECONDS = 240
FLOAT_TOLERANCE = 1e-4
DYNAMIC_TOLERANCE = 0.02


@pytest.fixture(scope="module", params=["one thread", "threads"])
def answers(request, exported, environments, tmp_path_factory) -> dict[str, bytes]:
    """The outputs of every file, as the page posted them."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if browser is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    server = PageServer(npm_packages(environments / "npm", PACKAGES), exported)
    query = "?threads" if request.param == "threads" else ""
    with serving(server) as address, showing(browser, address + query, tmp_path_factory.mktemp("profile")):
        assert server.ended.wait(SECONDS), f"the page did not end; it answered {', '.join(server.outputs) or 'nothing'}"
    assert server.error is None, server.error
    return server.outputs


@pytest.mark.parametrize("name", FILES)
def test_a_file_answers_in_the_browser(name, answers, exported):
    """Float files agree with our own evaluation to 1e-4; int8 files to one unit of the last layer."""
    file = exported[name]

    found = file.logits(np.frombuffer(answers[name], file.output_type).reshape(file.expected.shape))

    if file.step is not None:
        assert file.steps(found).max() <= 1
    else:
        assert file.relative_difference(found) <= (DYNAMIC_TOLERANCE if file.form == "dynamic" else FLOAT_TOLERANCE)
    if name.startswith("lite0"):
        assert (found.argmax(axis=1) == file.expected.argmax(axis=1)).all()
