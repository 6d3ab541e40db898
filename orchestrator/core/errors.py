"""The project's exceptions: one root, each picklable, because errors cross process borders."""


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


class SweepLockedError(UserError):
    """Another live driver holds the sweep."""


class SweepChangedError(UserError):
    """The sweep file, or the rows that it names, differ from the stored sweep in what may not change."""


class TrackingError(LoratoryError):
    """The tracking server or the registry refused or could not be reached."""
