"""What a server's refusals mean. Pure.

Codes of the S3 API reference ("Error responses"). A refusal is an answer that says no for good;
what says no for another reason (a wrong key, a wrong clock, a busy server) proves nothing.
"""

from __future__ import annotations

from llmvault.core.errors import RefusedError, UnavailableError, VaultError

ABSENT = frozenset(
    {
        "404", "NoSuchBucket", "NoSuchKey", "NotFound", "NoSuchVersion",
        "NoSuchLifecycleConfiguration", "NoSuchBucketPolicy",
        "ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)  # fmt: skip
_REFUSED = frozenset(
    {"403", "AccessDenied", "ObjectLocked", "AllAccessDisabled", "InvalidBucketState"}
)
_CREDENTIAL = frozenset(
    {
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
        "TokenRefreshRequired", "NotSignedUp", "AccountProblem",
    }
)  # fmt: skip
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_BUSY = frozenset(
    {
        "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling",
        "ThrottlingException", "TooManyRequests", "500", "502", "503", "504", "429",
        "OperationAborted", "BandwidthLimitExceeded",
    }
)  # fmt: skip
_LACKING = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
_TROUBLES = {
    _CLOCK: (": this host's clock and the server's differ", "set the clock right"),
    _CREDENTIAL: (": the credential is not accepted", "correct the policy's credential"),
    _BUSY: (", after retries", "try again later"),
}


class AbsentError(UnavailableError):
    """What was asked for is not there."""


class DeclinedError(UnavailableError):
    """The server did not take the request, for a reason of its own."""


class LackingError(DeclinedError):
    """The server has no such operation."""


def error_for(thing: str, operation: str, code: str, message: str) -> VaultError:
    """Return the error that a server's answer to an operation stands for.

    Args:
        code: as in the answer's body, or the HTTP status where there is no body.
    """
    said = f"{operation} was answered with {code}" + (f" ({message})" if message else "")
    if code in ABSENT:
        return AbsentError(thing, said, "create it: llmvault init")
    if code in _LACKING:
        return LackingError(thing, f"{said}: the server lacks it", "use another object store")
    if code in _REFUSED or is_lock_refusal(code, message):
        return RefusedError(thing, said, "use a credential that may, if it is meant")
    for codes, (why, step) in _TROUBLES.items():
        if code in codes:
            return UnavailableError(thing, said + why, step)
    return DeclinedError(thing, said, "look at the message; then try again")


def is_lock_refusal(code: str, message: str) -> bool:
    """Whether an unspecific code is a lock's refusal by its message, as some servers send it."""
    words = message.lower()
    return code in ("InvalidRequest", "400", "InvalidArgument") and (
        "lock" in words or "retention" in words or "worm" in words
    )
