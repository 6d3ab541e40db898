"""The project's exceptions: one root, each picklable, because errors cross process borders."""

LONGEST = 200
"""Characters of a message that are shown where it is one of several; exceptions may repeat whole texts."""


class LoratoryError(Exception):
    """Root of every error that Loratory raises on purpose.

    The first argument is the message for the user: place, rule and value, in one or more lines.
    """


class UserError(LoratoryError, ValueError):
    """What the user gave breaks a rule; the command ends with exit code 2 and no traceback."""


class SpecError(UserError):
    """A sweep file has errors; the message holds one ``file:line:column path rule, got value`` per line."""


class ObjectiveError(UserError):
    """An objective's own code raises, or returns what it may not return; the same holds for every trial of a sweep."""


class AssetError(LoratoryError):
    """A model or data set is missing, unreachable or fails its checksum."""


class DataError(UserError):
    """Data breaks a rule: a missing column, too few rows, a row in two splits."""


class DivergedError(LoratoryError):
    """Training left the finite numbers; the trial fails, alone."""


class LedgerError(LoratoryError):
    """The ledger refuses an operation that would break its invariants."""


class SuspendedError(LoratoryError):
    """Something outside the sweep failed: a full disk, a database that does not answer, Ray.

    No trial is to blame. The driver suspends the sweep, and the same command goes on with it.
    """


class SweepLockedError(UserError):
    """Another live driver holds the sweep."""


class SweepChangedError(UserError):
    """The sweep file, or the rows that it names, differ from the stored sweep in what may not change."""


class TrackingError(LoratoryError):
    """The tracking server or the registry refused or could not be reached."""


class ModelError(UserError):
    """A base model's files are damaged, contradict each other, or do not suit the task."""


def memory_ran_out(error: BaseException) -> bool:
    """Return whether an error says that memory ran out: torch's or cuBLAS's on a device, oneDNN's on a CPU, numpy's."""
    words = (
        "allocate memory",
        "could not create a primitive",
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
    )
    is_torchs = type(error).__name__ == "OutOfMemoryError"  # by name: torch is not imported for it
    return is_torchs or isinstance(error, MemoryError) or any(phrase in str(error) for phrase in words)


def in_short(error: BaseException) -> str:
    """Return an error in one line: one of ours by its message, another with its type; a long message is cut."""
    told = first_line(error)
    told = told if len(told) <= LONGEST else f"{told[: LONGEST - 1]}…"
    kind = type(error).__name__
    return told if isinstance(error, LoratoryError) or told == kind else f"{kind}: {told}"


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's text; the name of its type if the text is blank."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
