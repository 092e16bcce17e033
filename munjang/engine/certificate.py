"""Exports of a model, beside it: `.munjang/NAME/`, with the certificate of what each was measured to be.

An export belongs to the weights that it was made from. Its certificate names their digest, how near its outputs are to
torch's on a sample, what that costs on rows with scores, and how much faster it was on the machine that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from munjang.errors import DataError
from munjang.files import damage, read_json
from munjang.models.folder import fingerprint_model

EXPORTS = ".munjang"
FILE = "certificate.json"
GOLDEN = "golden.json"
#: Points of Spearman x 100 that an export may lose on dev and still be taken without being asked for.
LOSS = 0.3
#: Least cosine to torch's vectors at which an export in float32 is the same model; rounding alone moves it.
SAME = 0.9999


@dataclass(frozen=True)
class Certificate:
    """What an export was measured to be."""

    model: str
    """Digest of the folder that it was made from."""
    kind: str
    """`bi-encoder` or `cross-encoder`."""
    backend: str
    precision: str
    outputs: int
    limit: int | None
    """Tokens that it reads."""
    pad: int
    types: bool
    """True if it is given token types."""
    sample: int
    """Texts or pairs on which it was compared with torch."""
    cosine_least: float | None = None
    """Of vectors with torch's."""
    cosine_mean: float | None = None
    difference_largest: float | None = None
    """Of a cross-encoder's scores to torch's."""
    dev: str | None = None
    dev_rows: int = 0
    dev_torch: float | None = None
    """Spearman x 100 on dev."""
    dev_export: float | None = None
    speed_ratio: float = 0.0
    """Inputs a second against torch in the same run."""
    accepted: bool = False
    """True if the user took it whatever was measured."""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def loss(self) -> float | None:
        """Points of Spearman x 100 that are lost on dev."""
        return None if self.dev_torch is None or self.dev_export is None else self.dev_torch - self.dev_export

    @property
    def holds(self) -> bool:
        """True if `auto` may take it: float32 and the same outputs, or a loss on dev within the bound, or accepted."""
        if self.accepted:
            return True
        if self.loss is not None:
            return self.loss <= LOSS
        near = self.cosine_least is not None and self.cosine_least >= SAME
        near = near or (self.difference_largest is not None and self.difference_largest <= 1 - SAME)
        return self.precision == "float32" and near

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, with what follows from them."""
        return {**asdict(self), "loss": self.loss, "holds": self.holds}


def read_certificate(place: Path) -> Certificate:
    """The certificate of an export.

    Raises:
        DataError: the export is damaged, or made by another release that wrote other fields.
    """
    wrong = damage(place)
    if wrong is not None:
        raise DataError("this export is damaged", where=place, got=wrong, hint="delete it and export again")
    content = read_json(place / FILE)
    known = Certificate.__dataclass_fields__
    try:
        return Certificate(**{name: value for name, value in content.items() if name in known})
    except TypeError as error:
        raise DataError("this certificate is of another release", where=place / FILE, hint="export again") from error


def exports_of(folder: Path) -> Iterator[tuple[Path, Certificate]]:
    """The exports beside a model that belong to its present weights; what is damaged or of other weights is passed over."""
    places = sorted((folder / EXPORTS).glob(f"*/{FILE}"))
    if not places:
        return
    weights = fingerprint_model(folder)
    for path in places:
        try:
            certificate = read_certificate(path.parent)
        except DataError:
            continue
        if certificate.model == weights:
            yield path.parent, certificate
