"""Where settings come from, and what a wrong one says."""

from pathlib import Path

import pytest
from intentmesh.rpc.settings import ServiceSettings, SettingsError, exit_for_wrong_setting, load_settings


def test_load__environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "service.toml"
    file.write_text('listen = "127.0.0.1:1"\ngrace_seconds = 3.5\ntrusted_proxies = ["10.0.0.0/8"]\n')
    monkeypatch.setenv("INTENTMESH_CONFIG_FILE", str(file))
    monkeypatch.setenv("INTENTMESH_LISTEN", "127.0.0.1:2")
    settings = load_settings(ServiceSettings)
    assert (settings.listen, settings.grace_seconds, settings.log_level) == ("127.0.0.1:2", 3.5, "info")
    assert settings.trusted_proxies == ("10.0.0.0/8",)


def test_load__a_list_in_the_environment__is_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTENTMESH_TRUSTED_PROXIES", "10.0.0.0/8, ::1 ,")
    assert load_settings(ServiceSettings).trusted_proxies == ("10.0.0.0/8", "::1")


def test_load__a_secret_by_file__is_read_from_it_wherever_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token, dsn, config = tmp_path / "token", tmp_path / "dsn", tmp_path / "service.toml"
    token.write_text("hunter2\n")
    dsn.write_text("postgresql://h/d\n")
    config.write_text(f'postgres_dsn_file = "{dsn}"\n')
    monkeypatch.setenv("INTENTMESH_INTERNAL_TOKEN_FILE", str(token))
    monkeypatch.setenv("INTENTMESH_CONFIG_FILE", str(config))
    settings = load_settings(ServiceSettings)
    assert (settings.internal_token, settings.postgres_dsn) == ("hunter2", "postgresql://h/d")
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("INTENTMESH_LISTEN", "50051", "listen"),
        ("INTENTMESH_GRACE_SECONDS", "soon", "grace_seconds"),
        ("INTENTMESH_LOG_LEVEL", "loud", "log_level"),
        ("INTENTMESH_TRUSTED_PROXIES", "10.0.0.0/99", "trusted_proxies"),
        ("INTENTMESH_INTERNAL_TOKEN_FILE", "/nowhere/token", "/nowhere/token"),
        ("INTENTMESH_CONFIG_FILE", "/nowhere/file", "/nowhere/file"),
    ],
)
def test_load__wrong__names_the_setting(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=named):
        load_settings(ServiceSettings)


@pytest.mark.parametrize("text", ["lissten = 1", "listen = ", 'listen_file = "/nowhere"'])
def test_load__wrong_file__is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    file = tmp_path / "service.toml"
    file.write_text(text)
    monkeypatch.setenv("INTENTMESH_CONFIG_FILE", str(file))
    with pytest.raises(SettingsError):
        load_settings(ServiceSettings)


def test_exit__any_error__is_one_line_and_code_78(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        exit_for_wrong_setting(SettingsError("two\nlines"))
    assert caught.value.code == 78
    assert capsys.readouterr().err == "wrong setting: two lines\n"
