"""What a training needs of its teacher: that both can read the texts, the vectors to learn, how near the student comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from munjang.data.lint import swapped_sides
from munjang.data.rows import texts_of
from munjang.engine.encoder import Encoder, cosine_of_rows, normalise
from munjang.errors import DataError, Option, Phrase
from munjang.models.settings import default_prompt, vector_size
from munjang.models.tokens import BLIND, FRAGMENTS, token_statistics
from munjang.pipeline.stage import Context
from munjang.stages.inputs import model_folder
from munjang.text import printable
from munjang.train.distilling import distils, require_sizes, require_sound_teacher
from munjang.train.examples import TrainRows, distilled_texts
from munjang.train.objectives import DISTILLING
from munjang.train.options import TrainBiOptions, TrainOptions

#: Texts of dev on which student and teacher are compared, and texts of a set that tokenizers are tried on.
_COMPARED = 1000
#: Share of swapped pairs that is noise, and above which something went wrong.
_SWAPPED = 0.01
#: Texts from which on a share of fragments means something.
_ENOUGH = 20


class Teacher:
    """A teacher, and what its student is to learn of it.

    Args:
        options: of the training.
        context: of the stage.
    """

    def __init__(self, options: TrainBiOptions, context: Context) -> None:
        self.options, self.context = options, context
        self.student = model_folder(context, options.model)
        self.folder = model_folder(context, str(options.teacher))
        self.encoder: Encoder | None = None

    def taught(self, sets: Sequence[TrainRows]) -> list[TrainRows]:
        """The sets that learn the teacher's vectors with those vectors; what does not fit is found before any is computed.

        Lengths say nothing of similarity and a student that normalises cannot learn them, so the vectors are of length 1.

        Raises:
            DataError: the teacher is not sound, or teacher or student cannot read the texts. ConfigError: sizes do not fit.
        """
        require_sound_teacher(self.options, self.folder)
        own, size = vector_size(self.student), vector_size(self.folder)
        if own is not None and size is not None:
            require_sizes(own, size, self.options, [one.objective.name for one in sets])
        for one in sets:
            if one.objective.name in DISTILLING:
                self._require_sides(one)
                self._require_sight(one)
        self.encoder = Encoder(self.folder, self.context.device, backend="exact", cache=True)
        found = []
        for one in sets:
            if one.objective.name in DISTILLING:
                texts = [texts[0] for texts in distilled_texts(one.kind, one.rows)]
                title = f"the teacher reads {len(texts):,} texts of {one.name}"
                vectors = self.encoder.encode(texts, progress=self.context.progress(title))
                one = replace(one, vectors=normalise(vectors))
            found.append(one)
        return found

    def compared(self, sets: Sequence[tuple[str, list[Any]]]) -> Comparison | None:
        """How near a student comes to the teacher on the texts of dev; None where their vectors differ in size.

        Args:
            sets: (kind, rows) of dev.
        """
        size = self.encoder.dimension if self.encoder is not None else 0
        same = vector_size(self.student) == size or self.options.projection == "dense"
        if self.encoder is None or not same:
            return None
        texts = [texts for kind, rows in sets for texts in distilled_texts(kind, rows)][:_COMPARED]
        vectors = normalise(self.encoder.encode([own for own, *_ in texts]))
        return Comparison(
            [text for some in texts for text in some], np.repeat(vectors, [len(some) for some in texts], axis=0)
        )

    def _require_sides(self, one: TrainRows) -> None:
        """Refuse translations of which many stand the other way round: the teacher would read either language."""
        swapped = swapped_sides(one.rows) if one.kind == "parallel-pairs" else []
        if len(swapped) > _SWAPPED * len(one.rows):
            raise DataError(
                "the languages of the two sides are swapped in some of these pairs",
                where=self.options.option("train", one.name),
                got=f"{len(swapped):,} of {len(one.rows):,}, such as {printable(swapped[0].source, 60)!r} as the source",
                hint="turn these pairs round; munjang doctor counts them",
            )

    def _require_sight(self, one: TrainRows) -> None:
        """Refuse texts that the teacher or the student sees as unknown pieces, or the teacher only as fragments."""
        of_teacher = [texts[0] for texts in distilled_texts(one.kind, one.rows)][:_COMPARED]
        of_student = [text for row in one.rows[:_COMPARED] for text in texts_of(row)]
        hint = "name a model whose vocabulary covers this language"
        if one.kind == "parallel-pairs":
            hint = Phrase(
                "the teacher reads the source of each pair; if that is the other language, map the columns: {}",
                Option("columns", {"source": "en", "target": "ko"}),
            )
        for who, folder, texts in (("teacher", self.folder, of_teacher), ("student", self.student, of_student)):
            seen = token_statistics(folder, texts, default_prompt(folder))
            if seen is None:
                continue
            unknown = seen.unknown / max(seen.tokens, 1)
            fragments = seen.per_character if who == "teacher" and seen.texts >= _ENOUGH else 0.0
            if unknown > BLIND or fragments > FRAGMENTS:
                got = f"{unknown:.0%} unknown tokens" if unknown > BLIND else f"{fragments:.2f} tokens a character"
                example = printable(seen.unknown_example or texts[0], 60)
                raise DataError(
                    f"the {who} cannot read these texts",
                    where=self.options.option("train", one.name),
                    expected=f"at most {BLIND:.0%} unknown tokens and {FRAGMENTS:g} tokens a character",
                    got=f"{got}, such as in {example!r}",
                    hint=hint,
                )


class Comparison:
    """A teacher's vectors of some texts.

    Args:
        texts: n of them.
        vectors: (n, d), of length 1; of a translation that of its source.
    """

    def __init__(self, texts: list[str], vectors: np.ndarray) -> None:
        self.texts, self.vectors = texts, vectors

    def __call__(self, encoder: Encoder) -> dict[str, float]:
        """Mean squared error a number, x 1,000, and mean cosine x 100."""
        own = normalise(encoder.encode(self.texts))
        return {
            "teacher: mean squared error x 1,000": 1000 * float(np.square(own - self.vectors).mean()),
            "teacher: cosine x 100": 100 * float(cosine_of_rows(own, self.vectors).mean()),
        }


def teacher_of(options: TrainOptions, context: Context, sets: Sequence[TrainRows]) -> Teacher | None:
    """The teacher of a training, if some set learns from one."""
    if isinstance(options, TrainBiOptions) and options.teacher is not None and distils(sets):
        return Teacher(options, context)
    return None
