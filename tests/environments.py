"""Python environments that tests install into: with uv where it is there, else with venv and pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path


def make_environment(folder: Path) -> Path:
    """Make an empty environment in the folder and return its interpreter."""
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
    else:
        # Without a pip, which takes seconds to install: the one that runs here installs there, too.
        venv.create(folder, clear=True)
    return folder / "bin" / "python"


def install(python: Path, requirement: str) -> subprocess.CompletedProcess[str]:
    """Install the requirement for the interpreter and return what became of it."""
    if uv := shutil.which("uv"):
        command: list[Path | str] = [uv, "pip", "install", "--python", python]
    else:
        # Like uv it compiles nothing: a test imports little of what is there.
        command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-compile"]
    return run_apart(python.parent, *command, "--quiet", requirement)


def run_apart(folder: Path, *command: Path | str) -> subprocess.CompletedProcess[str]:
    """Run the command in the folder, without the settings of a store and the path that this process has."""
    ours = ("MONGOSTORE_", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
