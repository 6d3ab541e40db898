"""Recognition and masking of secrets in text."""

import logging

import pytest

from orchestrator.core.system.secrets import RedactingFormatter, redact, redacted, unmasked

_ODBC = "mssql+pyodbc:///?odbc_connect=UID%3Du%3BPWD%3D"


@pytest.mark.parametrize(
    ("text", "masked", "without"),
    [
        ("https://ann:pw@host/x", "https://ann:***@host/x", "https://host/x"),
        ("http://ann:p:w@1@host:5000", "http://ann:***@host:5000", "http://host:5000"),
        ("https://ghp_0123456789@host/x", "https://***@host/x", "https://host/x"),
        ("https://ann:p/w@host", "https://ann:***@host", "https://host"),
        ("postgresql://ann:pw@host/db", "postgresql://ann:***@host/db", "postgresql://ann@host/db"),
        ("postgresql+psycopg://ann:p/w?x@y@host:5/db", "postgresql+psycopg://ann:***@host:5/db", "postgresql+psycopg://ann@host:5/db"),
        ("postgresql:///db?host=/s&user=ann&password=pw", "postgresql:///db?host=/s&user=ann&password=***", "postgresql:///db?host=/s&user=ann"),
        ("https://h/x?access_token=pw&run=1#top", "https://h/x?access_token=***&run=1#top", "https://h/x?run=1#top"),
        (f"https://ann:{'pw' * 1500}@host", "https://ann:***@host", "https://host"),
        (f"https://{'pw' * 1500}@host", "https://***@host", "https://host"),
        (f"{_ODBC}%7Ba%3Bpw%7D%7Db%7D%3BX%3D1&y=1", f"{_ODBC}***%3BX%3D1&y=1", f"{_ODBC}***%3BX%3D1&y=1"),
        (f"{_ODBC}pw%3BX%3D1&y=1", f"{_ODBC}***%3BX%3D1&y=1", f"{_ODBC}***%3BX%3D1&y=1"),
        ("https://h/x?sig=pw", "https://h/x?sig=***", "https://h/x"),
        ("postgresql://ann@h/db?options=-c%20x.password%3Dpw", "postgresql://ann@h/db?options=***", "postgresql://ann@h/db"),
        ("postgresql://ann@h/db?a=1&options=-c%2520x.pwd%253Dpw", "postgresql://ann@h/db?a=1&options=***", "postgresql://ann@h/db?a=1"),
        ("postgresql://ann@h/db?p%61ssword=pw&b=2", "postgresql://ann@h/db?p%61ssword=***&b=2", "postgresql://ann@h/db?b=2"),
        ("mariadb://ann@h/db?init_command=SET%20PASSWORD%3D%27pw%27", "mariadb://ann@h/db?init_command=***", "mariadb://ann@h/db"),
        ("mariadb://ann%3Apw@h/db", "mariadb://ann:***@h/db", "mariadb://ann@h/db"),
        ("s3://KEY%3Apw@bucket/x", "s3://KEY:***@bucket/x", "s3://KEY@bucket/x"),
        ("s3://bucket/x?AWS_SECRET_ACCESS_KEY=pw", "s3://bucket/x?AWS_SECRET_ACCESS_KEY=***", "s3://bucket/x"),
        ("https://h/x?next=https%3A%2F%2Fann%3Apw%40h", "https://h/x?next=***", "https://h/x"),
        ("https://h/x?pass=pw", "https://h/x?pass=***", "https://h/x"),
        ("mysql+pymysql://ann:@host/db", "mysql+pymysql://ann:***@host/db", "mysql+pymysql://ann@host/db"),
    ],
)  # fmt: skip
def test_secrets_of_addresses_are_masked(text: str, masked: str, without: str) -> None:
    assert redact(text) == masked
    assert redact(masked) == masked
    assert unmasked(masked) == without
    sentence = f"tracking is behind: Error('{text}') at \"{text}\", <{text}>"
    assert redact(sentence) == f"tracking is behind: Error('{masked}') at \"{masked}\", <{masked}>"


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:5000",
        "http://host:5000/x?mail=a@b",
        "https://[::1]:5000/a@b",
        "sqlite:////home/a:b@c/mlflow.db",
        "file:///a@b",
        "hub:org/name",
        "git@github.com:org/x",
        "postgresql://ann@host/db",
        "s3://bucket/key",
        "search.space.rank={choices: [4, 8]}",
        "postgresql://ann@host/db?options=-c%20search_path%3Dshop&sslmode=require",
        "postgresql://ann@host/db?query=SELECT text, has_password FROM t WHERE n % 3 = 1 AND key = 5",
        "tokens: 3e7 # a token is not a secret",
        "pad_token=<pad>, as bearer securities",
        "ratio 3:4 @ 5",
    ],
)
def test_text_without_secrets_stays(text: str) -> None:
    assert redact(text) == text
    assert unmasked(text) == text


def test_nested_values_keep_their_shape() -> None:
    value = {"a": ["https://u:pw@h", 1, None], "b": {"c": "x"}, "d": ("https://u:pw@h", 2.5)}
    assert redacted(value) == {"a": ["https://u:***@h", 1, None], "b": {"c": "x"}, "d": ("https://u:***@h", 2.5)}


def test_log_records_and_tracebacks_are_masked() -> None:
    address = "https://u:pw-1@h"
    try:
        raise ValueError(address)
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "see %s", (address,), info)
    text = RedactingFormatter().format(record)
    assert "pw-1" not in text
    assert text.count("https://u:***@h") == 2


def test_connection_strings_are_masked() -> None:
    assert redact("dblink('host=h password=pw-1 user=u')") == "dblink('host=h password=*** user=u')"
    assert redact("sweep x.yaml --set function.values.api_key=sk-1") == "sweep x.yaml --set function.values.api_key=***"
    assert redact("host=h passwd = 'p w-1' user=u") == "host=h passwd = *** user=u"
    assert redact(r"host=h password='p\'w-1' user=u") == "host=h password=*** user=u"
    assert redact("Driver={X};PWD={p;w}}-1};UID=u") == "Driver={X};PWD=***;UID=u"
    assert redact("HF_TOKEN=hf_x Authorization: Bearer abcdefgh, Bearer a1b2c3d4") == (
        "HF_TOKEN=*** Authorization: Bearer ***, Bearer ***"
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "a." * 60_000 + "://=",
        "postgres://x:" * 10_000,
        "?" + "password" * 15_000,
        "http://" * 20_000,
        "=?&;" * 30_000,
        "s3://" + "%3A" * 40_000,
        "?a=%25" * 20_000,
    ],
)
def test_redaction_takes_linear_time(text: str) -> None:
    assert redact(text) == text
