"""Opens models with the kernels: exports of theirs, and any supported model in float32 once it was shown to be the same model.

What the kernels compute in float32 needs no calibration, so it needs no export. But nothing runs on trust: the first time that a
model is met its outputs are compared with torch's on a few texts, and what was found is kept in the user's cache under the
digests of the model and the release of the kernels.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from munjang.engine.certificate import FILE, Certificate, read_certificate
from munjang.engine.native.backend import NativeBackend
from munjang.engine.native.kernels import BUILD, instructions, module, release
from munjang.engine.native.outline import Outline, UnsupportedError, outline_of
from munjang.engine.native.rounding import read_rounding
from munjang.errors import DataError, DiskError, UnavailableError
from munjang.files import damage, digest_of_manifest, lock, new_directory, read_manifest, write_json
from munjang.models.folder import fingerprint_model
from munjang.models.source import cache_folder


def require_outline(folder: Path) -> Outline:
    """What the kernels run of a model.

    Raises:
        UnavailableError: they are not built, or do not run it; the message says which, by name. DataError: a damaged file.
    """
    if module() is None:
        raise UnavailableError("the native kernels are not here", hint=BUILD)
    try:
        return outline_of(folder)
    except UnsupportedError as error:
        hint = "use another backend, such as torch"
        raise UnavailableError(
            "the native kernels do not run this model", where=folder, got=str(error), hint=hint
        ) from error


def open_export(folder: Path, place: Path, certificate: Certificate, budget: int | None = None) -> NativeBackend:
    """The kernels over an export of theirs; see `munjang.engine.exported.open_export`."""
    rounding = read_rounding(place) if certificate.precision == "int8" else {}
    manifest = read_manifest(place)
    digest = digest_of_manifest(manifest) if manifest and rounding else ""
    return NativeBackend(folder, require_outline(folder), certificate, rounding, budget, digest)


def open_proven(folder: Path, kind: str, budget: int | None = None) -> NativeBackend:
    """The kernels over a model in float32.

    Raises:
        UnavailableError: they are not built, do not run this model, or do not give torch's outputs for it.
    """
    outline = require_outline(folder)
    certificate = _proof(folder, kind, outline)
    if not certificate.holds:
        near = (
            f"cosine {certificate.cosine_least}" if kind == "bi-encoder" else f"off by {certificate.difference_largest}"
        )
        raise UnavailableError(
            "the native kernels do not give the outputs of this model", where=folder, got=near, hint="use torch"
        )
    return NativeBackend(folder, outline, certificate, budget=budget)


def _proof(folder: Path, kind: str, outline: Outline) -> Certificate:
    place = cache_folder() / "native" / f"{fingerprint_model(folder)[:32]}-{release()}-{instructions()}"
    if damage(place) is None:
        with contextlib.suppress(DataError):  # of another release of Munjang: made again
            return read_certificate(place)
    from munjang.engine.exporting import prove_native

    certificate = prove_native(folder, kind, outline)
    # Where the cache cannot be written it is proven again the next time.
    with contextlib.suppress(DiskError), lock(place.parent, "cache of the native kernels", wait=True):
        shutil.rmtree(place, ignore_errors=True)
        with new_directory(place) as target:
            write_json(target / FILE, certificate.as_dict())
    return certificate
