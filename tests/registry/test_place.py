"""A registry is found where it is named, and a wrong setting is refused by name."""

import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.registry.place import RegistryConfig


def test_a_folder_alone_is_a_registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEANRISK_REGISTRY", raising=False)
    assert RegistryConfig.read() == RegistryConfig.read("registry")
    monkeypatch.setenv("LEANRISK_REGISTRY", str(tmp_path / "other"))
    found = RegistryConfig.read()
    assert found.database == f"sqlite:///{tmp_path}/other/registry.db"
    assert found.snapshots == str(tmp_path / "other")
    assert found.journal.verify() == 0
    assert found.store.ids == ()


def test_settings_in_the_folder_change_what_they_name(tmp_path):
    (tmp_path / "registry.toml").write_text(
        'database = "postgresql+psycopg://risk@db/models"\nsnapshots = "far"\nfour_eyes = true\n'
    )
    found = RegistryConfig.read(tmp_path)
    assert found.database == "postgresql+psycopg://risk@db/models"
    assert found.snapshots == str(tmp_path / "far")
    assert found.four_eyes
    assert not found.proven


@pytest.mark.parametrize(
    "text", ['databas = "x"', "retention_days = -1", 'model = "a/b"', 'four_eyes = "yes"', "not toml"]
)
def test_wrong_settings_are_refused(tmp_path, text):
    (tmp_path / "registry.toml").write_text(text)
    with pytest.raises(ConfigError):
        RegistryConfig.read(tmp_path)


def test_a_database_names_a_registry_and_a_bucket_does_not(tmp_path):
    found = RegistryConfig.read("postgresql://risk@db/models")
    assert (found.database, found.snapshots) == ("postgresql://risk@db/models", "registry")
    with pytest.raises(ConfigError, match="snapshots = "):
        RegistryConfig.read("s3://bucket/models")
