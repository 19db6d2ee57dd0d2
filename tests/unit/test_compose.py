import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose():
    return YAML(typ="safe").load(COMPOSE)


def validate(path):
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_file_fits_the_compose_schema():
    result = validate(COMPOSE)
    assert result.returncode == 0, result.stdout + result.stderr


def test_schema_refuses_a_misspelt_member(tmp_path):
    path = tmp_path / "docker-compose.yml"
    text = COMPOSE.read_text(encoding="utf-8")
    path.write_text(text.replace("healthcheck:", "heathcheck:"), encoding="utf-8")
    result = validate(path)
    assert result.returncode == 1
    assert "heathcheck" in result.stdout


def test_file_carries_no_obsolete_version(compose):
    assert "version" not in compose


def test_default_profile_starts_only_mongodb(compose):
    started = [name for name, service in compose["services"].items() if not service.get("profiles")]
    assert started == ["mongodb"]


def test_profile_atlas_starts_atlas(compose):
    assert compose["services"]["atlas"]["profiles"] == ["atlas"]


def test_every_port_is_published_on_loopback_and_only_once(compose):
    published = [port for service in compose["services"].values() for port in service["ports"]]
    assert published == ["127.0.0.1:27017:27017", "127.0.0.1:27018:27017"]


def test_every_service_keeps_its_data_in_named_volumes_of_its_own(compose):
    mounts = [mount.split(":") for service in compose["services"].values() for mount in service["volumes"]]
    assert sorted(volume for volume, _ in mounts) == sorted(compose["volumes"])
    for service in compose["services"].values():
        assert any(mount.endswith(":/data/db") for mount in service["volumes"])


def test_every_service_comes_back_after_a_restart(compose):
    assert {service["restart"] for service in compose["services"].values()} == {"unless-stopped"}


def test_health_check_initiates_the_set_and_waits_for_a_primary(compose):
    service = compose["services"]["mongodb"]
    name = service["command"][service["command"].index("--replSet") + 1]
    script = service["healthcheck"]["test"][-1]
    assert service["healthcheck"]["test"][:2] == ["CMD", "mongosh"]
    assert f'rs.initiate({{_id: "{name}", members: [{{_id: 0, host: "localhost:27017"}}]}})' in script
    assert "isWritablePrimary" in script


def test_atlas_keeps_the_health_check_of_its_image(compose):
    assert "healthcheck" not in compose["services"]["atlas"]
