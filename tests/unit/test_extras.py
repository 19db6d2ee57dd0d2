"""Who imports a part without its packages reads what installs them."""

from __future__ import annotations

import json
import subprocess
import sys

PARTS = {
    "adapters.chainlit": ("chainlit", "pip install 'mongostore[chainlit]' on Python 3.13 or earlier"),
    "adapters.claude_agent_sdk": ("claude_agent_sdk", "pip install 'mongostore[claude-agent-sdk]'"),
    "adapters.director": ("director", "run it in Director's backend"),
    "adapters.openai_agents": ("agents", "pip install 'mongostore[openai-agents]'"),
    "adapters.pydantic_ai": ("pydantic_ai", "pip install 'mongostore[pydantic-ai]'"),
    "adapters.roomkit": ("roomkit", "pip install 'mongostore[roomkit]' on Python 3.12 or later"),
    "adapters.threadmem": ("PIL", "pip install 'mongostore[threadmem]'"),
    "servers.sessions": ("fastapi", "pip install 'mongostore[api]'"),
    "servers.studio": ("fastapi", "pip install 'mongostore[studio]'"),
}
SCRIPT = """
import importlib, json, sys
parts, caught = json.loads(sys.argv[1]), {}
# None stands for a package that is not there.
sys.modules.update({package: None for package, _ in parts.values()})
for part in parts:
    try:
        importlib.import_module(f"mongostore.{part}")
    except ModuleNotFoundError as error:
        caught[part] = error.name, str(error), error.__suppress_context__
print(json.dumps(caught))
"""


def test_a_part_without_its_packages_says_what_installs_them() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(PARTS)], check=True, capture_output=True, text=True
    )
    caught = json.loads(ran.stdout)
    assert caught.keys() == PARTS.keys()
    for part, (package, remedy) in PARTS.items():
        name, text, is_alone = caught[part]
        assert name.partition(".")[0] == package
        assert text.startswith(f"mongostore.{part} needs more packages: {remedy} (")
        assert text.count("needs more packages") == 1
        assert is_alone
