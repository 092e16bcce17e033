"""Loading by name: the real sets have their known sizes and hold what an independent reader finds."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from munjang.config.recipe import AnyRows, DataSpec, TrainingRows
from munjang.data import catalog
from munjang.data.load import fingerprint_rows, infer_kind, load_rows
from munjang.data.readers import ROLES, Rows
from munjang.data.rows import LabelledPair, ParallelPair, PositivePair, ScoredPair
from munjang.errors import DataError, MissingInputError
from munjang.text import clean

ALL = tuple(ROLES)
SIZES = {
    "korsts:train": 5749,
    "korsts:dev": 1500,
    "korsts:test": 1379,
    "kornli:dev": 2490,
    "kornli:test": 5010,
    "stsb:train": 5749,
    "stsb:dev": 1500,
    "stsb:test": 1379,
    "stsb_multi_mt:en:train": 5749,
    "stsb_multi_mt:en:dev": 1500,
    "stsb_multi_mt:en:test": 1379,
    "park:dev": 1000,
    "park:test": 2000,
    "jhe:dev": 720,
    "jhe:eval": 720,
    "klue-ner": 5000,
    "klue-dp": 2000,
    "chatbot": 8105,
    "klue-sts-sample": 40,
}


@pytest.fixture
def load(real_data, tmp_path, monkeypatch) -> Callable[..., Rows]:
    """Loads a known set from the real data, strictly."""
    monkeypatch.setenv("MUNJANG_DATA", str(real_data))
    return lambda source, **more: load_rows(DataSpec(source=source, **more), ALL, tmp_path)


def naive(path: Path) -> list[list[str]]:
    """The cells of a TSV file by splitting alone, without its header."""
    return [line.split("\t") for line in path.read_bytes().decode("utf-8").split("\n")[1:] if line]


def text(value: str) -> str:
    return clean(value).text


# -- the real sets


@pytest.mark.parametrize(("source", "size"), SIZES.items())
def test_a_real_set_has_its_known_number_of_rows(load, source, size):
    result = load(source)
    assert len(result.rows) == result.report.kept == result.report.read == size
    assert result.report.rejects == []
    assert result.report.source == source


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_korsts_holds_what_splitting_at_tabs_finds(load, real_data, split):
    cells = naive(real_data / "korsts" / f"sts-{split}.tsv")
    expected = [ScoredPair(text(c[5]), text(c[6]), float(c[4]) / 5) for c in cells]
    assert load(f"korsts:{split}").rows == expected


@pytest.mark.parametrize("split", ["dev", "test"])
def test_kornli_holds_what_splitting_at_tabs_finds(load, real_data, split):
    cells = naive(real_data / "kornli-xnli" / f"xnli.{split}.ko.tsv")
    assert load(f"kornli:{split}").rows == [LabelledPair(text(c[0]), text(c[1]), c[2]) for c in cells]


def test_parts_of_kornli_share_no_premise_and_leave_nothing_out(load):
    train, dev = (load("kornli:dev", part=part) for part in ((0, 0.9), (0.9, 1)))
    assert {row.sentence1 for row in train.rows}.isdisjoint(row.sentence1 for row in dev.rows)
    assert sorted(train.rows + dev.rows) == sorted(load("kornli:dev").rows)
    assert len(train.rows) + len(dev.rows) == train.report.read == dev.report.kept == 2490
    assert 0.08 < len(dev.rows) / 2490 < 0.12
    # Premises come in threes, one for each label, and a part does not tear them apart.
    premises = Counter(row.sentence1 for row in load("kornli:dev").rows)
    assert Counter(row.sentence1 for row in dev.rows) == {p: premises[p] for p in {row.sentence1 for row in dev.rows}}
    assert max(premises.values()) >= 3


@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize("name", ["stsb", "stsb_multi_mt:en"])
def test_stsb_holds_what_the_csv_module_finds(load, real_data, name, split):
    with (real_data / "stsb-en" / f"stsb-en-{split}.csv").open(encoding="utf-8", newline="") as file:
        expected = [ScoredPair(text(a), text(b), float(score) / 5) for a, b, score in csv.reader(file)]
    assert load(f"{name}:{split}").rows == expected


@pytest.mark.parametrize(
    ("source", "file"),
    [("park:test", "korean-english-park.test"), ("jhe:dev", "jhe-dev"), ("jhe:eval", "jhe-eval")],
)
def test_parallel_sets_hold_the_lines_of_both_files(load, real_data, source, file):
    sides = [(real_data / "parallel-ko-en" / f"{file}.{s}").read_bytes().decode().split("\n") for s in ("ko", "en")]
    expected = [ParallelPair(text(ko), text(en)) for ko, en in zip(*sides, strict=True) if ko or en]
    assert load(source).rows == expected


def test_sentences_are_the_lines_of_the_file(load, real_data):
    lines = (real_data / "raw-ko" / "klue-ner-dev.txt").read_bytes().decode().split("\n")
    assert load("klue-ner").rows == [text(line) for line in lines if line]


def test_the_klue_sample_holds_its_labels(load, real_data):
    published = json.loads(
        (real_data / "klue-sts-sample" / "klue-sts-v1.1_dev.head40.json").read_text(encoding="utf-8")
    )
    expected = [ScoredPair(text(r["sentence1"]), text(r["sentence2"]), r["labels"]["label"] / 5) for r in published]
    assert load("klue-sts-sample").rows == expected


@pytest.mark.parametrize(
    ("source", "file"), [("kornli:dev", "kornli-xnli/xnli.dev.ko.tsv"), ("korsts:train", "korsts/sts-train.tsv")]
)
def test_bare_double_quotes_are_kept(load, real_data, source, file):
    written = sum(cell.count('"') for cells in naive(real_data / file) for cell in cells)
    assert written > 0
    assert sum(value.count('"') for row in load(source).rows for value in row[:2]) == written


@pytest.mark.parametrize("source", ["korsts:train", "jhe:dev", "chatbot", "klue-sts-sample", "stsb:dev"])
def test_a_sample_of_any_set_is_as_large_as_asked(load, source):
    rows = load(source, sample=10).rows
    assert len(rows) == 10
    assert set(rows) <= set(load(source).rows)


def test_the_users_settings_win_over_the_catalogues(load):
    assert max(row.score for row in load("korsts:dev", scale=(0, 10)).rows) == 0.5
    swapped = load("korsts:dev", columns={"sentence1": "sentence2", "sentence2": "sentence1"}).rows
    assert [(r.sentence2, r.sentence1) for r in swapped] == [row[:2] for row in load("korsts:dev").rows]


# -- the sets that come with the package

SAMPLES = {
    "support:train": "pairs-train.tsv",
    "support:dev": "pairs-dev.tsv",
    "support:test": "pairs-test.tsv",
    "support-raw": "raw.txt",
    "support-help": "help.tsv",
    "support-queries": "queries.tsv",
    "support-qrels": "qrels.tsv",
    "support-parallel": "parallel.tsv",
}


@pytest.mark.parametrize(("source", "file"), SAMPLES.items())
def test_a_sample_set_is_read_whole_and_strictly_without_a_data_folder(tmp_path, monkeypatch, source, file):
    monkeypatch.delenv("MUNJANG_DATA", raising=False)
    lines = (catalog.SAMPLE_FOLDER / file).read_bytes().decode("utf-8").splitlines()
    result = load_rows(DataSpec(source=source), ALL, tmp_path)
    assert len(result.rows) == result.report.read == len(lines) - file.endswith(".tsv")
    assert not result.report.changes


def test_the_samples_above_are_all_there_are():
    embedded = {name for name, entry in catalog.CATALOG.items() if entry.embedded}
    assert {source.partition(":")[0] for source in SAMPLES} == embedded


def test_the_judgements_of_the_samples_name_queries_and_texts_that_exist(tmp_path):
    queries, texts, judgements = (
        load_rows(DataSpec(source=f"support-{name}"), ALL, tmp_path).rows for name in ("queries", "help", "qrels")
    )
    assert {row.query_id for row in judgements} == {row.id for row in queries}
    assert {row.doc_id for row in judgements} <= {row.id for row in texts}
    assert len({row.id for row in texts}) == len(texts)
    assert {row.relevance for row in judgements} <= {0, 1, 2}


# -- strictness


def test_a_blank_line_in_an_aligned_set_stops_unless_told_to_skip(tmp_path, monkeypatch):
    folder = tmp_path / "parallel-ko-en"
    folder.mkdir()
    (folder / "jhe-dev.ko").write_text("가\n\n다\n")
    (folder / "jhe-dev.en").write_text("a\nb\nc\n")
    monkeypatch.setenv("MUNJANG_DATA", str(tmp_path))
    skipped = load_rows(DataSpec(source="jhe:dev", rejects="skip"), ("parallel-pairs",), tmp_path)
    assert (skipped.report.read, skipped.report.kept) == (3, 2)
    with pytest.raises(DataError, match="blank"):
        load_rows(DataSpec(source="jhe:dev"), ("parallel-pairs",), tmp_path)


def test_rows_of_another_kind_are_refused_with_both_kinds(load, tmp_path):
    with pytest.raises(DataError, match="other rows") as caught:
        load_rows(DataSpec(source="chatbot"), ("scored-pairs", "labelled-pairs"), tmp_path)
    assert (caught.value.expected, caught.value.got) == ("scored-pairs or labelled-pairs", "sentences")


def test_a_missing_file_is_a_missing_input(tmp_path):
    with pytest.raises(MissingInputError):
        load_rows(DataSpec(source="gone.tsv"), ALL, tmp_path)


# -- the hub's files


@pytest.mark.parametrize(
    ("source", "row", "expected"),
    [
        ("klue-sts:dev", {"guid": "x", "labels": {"label": 2.5, "real-label": 2.4}}, ScoredPair("가", "나", 0.5)),
        ("stsb:dev", {"score": 0.5}, ScoredPair("가", "나", 0.5)),
        ("stsb_multi_mt:de:dev", {"similarity_score": 2.5}, ScoredPair("가", "나", 0.5)),
    ],
)
def test_scored_pairs_of_the_hub_are_read_by_their_names(tmp_path, monkeypatch, source, row, expected):
    path = tmp_path / "0000.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"sentence1": "가", "sentence2": "나", **row}]), path)
    monkeypatch.delenv("MUNJANG_DATA", raising=False)
    monkeypatch.setattr(catalog, "fetch_dataset_file", lambda *_, hint: path)
    assert load_rows(DataSpec(source=source), ALL, tmp_path).rows == [expected]


def test_labelled_pairs_of_the_hub_are_read_by_their_names(tmp_path, monkeypatch):
    path = tmp_path / "0000.parquet"
    rows = [{"premise": "가", "hypothesis": "나", "label": label} for label in range(3)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    monkeypatch.delenv("MUNJANG_DATA", raising=False)
    monkeypatch.setattr(catalog, "fetch_dataset_file", lambda *_, hint: path)
    loaded = load_rows(DataSpec(source="kornli:dev"), ALL, tmp_path).rows
    assert [row.label for row in loaded] == ["entailment", "neutral", "contradiction"]


# -- the kind of a file


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.tsv", "sentence1\tsentence2\tscore\n", "scored-pairs"),
        ("a.csv", "premise,hypothesis,gold_label\n", "labelled-pairs"),
        ("a.tsv", "ko\ten\n", "parallel-pairs"),
        ("a.txt", "가\n", "sentences"),
        ("a.jsonl", '{"query_id": "q", "doc_id": "d", "relevance": 1}\n', "qrels"),
        ("a.json", '[{"sentence1": "a", "sentence2": "b", "score": 1}]', "scored-pairs"),
        ("a.jsonl", '{"sentence1": "a", "sentence2": "b", "labels": {"label": 1}}\n', "scored-pairs"),
        ("a.jsonl", '{"id": "1", "text": "가"}\n', "documents"),
    ],
    ids=lambda value: value[:30],
)
def test_the_columns_of_a_file_tell_what_rows_it_holds(scratch, name, content, kind):
    order = ("scored-pairs", "labelled-pairs", "parallel-pairs", "qrels", "documents", "sentences")
    assert infer_kind(scratch(name, content), DataSpec(source="x"), order) == kind


#: Columns of files as they are in use, and what they hold; tried in the order in which options accept kinds.
IN_USE = [
    ("sentence1,sentence2,score", "scored-pairs"),
    ("sentence1,sentence2,score,anchor,positive,negative", "scored-pairs"),
    ("sentence1,sentence2,score,query,answer", "scored-pairs"),
    ("premise,hypothesis,label", "labelled-pairs"),
    ("anchor,positive,negative", "triplets"),
    ("sent0,sent1,hard_neg", "triplets"),
    ("query,document,hard_negative", "triplets"),
    ("query,pos,neg", "triplets"),
    ("id,anchor,positive,negative,text", "triplets"),
    ("query,positive,negatives", "triplets"),
    ("anchor,positive,negative,score", "triplets"),
    ("기준,긍정,부정", "triplets"),
    ("anchor,positive", "positive-pairs"),
    ("question,answer", "positive-pairs"),
    ("질문,답변", "positive-pairs"),
    ("query,document", "positive-pairs"),
    ("query,document,score", "ranked-lists"),
    ("query,passage,label", "ranked-lists"),
    ("query,documents,scores", "ranked-lists"),
    ("query_id,query,doc_id,document,score", "ranked-lists"),
    ("source,target", "parallel-pairs"),
    ("text,label", "labelled-texts"),
    ("id,sentence,gold_label", "labelled-texts"),
    ("id,text", "sentences"),
    ("query_id,doc_id,score", "qrels"),
    ("sentence1,sentence2", "pairs"),
    ("문장1,문장2", "pairs"),
]


@pytest.mark.parametrize(("columns", "kind"), IN_USE)
@pytest.mark.parametrize("swapped", [False, True])
def test_columns_in_use_are_taken_for_what_they_are_in_any_order(scratch, columns, kind, swapped):
    names = columns.split(",")[:: -1 if swapped else 1]
    for format, separator in (("csv", ","), ("tsv", "\t")):
        path = scratch(f"use.{format}", separator.join(names) + "\n")
        assert infer_kind(path, DataSpec(source="x"), ALL) == kind
    path = scratch("use.jsonl", json.dumps(dict.fromkeys(names, "x")))
    assert infer_kind(path, DataSpec(source="x"), ALL) == kind


def test_every_kind_is_among_the_columns_in_use():
    assert {kind for _, kind in IN_USE} == set(ROLES) - {"documents"}


@pytest.mark.parametrize("reference", [TrainingRows, AnyRows], ids=["training", "any"])
def test_references_try_kinds_in_the_order_of_the_table(reference):
    (mark,) = reference.__metadata__
    assert mark.accepts == tuple(kind for kind in ROLES if kind in mark.accepts)


@pytest.mark.parametrize("column", ["score", "label", "점수", "gold_label"])
def test_pairs_with_a_score_or_a_label_are_positive_only_where_that_is_said(scratch, column):
    path = scratch("judged.csv", f"question,answer,{column}\n가,나,0\n")
    kinds = ("scored-pairs", "positive-pairs", "sentences")
    with pytest.raises(DataError, match="cannot tell what rows"):
        infer_kind(path, DataSpec(source="x"), kinds)
    said = DataSpec(source="x", columns={"anchor": "question", "positive": "answer"})
    assert infer_kind(path, said, kinds) == "positive-pairs"


def test_mapped_roles_leave_only_the_kinds_that_have_them(scratch, tmp_path):
    path = scratch("mapped.csv", "sentence1,sentence2,score\n가,나,1\n")
    spec = DataSpec(source=str(path), columns={"anchor": "sentence1", "positive": "sentence2"})
    assert load_rows(spec, ALL, tmp_path).rows == [PositivePair("가", "나")]


def test_mapped_columns_tell_it_too(scratch):
    spec = DataSpec(source="x", columns={"sentence1": "질문", "sentence2": "답", "score": "값"})
    assert infer_kind(scratch("a.csv", "질문,답,값\n"), spec, ALL) == "scored-pairs"


def test_the_only_kind_that_is_accepted_is_taken(scratch):
    assert infer_kind(scratch("a.csv", "x,y\n"), DataSpec(source="x"), ("scored-pairs",)) == "scored-pairs"


def test_columns_that_tell_nothing_are_refused_with_a_remedy(scratch):
    with pytest.raises(DataError, match="cannot tell what rows") as caught:
        infer_kind(scratch("a.csv", "x,y\n"), DataSpec(source="x"), ("scored-pairs", "sentences"))
    assert caught.value.got == "columns x, y"
    assert "scored-pairs (sentence1, sentence2, score)" in caught.value.expected
    assert "columns = {" in caught.value.hint


# -- fingerprints

CONTENT = "sentence1\tsentence2\tscore\n가\t나\t1\n"


def fingerprint(folder: Path, source: str = "a.tsv", **more: object) -> dict[str, object]:
    return fingerprint_rows(DataSpec(**{"source": source, "scale": (0, 5), **more}), folder)


def test_a_fingerprint_is_plain_json_and_follows_the_content_not_the_place(tmp_path):
    for name in ("a.tsv", "sub/b.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CONTENT)
    first = fingerprint(tmp_path)
    assert json.loads(json.dumps(first)) == first
    assert first == fingerprint(tmp_path, "sub/b.tsv") == fingerprint(tmp_path / "sub", "../a.tsv")
    (tmp_path / "a.tsv").write_text(CONTENT + "다\t라\t2\n")
    assert first != fingerprint(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (0, 10)},
        {"columns": {"sentence1": "sentence2", "sentence2": "sentence1"}},
        {"encoding": "cp949"},
        {"rejects": "skip"},
        {"sample": 1},
        {"format": "csv"},
        {"part": (0, 0.5)},
    ],
    ids=str,
)
def test_every_setting_that_can_change_the_rows_changes_the_fingerprint(tmp_path, change):
    (tmp_path / "a.tsv").write_text(CONTENT)
    assert fingerprint(tmp_path, **change) != fingerprint(tmp_path)


def test_the_fingerprint_of_a_set_without_a_part_knows_nothing_of_parts(tmp_path):
    (tmp_path / "a.tsv").write_text(CONTENT)
    assert "part" not in fingerprint(tmp_path)
    parts = [(0, 0.5), (0.5, 1), (0, 1)]
    assert len({json.dumps(fingerprint(tmp_path, part=part), sort_keys=True) for part in parts}) == 3


def test_a_name_that_changes_how_a_file_is_read_changes_the_fingerprint(tmp_path):
    for name in ("a.tsv", "a.csv"):
        (tmp_path / name).write_text('sentence\n"가 ""나"""\n')
    rows = [load_rows(DataSpec(source=name), ("sentences",), tmp_path).rows for name in ("a.tsv", "a.csv")]
    assert rows[0] != rows[1]
    assert fingerprint(tmp_path, "a.tsv") != fingerprint(tmp_path, "a.csv")


# -- texts with labels


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("text\tlabel", "labelled-texts"),
        ("sentence\tlabel", "labelled-texts"),
        ("sentence1\tsentence2\tlabel", "labelled-pairs"),
        ("text\tscore", "sentences"),
        ("sentence", "sentences"),
    ],
)
def test_texts_with_labels_are_told_from_pairs_and_sentences(scratch, header, kind):
    assert infer_kind(scratch("x.tsv", header + "\n"), DataSpec(source="x"), AnyRows.__metadata__[0].accepts) == kind


def test_no_training_takes_labels_of_texts(scratch):
    accepts = TrainingRows.__metadata__[0].accepts
    assert "labelled-texts" not in accepts
    assert infer_kind(scratch("x.tsv", "text\tlabel\n"), DataSpec(source="x"), accepts) == "sentences"


# -- two aligned files of one's own


def write_sides(tmp_path, rows=3):
    (tmp_path / "news.ko").write_text("".join(f"뉴스 문장 {i}\n" for i in range(rows)), encoding="utf-8")
    (tmp_path / "news.en").write_text("".join(f"a sentence of news {i}\n" for i in range(3)), encoding="utf-8")


def test_two_aligned_files_are_one_name(tmp_path):
    write_sides(tmp_path)
    rows = load_rows(DataSpec(source="news.{ko,en}"), ALL, tmp_path)
    assert rows.kind == "parallel-pairs"
    assert rows.rows[0] == ("뉴스 문장 0", "a sentence of news 0")
    columns = {"source": "en", "target": "ko"}
    turned = load_rows(DataSpec(source="news.{ko,en}", columns=columns), ALL, tmp_path)
    assert [(b, a) for a, b in turned.rows] == [tuple(row) for row in rows.rows]
    prints = [fingerprint_rows(DataSpec(source="news.{ko,en}", columns=c), tmp_path) for c in ({}, columns)]
    assert prints[0] != prints[1]


def test_the_sides_of_a_known_set_can_be_turned_round(load, tmp_path, real_data):
    columns = {"source": "en", "target": "ko"}
    plain, turned = (load_rows(DataSpec(source="jhe:dev", columns=c), ALL, tmp_path).rows for c in ({}, columns))
    assert [(b, a) for a, b in turned] == [tuple(row) for row in plain]


@pytest.mark.parametrize("columns", [{"source": "de"}, {"source": "en"}, {"sentence": "ko"}])
def test_sides_that_do_not_exist_are_refused(columns, tmp_path):
    write_sides(tmp_path)
    with pytest.raises(DataError, match="sides of two aligned files") as caught:
        load_rows(DataSpec(source="news.{ko,en}", columns=columns), ALL, tmp_path)
    assert "ko and en" in caught.value.expected


def test_aligned_files_with_other_numbers_of_lines_or_one_missing(tmp_path):
    write_sides(tmp_path, rows=2)
    with pytest.raises(DataError, match="2 and 3 lines"):
        load_rows(DataSpec(source="news.{ko,en}"), ALL, tmp_path)
    with pytest.raises(MissingInputError, match=r"news\.de"):
        load_rows(DataSpec(source="news.{ko,de}"), ALL, tmp_path)
