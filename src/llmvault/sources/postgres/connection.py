"""Where a database is, and connecting to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from llmvault.core.errors import PolicyError, UnavailableError, VaultError
from llmvault.core.secrets import Secret

if TYPE_CHECKING:
    import psycopg

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

_CONNECT_SECONDS = "10"
_LOCK_WAIT = "120s"
_OTHER_SECRETS = {"sslpassword", "oauth_client_secret"}
# the text of a value must not depend on the settings of whoever asks for it
_SESSION = (
    "SET datestyle = 'ISO, YMD'",
    "SET intervalstyle = 'postgres'",
    "SET timezone = 'UTC'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
    "SET lc_monetary = 'C'",
    "SET xmloption = 'content'",
    "SET row_security = off",
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    f"SET lock_timeout = '{_LOCK_WAIT}'",
)


@dataclass(frozen=True, slots=True)
class Address:
    """How a database is reached.

    Attributes:
        parameters: libpq's connection parameters, without the password.
        password: None leaves it to ``PGPASSWORD`` or libpq's password file.
    """

    parameters: Mapping[str, str]
    password: Secret | None = field(default=None)

    def conninfo(self) -> str:
        """Return libpq's connection string; it holds no password."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo("", **self.parameters)

    def environment(self) -> Mapping[str, str]:
        """Return the variables that PostgreSQL's programs need to connect."""
        variables = {"LC_ALL": "C", "PGCONNECT_TIMEOUT": _CONNECT_SECONDS}
        return variables | ({"PGPASSWORD": self.password.reveal()} if self.password else {})

    def __str__(self) -> str:
        get = self.parameters.get
        user = f"{get('user')}@" if get("user") else ""
        port = f":{get('port')}" if get("port") else ""
        host, database = get("host", ""), get("dbname", "")
        if host.startswith("/"):
            return f"postgresql://{user}{port}/{database}?host={host}"
        return f"postgresql://{user}{host}{port}/{database}"


def parse_address(url: str, password: Secret | None = None) -> Address:
    """Return the address that a ``postgresql://`` URL or a libpq connection string names.

    Raises:
        PolicyError: when it is neither; it is not repeated, for it may hold a password.
        UnavailableError: when psycopg is not installed.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise UnavailableError(
            "psycopg", f"it cannot be imported: {error}", "pip install 'llmvault[postgres]'"
        ) from error

    try:
        parameters = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except psycopg.Error as error:
        raise PolicyError(
            "address of a PostgreSQL database",
            "it is not a connection URL that libpq understands",
            "write postgresql://user@host:5432/database",
        ) from error
    inline = parameters.pop("password", None)
    if other := sorted(_OTHER_SECRETS & set(parameters)):
        raise PolicyError(
            "address of a PostgreSQL database",
            f"it holds the secret {other[0]}, which could only be passed on in the open",
            "leave it out: keep a key without a passphrase that only this user can read",
        )
    return Address(parameters, password or (Secret(inline) if inline else None))


@contextmanager
def connected(address: Address) -> Iterator[Connection]:
    """Connect in autocommit mode, with settings that give values their canonical text.

    Raises:
        UnavailableError: when it cannot be reached, refuses, or breaks while in use.
    """
    import psycopg

    with database_errors(f"database {address}"):
        parameters: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, **address.parameters}
        if address.password is not None:
            parameters["password"] = address.password.reveal()
        connection = psycopg.connect(**parameters, autocommit=True)
        try:
            for statement in _SESSION:
                connection.execute(statement)
            yield connection
        finally:
            connection.close()


@contextmanager
def snapshot(address: Address) -> Iterator[Connection]:
    """Connect, and see the database read-only as it is now until the context is left."""
    with connected(address) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection


def value(connection: Connection, query: str) -> Any:  # noqa: ANN401  whatever type SQL gives
    """Return the first column of the first row of a query that has one."""
    row = connection.execute(cast("Any", query)).fetchone()
    return row[0] if row else None


@contextmanager
def database_errors(thing: str) -> Iterator[None]:
    """Turn what psycopg raises into our errors."""
    import psycopg

    try:
        yield
    except VaultError:
        raise
    except psycopg.errors.InsufficientPrivilege as error:
        raise UnavailableError(
            thing, _first_line(error), "grant the role pg_read_all_data, or use another role"
        ) from error
    except psycopg.OperationalError as error:
        raise UnavailableError(
            thing, _first_line(error), "start the server, or correct url and password"
        ) from error
    except psycopg.Error as error:
        raise UnavailableError(thing, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
