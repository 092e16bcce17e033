"""What the doctor says: a finding with its severity, place, example and remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something the doctor found, with one example and what to do about it."""

    severity: str
    """`error` (the result would be wrong), `warning` (it may be), `note` (worth knowing)."""
    code: str
    where: str
    message: str
    example: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON values."""
        return asdict(self)


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Findings with errors first, then warnings, then notes."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def without_repeats(findings: Iterable[Finding]) -> list[Finding]:
    """Findings that differ in nothing but their place as one that names all places, where the first of them stood."""
    places: dict[Finding, dict[str, None]] = {}
    for finding in findings:
        places.setdefault(replace(finding, where=""), {})[finding.where] = None
    return [replace(finding, where=", ".join(where)) for finding, where in places.items()]


def counted(count: int, one: str, many: str, of: int | None = None) -> str:
    """A count and what follows it, such as `1 pair is`, `2,000 pairs are` or, of 31, `1 of 31 rows is`."""
    total = "" if of is None else f"of {of:,} "
    return f"{count:,} {total}{one if count == 1 else many}"


def listed(values: Sequence[str], most: int = 4) -> str:
    """All of a few values; of more the first that differ, and how many are left."""
    shown = list(values) if len(values) <= most else list(dict.fromkeys(values))[:most]
    left = len(values) - len(shown)
    return ", ".join(shown) + (f" and {left:,} more" if left else "")


def count_by_severity(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each severity, errors first."""
    found = [finding.severity for finding in findings]
    return {severity: found.count(severity) for severity in SEVERITIES}
