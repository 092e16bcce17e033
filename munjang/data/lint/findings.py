"""What the doctor says: a finding with its severity, place, example and remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

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


def count_by_severity(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings there are of each severity, errors first."""
    found = [finding.severity for finding in findings]
    return {severity: found.count(severity) for severity in SEVERITIES}
