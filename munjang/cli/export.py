"""munjang export, munjang verify"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from munjang import api
from munjang.cli.output import GATE_FAILED, Common, Reading, print_json, showing, stdout

if TYPE_CHECKING:
    from munjang.engine.certificate import Certificate

_LIST = Parameter(consume_multiple=(1, None), negative=())


def export(
    model: str,
    /,
    *,
    to: Literal["native", "openvino", "onnx"],
    precision: Literal["float32", "int8"] = "float32",
    sample: Annotated[list[str] | None, _LIST] = None,
    dev: str | None = None,
    accept: Annotated[bool, Parameter(negative=())] = False,
    reading: Reading | None = None,
    common: Common | None = None,
) -> int:
    """Export a model beside itself, and certify how near it is and how fast.

    Args:
        model: bundled:e5-small, a folder, or a hub id.
        to: The runtime that is to run it.
        precision: int8 is smaller and faster, and a little less exact.
        sample: Data sets of your own texts, which calibrate int8 and on which outputs are compared; by default the embedded
            sentences of customer support.
        dev: Scored pairs on which is measured what int8 costs; without them it is taken only where it is named.
        accept: Take it by itself whatever is measured.
    """
    common = common or Common()
    with showing(common.json) as show:
        certificate = api.export(
            model,
            to,
            precision=precision,
            sample=sample or (),
            dev=dev,
            accept=accept,
            show=show,
            **(reading or Reading()).settings(),
        )
    if common.json:
        print_json(certificate.as_dict())
        return 0
    for line in _lines(certificate):
        stdout().print(line, soft_wrap=True)
    return 0


def _lines(certificate: Certificate) -> list[str]:
    about = f"{certificate.sample:,} of the sample"
    if certificate.cosine_least is not None:
        near = (
            f"cosine to torch on {about}: at least {certificate.cosine_least:.4f}, mean {certificate.cosine_mean:.4f}"
        )
    else:
        near = f"largest difference of a score before its activation on {about}: {certificate.difference_largest:.4f}"
    lines = [near, f"speed against torch: {certificate.speed_ratio:.2f}"]
    if certificate.loss is not None:
        lines.append(
            f"Spearman on {certificate.dev}: {certificate.dev_export:.2f} against {certificate.dev_torch:.2f}, "
            f"a loss of {certificate.loss:.2f}"
        )
    name = f"{certificate.backend}-{certificate.precision}"
    if certificate.holds:
        lines.append(f"certified: --backend auto may take {name}")
    elif certificate.loss is None:
        lines.append(f"not certified: give scored pairs by --dev, or take it by name: --backend {name}")
    else:
        lines.append(f"not certified: the loss is above the bound; take it by name: --backend {name}")
    return lines


def verify(target: str, /, *, golden: str | None = None, model: str = "default", common: Common | None = None) -> int:
    """Compare a model, or a server that speaks the OpenAI embeddings API, with the golden outputs of an export.

    Args:
        target: A model, or an address such as http://127.0.0.1:8080.
        golden: The exported model, or its golden.json; by default the target itself.
        model: The model's name in requests to a server.
    """
    common = common or Common()
    verified = api.verify(target, golden=golden, model=model)
    if common.json:
        print_json({**asdict(verified), "same": verified.same})
    else:
        near = (
            f"largest difference {verified.difference_largest:.2e}"
            if verified.cosine_least is None
            else f"cosine at least {verified.cosine_least:.6f}"
        )
        verdict = "the same model" if verified.same else f"another model; farthest off: {verified.worst!r}"
        stdout().print(f"{verified.inputs} golden inputs, {near}: {verdict}", soft_wrap=True, markup=False)
    return 0 if verified.same else GATE_FAILED
