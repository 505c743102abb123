"""Mail over SMTP, RFC 5321; text with a page as its alternative, RFC 2046 section 5.1.4."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from contextlib import suppress
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any

from llmvault.core.units import parse_time
from llmvault.notify.model import Message, NotDeliveredError

_PERMANENT = 500
_PRIORITIES = {"critical": "high", "error": "high"}


def send(place: Mapping[str, Any], message: Message, seconds: float) -> None:
    """Send a message as mail.

    Args:
        place: ``server``, ``port``, ``security``, ``user``, ``password``, ``sender``,
            ``recipients``.

    Raises:
        NotDeliveredError: when the server did not take it, for everybody.
    """
    mail = written(place, message)
    try:
        with _connected(place, seconds) as server:
            refused = server.send_message(mail)
    except smtplib.SMTPAuthenticationError:
        raise NotDeliveredError("the server does not accept the account", again=False) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise _refused(error.recipients) from None
    except smtplib.SMTPResponseException as error:
        cause = f"the server answered {error.smtp_code}"
        raise NotDeliveredError(cause, again=error.smtp_code < _PERMANENT) from None
    except smtplib.SMTPNotSupportedError as error:
        raise NotDeliveredError(f"the server cannot do that: {error}", again=False) from None
    except ssl.SSLCertVerificationError as error:
        cause = f"its certificate is not trusted: {error.verify_message}"
        raise NotDeliveredError(cause, again=False) from None
    except TimeoutError:
        raise NotDeliveredError(f"did not answer within {seconds:.3g} s") from None
    except (OSError, smtplib.SMTPException) as error:
        told = getattr(error, "strerror", None) or type(error).__name__
        raise NotDeliveredError(f"cannot be reached: {told}") from None
    if refused:
        raise _refused(refused)


def written(place: Mapping[str, Any], message: Message) -> EmailMessage:
    """Return a message as mail."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.title.split())
    mail["From"] = f"llmvault <{place['sender']}>"
    mail["To"] = ", ".join(place["recipients"])
    mail["Date"] = format_datetime(parse_time(message.at))
    mail["Message-ID"] = make_msgid(domain=place["sender"].rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
    if message.severity in _PRIORITIES:
        mail["Importance"] = _PRIORITIES[message.severity]
    mail.set_content(message.text)
    if message.html is not None:
        mail.add_alternative(message.html, subtype="html")
    return mail


def _connected(place: Mapping[str, Any], seconds: float) -> smtplib.SMTP:
    """Return the server, logged in."""
    where, trusted = (place["server"], place["port"]), ssl.create_default_context()
    if place["security"] == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=seconds, context=trusted)
    else:
        server = smtplib.SMTP(*where, timeout=seconds)
    try:
        if place["security"] == "starttls":
            server.starttls(context=trusted)
        if place.get("password"):
            server.login(place["user"], place["password"])
    except BaseException:
        with suppress(OSError):
            server.close()
        raise
    return server


def _refused(refused: Mapping[str, Any]) -> NotDeliveredError:
    """Return the error; nobody who got it gets it again."""
    return NotDeliveredError(f"the server refused {len(refused)} of the recipients", again=False)
