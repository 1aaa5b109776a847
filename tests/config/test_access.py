"""How a server is approached: read, merged and refused when the configuration is made."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.config import Config, ConfigWarning, instance_settings, pool_settings
from gleitzeit_nb.config.certificates import validity
from gleitzeit_nb.core.access import ProxySettings, Secret
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.errors import ConfigError
from tests.support.certificates import Authority, encrypted

Write = Callable[[str], Path]
Loaded = Callable[..., Config]

ENV = {"KEY": "hunter2", "PAIR": "ann:hunter2", "OTHER": "s3cret", "PROXY": "http://ann:hunter2@proxy:3128"}


def made(**keys: Any) -> InstanceSettings:
    return instance_settings({"id": "a", "url": "https://a", **keys}, environ=ENV)


def refused(**keys: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)
        with pytest.raises(ConfigError) as caught:
            made(**keys)
    message = str(caught.value)
    assert "hunter2" not in message
    return message


def test_every_kind_of_credential_is_read_by_name() -> None:
    instance = made(api_key="env:KEY", headers={"X-Team": "env:OTHER"}, proxy="env:PROXY")
    assert instance.api_key == Secret("hunter2")
    assert instance.headers == (("X-Team", Secret("s3cret")),)
    assert instance.proxy == ProxySettings("http://proxy:3128", Secret("ann:hunter2"))
    assert made(bearer="env:KEY").api_key == Secret("hunter2")
    assert made(basic_auth="env:PAIR").basic_auth == Secret("ann:hunter2")
    assert made(headers={"Authorization": "env:KEY"}).headers == (("Authorization", Secret("hunter2")),)


@pytest.mark.parametrize(
    "keys",
    [
        {"api_key": "hunter2"},
        {"bearer": "hunter2"},
        {"basic_auth": "ann:hunter2"},
        {"headers": {"X-Key": "hunter2"}},
        {"proxy": "http://ann:hunter2@proxy:3128"},
        {"url": "https://ann:hunter2@a"},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_what_is_written_out_works_and_warns(keys: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.warns(ConfigWarning, match="written out") as warned:
        made(**keys)
    assert len(warned) == 1
    assert "hunter2" not in caplog.text + str(warned[0].message)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"api_key": "env:KEY", "bearer": "env:KEY"}, "'bearer' in ollama.instances[0] means the same as 'api_key'"),
        ({"api_key": "env:KEY", "basic_auth": "env:PAIR"}, "api_key and basic_auth are both given"),
        ({"api_key": "env:KEY", "headers": {"authorization": "env:OTHER"}}, "api_key and the header Authorization are both given"),
        ({"basic_auth": "env:PAIR", "url": "https://u:hunter2@a"}, "basic_auth and its url's user info are both given"),
        ({"basic_auth": "env:KEY"}, "should be user:password, and holds no colon"),
        ({"basic_auth": 3}, "should be env:NAME or keyring:NAME"),
        ({"api_key": "hunter2\r\nX-Evil: 1"}, "line break"),
        ({"basic_auth": "ann:hunter2\nX: 1"}, "line break"),
        ({"headers": {"X-Team": "a\r\nX-Evil: hunter2"}}, "headers.X-Team of instance 'a' holds a line break"),
        ({"headers": {"X-Team": "a\0b"}}, "line break or a character that cannot stand"),
        ({"headers": {"X-Team\r\nX-Evil": "x"}}, "no spaces, colons or line breaks"),
        ({"headers": {"X Team": "x"}}, "no spaces, colons or line breaks"),
        ({"headers": {"": "x"}}, "names of HTTP headers"),
        ({"headers": {"X-Team": 5}}, "in quotes if it looks like a number"),
        ({"headers": ["X-Team: x"]}, "should be a mapping"),
        ({"headers": {"X-A": "env:KEY", "x-a": "env:KEY"}}, "each header once"),
        ({"headers": {f"X-{n}": "env:KEY" for n in range(40)}}, "at most 32 headers"),
        ({"headers": {"X-A": "x" * 9000}}, "longer than 8192"),
        ({"headers": {"X-A": "env:ABSENT"}}, "the environment variable 'ABSENT' is not set"),
        ({"headers": {"X-A": ""}}, "is empty"),
        ({"api_key": ""}, "is empty"),
        ({"proxy": "socks5://proxy:1080"}, "spoken to in plain HTTP"),
        ({"proxy": "proxy:3128"}, "spoken to in plain HTTP"),
        ({"proxy": "https://proxy:3128"}, "spoken to in plain HTTP"),
        ({"proxy": "http://proxy:3128/path"}, "should hold no path"),
        ({"proxy": "http://proxy:99999"}, "its port must be a number"),
        ({"proxy": "http://u:hunter2@pro xy"}, "is not an address"),
        ({"proxy": "http://u:hunter2@proxy:3128?x"}, "leave out what follows"),
        ({"proxy": True}, "should be env:NAME"),
        ({"tls": {"cafile": "x"}}, "unknown key 'cafile' in ollama.instances[0].tls; did you mean 'ca_file'?"),
        ({"tls": {"verify": "no"}}, "should be a valid boolean"),
        ({"tls": True}, "should be a mapping"),
        ({"tls": {"ca_file": "ca.pem"}}, "should be an absolute path"),
        ({"tls": {"ca_file": "/absent/ca.pem"}}, "tls.ca_file of instance 'a': /absent/ca.pem cannot be read"),
        ({"tls": {"ca_file": "/etc"}}, "/etc cannot be read: Is a directory"),
        ({"tls": {"ca_file": "/dev/zero"}}, "it is a pipe or a device"),
        ({"tls": {"ca_file": yaml.__file__}}, "holds no certificate in PEM form"),
        ({"tls": {"ca_file": "/a\0b"}}, "its name holds a NUL"),
        ({"tls": {"client_key": "/x"}}, "no client_cert that they belong to"),
        ({"tls": {"client_key_password": "env:KEY"}}, "no client_cert that they belong to"),
        ({"tls": {"verify": False, "ca_file": "/x"}}, "its ca_file would do nothing"),
        ({"tls": {"verify": False}, "url": "http://a"}, "there is no TLS"),
    ],
)
def test_what_cannot_be_used_is_refused_when_the_configuration_is_made(keys: dict[str, Any], words: str) -> None:
    assert words in refused(**keys)


@pytest.mark.parametrize(
    "name",
    "Host content-length Transfer-Encoding connection Keep-Alive TE Trailer Upgrade Expect Content-Type Accept-Encoding "
    "Proxy-Authorization proxy-connection HTTP2-Settings".split(),
)
def test_headers_of_the_connection_are_refused(name: str) -> None:
    assert f"should not hold {name!r}" in refused(headers={name: "env:KEY"})


def test_a_place_is_told_down_to_the_key(loaded: Loaded, own_file: Write) -> None:
    path = own_file(
        "ollama:\n  instances:\n  - id: a\n    url: https://a\n    bearer: env:ABSENT\n  - id: b\n    url: https://b\n    tls:\n"
        "      ca_file: gone.pem\n"
    )
    with pytest.raises(ConfigError, match=f"^{path}:5: bearer of instance 'a': the environment variable 'ABSENT' is not set"):
        loaded()
    with pytest.raises(ConfigError, match=rf"^{path}:9: tls\.ca_file of instance 'b': {path.parent}/gone\.pem cannot be read"):
        loaded(env={"ABSENT": "x"})


# -- the pool's, and an instance's own ------------------------------------------------------------------------------------------

POOL = "ollama:\n  api_key: env:KEY\n  headers: {X-Team: env:OTHER}\n  proxy: env:PROXY\n  instances:\n"


def test_what_the_pool_says_counts_for_each_of_its_instances_unless_that_says_otherwise(loaded: Loaded, own_file: Write) -> None:
    own_file(
        POOL + "  - {id: plain, url: 'https://plain'}\n"
        "  - {id: own, url: 'https://own', api_key: env:OTHER, headers: {x-team: null, X-More: env:KEY}, proxy: 'http://other:1'}\n"
        "  - {id: none, url: 'https://none', api_key: null, proxy: null}\n"
        "  - {id: basic, url: 'https://basic', basic_auth: env:PAIR}\n"
        "  - {id: here, url: 'http://localhost:1'}\n"
        "  - {id: header, url: 'https://header', headers: {authorization: env:OTHER}}\n"
    )
    config = loaded(env=ENV)
    plain, own, none, basic, here, header = config.pool.instances
    proxy = ProxySettings("http://proxy:3128", Secret("ann:hunter2"))
    assert (plain.api_key, plain.headers, plain.proxy) == (Secret("hunter2"), (("X-Team", Secret("s3cret")),), proxy)
    assert (own.api_key, own.headers, own.proxy) == (Secret("s3cret"), (("X-More", Secret("hunter2")),), ProxySettings("http://other:1"))
    assert (none.api_key, none.proxy) == (None, None)
    assert (basic.api_key, basic.basic_auth) == (None, Secret("ann:hunter2"))
    assert (here.api_key, here.proxy) == (Secret("hunter2"), None)
    assert (header.api_key, dict(header.headers)["authorization"]) == (None, Secret("s3cret"))
    assert (config.pool.access.api_key, config.pool.access.headers, config.pool.access.proxy) == (None, (), proxy)


def test_the_pools_key_does_not_reach_servers_that_another_layer_lists(loaded: Loaded, own_file: Write) -> None:
    own_file(POOL + "  - {id: a, url: 'https://a'}\n")
    for faces in (
        {"env": ENV | {"GLEITZEIT_OLLAMA_INSTANCES": "evil:https://evil"}},
        {"env": ENV, "overrides": {"ollama": {"instances": [{"id": "evil", "url": "https://evil"}]}}},
    ):
        with pytest.warns(ConfigWarning, match="are listed by"):
            config = loaded(**faces)
        (evil,) = config.pool.instances
        assert (evil.api_key, evil.headers) == (None, ())
        assert evil.proxy is not None
    own_file(POOL.removesuffix("  instances:\n"))
    with pytest.warns(ConfigWarning, match="no instances are listed"):
        assert loaded(env=ENV).pool.access.api_key is None


def test_a_strangers_file_gets_neither_the_pools_key_nor_its_trust(loaded: Loaded, own_file: Write, a_file: Write) -> None:
    own_file("ollama:\n  api_key: env:KEY\n  tls: {verify: false}\n  instances: [{id: a, url: 'https://a'}]")
    stranger = a_file("ollama: {instances: [{id: evil, url: 'https://evil'}]}")
    with pytest.warns(ConfigWarning):
        config = loaded(use_file=stranger, env=ENV)
    assert config.pool.instances == (InstanceSettings("evil", "https://evil"),)


def test_the_environment_has_its_own_key_for_its_own_instances(loaded: Loaded, authority: Authority) -> None:
    listed = {"GLEITZEIT_OLLAMA_INSTANCES": "a:https://a", "GLEITZEIT_OLLAMA_API_KEY": "hunter2", "GLEITZEIT_OLLAMA_PROXY": "http://p:1"}
    (instance,) = loaded(env={**listed, "GLEITZEIT_OLLAMA_CA_FILE": str(authority.pair.cert)}).pool.instances
    assert (instance.api_key, instance.proxy) == (Secret("hunter2"), ProxySettings("http://p:1"))
    assert instance.tls.ca_file == str(authority.pair.cert)
    with pytest.raises(ConfigError, match=r"^GLEITZEIT_OLLAMA_CA_FILE: tls\.ca_file of the pool: /absent cannot be read"):
        loaded(env={"GLEITZEIT_OLLAMA_CA_FILE": "/absent"})


def test_an_empty_tls_section_means_nothing(loaded: Loaded, own_file: Write) -> None:
    own_file("ollama:\n  tls:\n  headers:\n  instances: [{id: a, url: 'http://a', tls: , headers: }]")
    assert loaded().pool.instances == (InstanceSettings("a", "http://a"),)


def test_describe_shows_that_there_are_keys_and_no_more(loaded: Loaded, own_file: Write, authority: Authority) -> None:
    client = authority.issue("described")
    sealed = encrypted(client, "hunter2")
    tls = f"tls: {{client_cert: {sealed.cert}, client_key: {sealed.key}, client_key_password: env:KEY}}"
    own_file(POOL + f"  - {{id: a, url: 'https://a', {tls}}}\n  - {{id: b, url: 'https://b', basic_auth: env:PAIR}}\n")
    config = loaded(env=ENV)
    said = config.describe()["ollama"]
    one, two = said["instances"]
    assert (one["api_key"], one["headers"], one["proxy"]) == ("***", {"X-Team": "***"}, "http://***@proxy:3128")
    assert (one["tls"]["client_cert"], one["tls"]["client_key_password"], one["tls"]["verify"]) == (str(sealed.cert), "***", True)
    assert two["basic_auth"] == "***"
    assert "api_key" not in two
    assert not any(secret in f"{said}{config!r}" for secret in ("hunter2", "s3cret", "ann"))


# -- certificate files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client_tls(authority: Authority) -> dict[str, str]:
    pair = authority.issue("configured")
    return {"client_cert": str(pair.cert), "client_key": str(pair.key)}


def test_a_certificate_and_its_key_are_taken_together_or_from_one_file(client_tls: dict[str, str], tmp_path: Path) -> None:
    assert made(tls=client_tls).tls.client_cert == client_tls["client_cert"]
    both = tmp_path / "both.pem"
    both.write_text(Path(client_tls["client_cert"]).read_text() + Path(client_tls["client_key"]).read_text())
    assert made(tls={"client_cert": str(both)}).tls.client_key is None


def test_a_path_is_relative_to_the_file_that_names_it_and_never_to_the_working_directory(
    loaded: Loaded, own_file: Write, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = own_file("ollama: {tls: {ca_file: ca.pem}}")
    (path.parent / "ca.pem").write_bytes(authority.pair.cert.read_bytes())
    (tmp_path / "ca.pem").write_text("a stranger's")
    monkeypatch.chdir(tmp_path)
    assert loaded().pool.access.tls.ca_file == str(path.parent / "ca.pem")


def test_certificates_that_do_not_do_are_refused_with_file_and_key(
    authority: Authority, client_tls: dict[str, str], tmp_path: Path
) -> None:
    other = authority.issue("another")
    sealed = encrypted(other, "hunter2")
    expired, coming = authority.issue("expired", days=(-3, -2)), authority.issue("coming", days=(2, 3))
    old_authority = Authority(tmp_path, "past", days=(-3, -2))
    damaged, garbage = tmp_path / "damaged.pem", tmp_path / "garbage.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    garbage.write_bytes(b"-----BEGIN CERTIFICATE-----\n\xff\xfe\x00\n-----END CERTIFICATE-----\n")
    big = tmp_path / "big.pem"
    big.write_bytes(b"#" * (5 << 20))
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({**client_tls, "client_key": str(other.key)}, "tls.client_key", f"{other.key} does not belong to the certificate in "),
        ({"client_cert": str(other.cert)}, "tls.client_cert", "holds no private key in PEM form. Name the file of its key as client_key"),
        ({**client_tls, "client_key": str(other.cert)}, "tls.client_key", "holds no private key in PEM form"),
        ({**client_tls, "client_key": "/absent.key"}, "tls.client_key", "/absent.key cannot be read"),
        ({"client_cert": str(other.cert), "client_key": str(sealed.key)}, "tls.client_key", "is encrypted. Name its password"),
        (
            {"client_cert": str(other.cert), "client_key": str(sealed.key), "client_key_password": "env:OTHER"},
            "tls.client_key_password",
            "cannot be opened with this password",
        ),
        ({"client_cert": str(expired.cert), "client_key": str(expired.key)}, "tls.client_cert", "is out of date (it was valid until "),
        ({"client_cert": str(coming.cert), "client_key": str(coming.key)}, "tls.client_cert", "is out of date (it is valid from "),
        ({"ca_file": str(old_authority.pair.cert)}, "tls.ca_file", "every certificate in "),
        ({"ca_file": str(damaged)}, "tls.ca_file", "is damaged and cannot be read"),
        ({"ca_file": str(garbage)}, "tls.ca_file", "is damaged and cannot be read"),
        ({"ca_file": str(big)}, "tls.ca_file", "is larger than 4 MiB"),
    ]
    for tls, key, words in cases:
        message = refused(tls=tls)
        assert f": {key} of instance 'a': " in message, message
        assert words in message
        assert any(str(value) in message for name, value in tls.items() if name != "client_key_password"), message


def test_an_encrypted_key_is_opened_by_its_password_and_nobody_is_asked_at_the_terminal(authority: Authority) -> None:
    sealed = encrypted(authority.issue("sealed"), "hunter2")
    tls = {"client_cert": str(sealed.cert), "client_key": str(sealed.key), "client_key_password": "env:KEY"}
    assert made(tls=tls).tls.client_key_password == Secret("hunter2")


def test_an_instance_that_shows_another_certificate_does_not_take_the_pools_key(
    loaded: Loaded, own_file: Write, authority: Authority, client_tls: dict[str, str]
) -> None:
    sealed = encrypted(authority.issue("pools"), "hunter2")
    pool = f"tls: {{client_cert: {sealed.cert}, client_key: {sealed.key}, client_key_password: env:KEY}}"
    own = f"tls: {{client_cert: {client_tls['client_cert']}, client_key: {client_tls['client_key']}}}"
    own_file(f"ollama:\n  {pool}\n  instances:\n  - {{id: a, url: 'https://a', {own}}}\n  - {{id: b, url: 'https://b'}}")
    first, second = loaded(env=ENV).pool.instances
    assert (first.tls.client_key, first.tls.client_key_password) == (client_tls["client_key"], None)
    assert second.tls.client_key_password == Secret("hunter2")


def test_the_constructor_refuses_as_a_file_does() -> None:
    with pytest.raises(ConfigError, match=r"^OllamaPoolManager: tls\.ca_file of instance 'a': /absent cannot be read"):
        pool_settings([{"id": "a", "url": "https://a", "tls": {"ca_file": "/absent"}}])


def test_a_certificates_time_is_read_as_openssl_reads_it(authority: Authority) -> None:
    pair = authority.issue("timed", days=(-1.5, 365 * 40))
    begin, end = validity(ssl.PEM_cert_to_DER_cert(pair.cert.read_text()))
    assert abs((datetime.now(timezone.utc) - begin).total_seconds() - 1.5 * 86400) < 600
    assert (end - begin).days == 365 * 40 + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        validity(data)


@given(st.data())
def test_a_damaged_certificate_is_a_period_or_a_value_error(authority: Authority, data: st.DataObject) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(authority.pair.cert.read_text()))
    for _ in range(3):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        begin, end = validity(bytes(der))
    except ValueError:
        return
    assert begin.tzinfo is end.tzinfo is timezone.utc
