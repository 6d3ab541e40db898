"""The project's exceptions: one root, each picklable, because errors cross process borders."""

LONGEST = 200
"""Maximum number of characters of one message among several; exceptions may repeat whole texts."""


class LoratoryError(Exception):
    """Root of every error raised on purpose by Loratory.

    The first argument is the message for the user: place, rule and value, in one or more lines.
    """


class UserError(LoratoryError, ValueError):
    """The user's input breaks a rule; the command ends with exit code 2 and without a traceback."""


class RefusedError(UserError):
    """A gate stops a promotion; the command ends with exit code 3."""


class SpecError(UserError):
    """A sweep file has errors; the message holds one ``file:line:column path rule, got value`` per line."""


class ObjectiveError(UserError):
    """Code of the objective raises, or returns a wrong value; every trial of the sweep is affected."""


class AssetError(LoratoryError):
    """A model or data set is missing, unreachable or fails its checksum."""


class DataError(UserError):
    """Data breaks a rule: a missing column, too few rows, a row in two splits."""


class DivergedError(LoratoryError):
    """A loss or a gradient is not finite; only this trial fails."""


class CutShortError(LoratoryError):
    """A trial cannot be trained further, through no fault of its own; its reports count."""


class LedgerError(LoratoryError):
    """The ledger refuses an operation: it would break an invariant."""


class SuspendedError(LoratoryError):
    """Something outside the sweep failed: the disk is full, the database does not answer, or Ray has ended.

    No trial is to blame. The driver suspends the sweep, and the same command resumes it.
    """


class SweepLockedError(UserError):
    """Another live driver holds the sweep."""


class SweepChangedError(UserError):
    """The sweep file or its rows differ from the stored sweep in a part of the fingerprint."""


class TrackingError(LoratoryError):
    """The tracking server or the registry refused a request or could not be reached."""


class ModelError(UserError):
    """The files of a base model are damaged, contradict each other, or do not fit the task."""


def memory_ran_out(error: BaseException) -> bool:
    """Return whether an error means out of memory: of torch or cuBLAS on a device, of oneDNN on a CPU, or of numpy."""
    words = (
        "allocate memory",
        "could not create a primitive",
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
    )
    from_torch = type(error).__name__ == "OutOfMemoryError"  # by name, so that torch is not imported
    return from_torch or isinstance(error, MemoryError) or any(phrase in str(error) for phrase in words)


def in_short(error: BaseException) -> str:
    """Return an error in one line, shortened; errors of other libraries with their type."""
    text = first_line(error)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    kind = type(error).__name__
    return text if isinstance(error, LoratoryError) or text == kind else f"{kind}: {text}"


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's text, or the name of its type if the text is blank."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
