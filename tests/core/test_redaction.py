"""What a text that leaves the notebook no longer holds."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.redaction import is_secret_name, redact
from tests.support.growth import LINEAR, growth

SECRET = "hunter2-Kq9"
FORMS = [
    "sk-proj-" + "Ab1" * 10,
    "sk_live_" + "a1B2" * 6,
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 9,
    "glpat-" + "a1B2" * 5,
    "xoxb-1234567890-abcdef",
    "hf_" + "aB1" * 10,
    "AKIA" + "A1B2C3D4E5F6G7H8",
    "AIza" + "aB1-" * 9,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "0123456789abcdef0123456789abcdef01234567",
    "aGVsbG8gd29ybGQgdGhpcyBpcyBsb25nIDEyMzQ1Njc4OTA=",
]
CONTEXTS = [
    "password = '{}'",
    'PASSWORD = "{}"',
    "db_password='{}',",
    "{{'api_key': '{}'}}",
    '{{"access_token": "{}"}}',
    'config["secret"] = "{}"',
    "os.environ['OPENAI_API_KEY'] = '{}'",
    "token: str = '{}'",
    "auth=('ann', 'x'), passwd=\"{}\"",
    "MY_SERVICE_TOKEN={}",
    "export AWS_SECRET_ACCESS_KEY={}",
    "host=db user=ann password={} port=5432",
    "password: {}",
    "tool --password {} --verbose",
    "tool --api-key={}",
    "postgresql://ann:{}@db.example.org/sales",
    "https://{}@example.org/x",
    "https://example.org/x?api_key={}&y=1",
    "https://example.org/x?y=1&sig={}",
    "Authorization: Bearer {}",
    "'Authorization': 'token {}'",
    "Cookie: session={}; other=1",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
    "password = '''{}\nof two lines'''",
    'payload = \'{{"password": "{}"}}\'',
    "print(f'token={}')",
    "dbpassword='{}",
    "curl -u ann:{} https://example.org",
    "['curl', '--user', 'ann:{}']",
]
SECRETS = st.text(string.ascii_letters + string.digits + "_.~+-", min_size=8, max_size=40).filter(lambda text: text[0].isalnum())


@pytest.mark.parametrize("form", FORMS)
def test_keys_are_known_by_their_form(form: str) -> None:
    for around in ("{}", "a {} b", "print('{}')", "KeyError: '{}'", "x={}"):
        found = redact(around.format(form))
        assert form not in found.text
        assert found.masked == 1


@pytest.mark.parametrize("context", CONTEXTS)
def test_values_are_known_by_what_names_them(context: str) -> None:
    found = redact(context.format(SECRET))
    assert SECRET not in found.text
    assert "***" in found.text
    assert found.masked >= 1


@given(context=st.sampled_from(CONTEXTS), secret=SECRETS)
def test_no_secret_survives_where_it_is_named(context: str, secret: str) -> None:
    around = context.format("")
    found = redact(context.format(secret)).text
    assert secret not in found or secret in redact(around).text or secret in around


@given(
    secret=st.text(st.characters(exclude_categories=("Cs",)), min_size=4, max_size=30).filter(lambda text: "*" not in text),
    before=st.text(max_size=40),
    after=st.text(max_size=40),
)
def test_a_known_value_is_masked_wherever_it_stands(secret: str, before: str, after: str) -> None:
    assert secret not in redact(f"{before}{secret}{after}", [secret]).text.replace("***", "")


TEXTS = st.lists(
    st.sampled_from(
        [*CONTEXTS, *FORMS, "/home/ann/x.py", " ", "\n", "=", ":", "'", '"', "password", "token", "***", "--key", "https://", "@"]
    )
    | st.text(max_size=12),
    max_size=8,
).map("".join)


@given(text=TEXTS)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text, home="/srv/ann").text
    assert redact(once, home="/srv/ann").text == once


def test_code_without_secrets_stays_as_it_is() -> None:
    code = """
import pandas as pd
frame = pd.read_csv("data/sales_2024.csv", sep=";")
def tokenize(text: str, key=len) -> list[str]:
    tokens = sorted(text.split(), key=key)
    return [token.lower() for token in tokens]
total = frame.groupby("author").agg({"price": "sum"})["price"]  # per author: all
assert total.loc["compass"] > 0, f"{total!r} of {len(frame)} rows"
KeyError: 'monkey'
a_rather_long_identifier_without_any_digits_in_it = 1
"""
    assert redact(code) == (code, 0)


def test_homes_are_shortened() -> None:
    text = (
        "File /home/ann/work/x.py, /Users/bob/y.py, C:\\Users\\carl\\z.py, /root/w.py, '/home/ann', /srv/dora/v.py /srv/dora2 /homework/x"
    )
    assert redact(text, home="/srv/dora").text == "File ~/work/x.py, ~/y.py, ~\\z.py, ~/w.py, '~', ~/v.py /srv/dora2 /homework/x"
    assert redact("/", home="/").text == "/"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *(
            (name, True)
            for name in ("password", "db_password", "API_KEY", "apiKey", "OPENAI_API_KEY", "token", "hf_token", "AUTH", "MY_PAT")
        ),
        *((name, True) for name in ("secret", "client_secret", "credentials", "passphrase", "SSH_KEY", "dsn", "userPassword", "token2")),
        *((name, False) for name in ("author", "compass", "keyboard", "monkey", "tokenizer", "path", "keys", "passenger", "secretary")),
    ],
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        "password",
        "a",
        "--",
        "password='",
        "://",
        "-----BEGIN PRIVATE KEY-----",
        "token: ",
        "a=",
        "x='",
        'x="""',
        "authorization",
        "aA1",
        "a.",
        "?key",
    ],
)
def test_twice_the_text_takes_twice_the_time(piece: str) -> None:
    assert growth(redact, piece, 10_000) < LINEAR
