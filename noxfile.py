"""Unit tests on each Python, and on the oldest and newest versions of what is required: ``nox``.

Sessions install no torch, so the engine's tests skip; ``.ci/run`` runs those.
"""

from __future__ import annotations

import os

import nox

os.environ.setdefault("UV_LINK_MODE", "copy")  # NLTK opens no file that has two links
nox.options.default_venv_backend = "uv"  # which resolves to the oldest versions as well

EXTRAS = "-e.[cli,langchain,llamaindex,openai]"
TOOLS = [  # the extra `test` would install torch
    "hypothesis>=6.120",
    "jsonschema>=4.23",
    "pytest>=8.4",
    "pytest-asyncio>=1.0",
    "pytest-cov>=6",
    "pytest-socket>=0.7",
    "pytest-timeout>=2.4",
    "pytest-xdist>=3.8",
    "scipy>=1.14",
]


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("resolution", ["highest", "lowest-direct"])
def unit(session: nox.Session, resolution: str) -> None:
    """Run the unit tests with the newest or the oldest versions that are allowed."""
    session.install("--resolution", resolution, EXTRAS)
    _test(session)


@nox.session(python="3.11")
@nox.parametrize("openai", ["openai>=2,<3", "openai>=3,<4"])
def openai_sdk(session: nox.Session, openai: str) -> None:
    """Run the unit tests with one major version of the openai SDK."""
    session.install(EXTRAS, openai)
    _test(session)


def _test(session: nox.Session) -> None:
    session.install(*TOOLS)  # the newest, but nothing that is installed is changed
    session.run("pytest", "tests/unit", "-n", "2", "--dist", "loadfile", "-q", *session.posargs)
