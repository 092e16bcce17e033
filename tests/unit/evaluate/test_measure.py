"""Every task's figures are those of sentence-transformers' evaluators, scikit-learn and trec_eval on the same models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.evaluation import (
    CrossEncoderClassificationEvaluator,
    CrossEncoderCorrelationEvaluator,
    CrossEncoderRerankingEvaluator,
)
from sentence_transformers.sentence_transformer.evaluation import (
    BinaryClassificationEvaluator,
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    RerankingEvaluator,
    TranslationEvaluator,
    TripletEvaluator,
)
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from munjang.data.cells import NLI_LABELS
from munjang.data.rows import Document, LabelledText, Qrel, RankedList, ScoredPair, sentences_of
from munjang.engine.backend import Backend
from munjang.engine.running import Ran, run_inputs
from munjang.engine.scorer import Scorer
from munjang.errors import DataError, MissingInputError
from munjang.evaluate.dev import triplets_of_nli
from munjang.evaluate.measure import measure
from munjang.evaluate.measurement import Measurement, Unmeasured
from munjang.evaluate.rankings import judged_queries
from munjang.evaluate.sets import ClassificationRows, EvalSet, ModelSpec, RetrievalRows, Run
from munjang.evaluate.tasks import TASKS
from munjang.progress import Progress

Results = dict[tuple[str, str], Measurement | Unmeasured]
ALL = tuple(TASKS)


def values(one: Measurement) -> dict[str, float | str]:
    """Each metric's value, or why there is none."""
    ones = np.ones((1, one.units))
    return {m.name: m.undefined(one.columns) or float(m.values(one.columns, ones)[0]) for m in one.metrics}


def once(model: Path | Run, one: EvalSet, **settings: object) -> Measurement | Unmeasured:
    run = model if isinstance(model, Run) else Run(model)
    (result,) = measure([ModelSpec("m", [run])], [one], **settings)
    return result


@pytest.fixture(scope="module")
def results(tiny_bi: Path, tiny_cross: Path, tiny_nli: Path, eval_sets: dict[str, EvalSet]) -> Results:
    """(Label, task) -> result, of four models over sets of all tasks."""
    runs = {"bi": Run(tiny_bi), "cross": Run(tiny_cross), "nli": Run(tiny_nli), "both": Run(tiny_bi, tiny_cross)}
    models = [ModelSpec(label, [run]) for label, run in runs.items()]
    found = list(measure(models, list(eval_sets.values()), similarities=("dot", "euclidean", "manhattan")))
    assert [(one.subject.label, one.task) for one in found] == [(label, task) for label in runs for task in ALL]
    return {(result.subject.label, result.task): result for result in found}


@pytest.fixture(scope="module")
def bi(tiny_bi: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_bi), device="cpu")


@pytest.fixture(scope="module")
def cross(tiny_cross: Path) -> CrossEncoder:
    return CrossEncoder(str(tiny_cross), device="cpu")


# -- agreement


def sides(rows: Sequence) -> list[list]:
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity_is_that_of_the_evaluator(
    name: str, results: Results, bi: SentenceTransformer, eval_sets: dict[str, EvalSet]
) -> None:
    left, right, gold = sides(eval_sets["sts"].rows)
    expected = EmbeddingSimilarityEvaluator(left, right, gold, similarity_fn_names=[name], write_csv=False)(bi)
    found = values(results["bi", "sts"])
    suffix = "" if name == "cosine" else f"_{name}"
    for metric in ("pearson", "spearman"):
        assert found[metric + suffix] == pytest.approx(expected[f"{metric}_{name}"], abs=1e-6)


def test_similarity_of_a_cross_encoder_is_that_of_the_evaluator(
    tiny_cross: Path, cross: CrossEncoder, eval_sets: dict[str, EvalSet]
) -> None:
    rows = eval_sets["sts"].rows
    given = values(once(tiny_cross, eval_sets["sts"], symmetric=False))
    expected = CrossEncoderCorrelationEvaluator([row[:2] for row in rows], [row.score for row in rows])(cross)
    assert given == pytest.approx(expected, abs=1e-6)


def test_scores_in_both_orders_are_those_of_the_scorer(
    results: Results, tiny_cross: Path, eval_sets: dict[str, EvalSet]
) -> None:
    scores = Scorer(tiny_cross, symmetric=True).score([row[:2] for row in eval_sets["sts"].rows])
    assert results["cross", "sts"].columns["predicted"] == pytest.approx(scores, abs=1e-6)


def test_pair_classes_are_those_of_the_evaluator(
    results: Results, bi: SentenceTransformer, eval_sets: dict[str, EvalSet]
) -> None:
    left, right, scores = sides(eval_sets["pair-classification"].rows)
    labels = [int(score >= 0.5) for score in scores]
    evaluator = BinaryClassificationEvaluator(left, right, labels, similarity_fn_names=["cosine"], write_csv=False)
    expected, one = evaluator(bi), results["bi", "pair-classification"]
    for metric, value in values(one).items():
        assert value == pytest.approx(expected[f"cosine_{metric}"], abs=1e-6)
    assert one.extra["f1_threshold"] == pytest.approx(expected["cosine_f1_threshold"], abs=1e-6)
    assert (one.extra["positive_from"], one.extra["positives"]) == (0.5, sum(labels))


def test_pairs_count_as_positive_from_the_threshold_on(tiny_bi: Path, eval_sets: dict[str, EvalSet]) -> None:
    one = replace(eval_sets["pair-classification"], threshold=0.8)
    assert once(tiny_bi, one).columns["gold"].tolist() == [float(row.score >= 0.8) for row in one.rows]
    assert one.fingerprint != eval_sets["pair-classification"].fingerprint


@pytest.mark.parametrize("task", ["triplets", "nli"])
def test_triplets_are_those_of_the_evaluator(
    task: str, results: Results, tiny_bi: Path, eval_sets: dict[str, EvalSet]
) -> None:
    bi = SentenceTransformer(str(tiny_bi), device="cpu")
    # The evaluator takes an anchor for a query and the others for documents; texts that are compared have one prompt here.
    bi.prompts = {name: bi.prompts["query"] for name in ("query", "document")}
    rows = eval_sets[task].rows if task == "triplets" else triplets_of_nli(eval_sets[task].rows)
    expected = TripletEvaluator(*sides(rows), similarity_fn_names=["cosine"], write_csv=False)(bi)
    one = results["bi", task]
    assert values(one)["triplet_accuracy"] == pytest.approx(expected["cosine_accuracy"], abs=1e-6)
    assert one.units == len(rows)


def test_triplets_of_a_cross_encoder_compare_both_pairs(
    results: Results, cross: CrossEncoder, eval_sets: dict[str, EvalSet]
) -> None:
    rows = eval_sets["triplets"].rows
    near, far = (cross.predict([(row[0], row[place]) for row in rows]) for place in (1, 2))
    assert results["cross", "triplets"].columns["triplet_accuracy"].tolist() == (near > far).astype(float).tolist()


def test_nli_classes_are_those_of_the_evaluator_whatever_the_order_of_its_labels(
    results: Results, tiny_nli: Path, eval_sets: dict[str, EvalSet]
) -> None:
    model, rows = CrossEncoder(str(tiny_nli), device="cpu"), eval_sets["nli"].rows
    order = {str(name): int(place) for place, name in model.config.id2label.items()}
    assert list(order) != list(NLI_LABELS)
    pairs, labels = [row[:2] for row in rows], [order[row.label] for row in rows]
    expected = CrossEncoderClassificationEvaluator(pairs, labels, write_csv=False)(model)
    one = results["nli", "nli"]
    assert values(one)["macro_f1"] == pytest.approx(expected["f1_macro"], abs=1e-6)
    assert len(set(one.columns["predicted"])) > 1
    probabilities = model.predict(pairs, apply_softmax=True)
    for name in NLI_LABELS:
        assert one.columns[f"p_{name}"] == pytest.approx(probabilities[:, order[name]], abs=1e-5)
    shares = np.stack([one.columns[f"p_{name}"] for name in NLI_LABELS], axis=1)
    chosen = [NLI_LABELS[place] for place in shares.argmax(axis=1)]
    assert one.columns["accuracy"].tolist() == [float(a == row.label) for a, row in zip(chosen, rows, strict=True)]
    assert [one.extra["classes"][code] for code in one.columns["predicted"]] == chosen
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(rows)))


def samples(rows: Sequence[RankedList]) -> list[dict]:
    return [
        {
            "query": row.query,
            "positive": [d for d, s in zip(row.documents, row.scores, strict=True) if s > 0],
            "negative": [d for d, s in zip(row.documents, row.scores, strict=True) if s == 0],
        }
        for row in rows
    ]


def test_reranking_is_that_of_the_evaluators(
    results: Results, bi: SentenceTransformer, cross: CrossEncoder, eval_sets: dict[str, EvalSet]
) -> None:
    lists = samples(eval_sets["reranking"].rows)
    expected = RerankingEvaluator(lists, at_k=10, write_csv=False)(bi)
    assert values(results["bi", "reranking"]) == pytest.approx(expected, abs=1e-6)
    expected = CrossEncoderRerankingEvaluator(lists, at_k=10, write_csv=False)(cross)
    assert values(results["cross", "reranking"]) == pytest.approx(expected, abs=1e-6)


def relevant_ids(rows: RetrievalRows) -> dict[str, set[str]]:
    relevant: dict[str, set[str]] = {}
    for qrel in rows.qrels:
        if qrel.relevance > 0:
            relevant.setdefault(qrel.query_id, set()).add(qrel.doc_id)
    return relevant


def test_retrieval_is_that_of_the_evaluator_under_the_prompts_for_it(
    tiny_bi: Path, bi: SentenceTransformer, retrieval_rows: RetrievalRows
) -> None:
    queries, corpus = (dict(rows) for rows in (retrieval_rows.queries, retrieval_rows.documents))
    cuts = {"mrr_at_k": [10], "ndcg_at_k": [10], "precision_recall_at_k": [10, 100], "map_at_k": [100]}
    evaluator = InformationRetrievalEvaluator(queries, corpus, relevant_ids(retrieval_rows), write_csv=False, **cuts)
    expected = evaluator(bi)
    # The evaluator knows no grades, so the set is asked without them.
    ungraded = retrieval_rows._replace(qrels=[q._replace(relevance=min(q.relevance, 1)) for q in retrieval_rows.qrels])
    found = values(once(tiny_bi, EvalSet("ungraded", "retrieval", ungraded)))
    assert found == pytest.approx({name: expected[f"cosine_{name}"] for name in found}, abs=1e-6)


def rankings_by_hand(bi: SentenceTransformer, rows: RetrievalRows) -> np.ndarray:
    queries = bi.encode_query([query.text for query in rows.queries], normalize_embeddings=True)
    return queries @ bi.encode_document([d.text for d in rows.documents], normalize_embeddings=True).T


def test_graded_retrieval_is_that_of_trec_eval(
    results: Results, bi: SentenceTransformer, retrieval_rows: RetrievalRows
) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    assert {qrel.relevance for qrel in retrieval_rows.qrels} >= {1, 2}
    judged: dict[str, dict[str, int]] = {}
    for qrel in retrieval_rows.qrels:
        judged.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
    scores = rankings_by_hand(bi, retrieval_rows)
    run = {
        query.id: {d.id: float(s) for d, s in zip(retrieval_rows.documents, row, strict=True)}
        for query, row in zip(retrieval_rows.queries, scores, strict=True)
    }
    names = {"ndcg@10": "ndcg_cut_10", "recall@10": "recall_10", "recall@100": "recall_100", "map@100": "map_cut_100"}
    expected = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.10,100", "map_cut.100"}).evaluate(run)
    one = results["bi", "retrieval"]
    for ours, theirs in names.items():
        by_query = [expected[query.id][theirs] for query in retrieval_rows.queries]
        assert one.columns[ours] == pytest.approx(by_query, abs=1e-6), ours
    assert [texts[0] for texts in one.texts] == [query.text for query in retrieval_rows.queries]


def test_a_cross_encoder_behind_a_bi_encoder_orders_the_first_anew_and_leaves_the_rest(
    tiny_bi: Path, tiny_cross: Path, bi: SentenceTransformer, cross: CrossEncoder, retrieval_rows: RetrievalRows
) -> None:
    one = once(Run(tiny_bi, tiny_cross), EvalSet("r", "retrieval", retrieval_rows), rerank=20)
    relevant = relevant_ids(retrieval_rows)
    for place, (query, scores) in enumerate(
        zip(retrieval_rows.queries, rankings_by_hand(bi, retrieval_rows), strict=True)
    ):
        found = [retrieval_rows.documents[i] for i in np.argsort(-scores, kind="stable")]
        anew = np.argsort(-cross.predict([(query.text, d.text) for d in found[:20]]), kind="stable")
        order = [found[i].id for i in anew] + [d.id for d in found[20:]]
        first = next(n for n, i in enumerate(order, 1) if i in relevant[query.id])
        assert one.columns["mrr@10"][place] == pytest.approx(1 / first if first <= 10 else 0)
        within = sum(i in relevant[query.id] for i in order[:100]) / len(relevant[query.id])
        assert one.columns["recall@100"][place] == pytest.approx(within)
    assert one.extra["reranked"] == 20


def test_translation_is_that_of_the_evaluator(
    results: Results, bi: SentenceTransformer, eval_sets: dict[str, EvalSet]
) -> None:
    expected = TranslationEvaluator(*sides(eval_sets["translation"].rows), write_csv=False)(bi)
    names = {"forward": "src2trg_accuracy", "backward": "trg2src_accuracy", "accuracy": "mean_accuracy"}
    found = values(results["bi", "translation"])
    assert found == pytest.approx({ours: expected[theirs] for ours, theirs in names.items()}, abs=1e-6)


def test_clusters_are_those_of_scikit_learn(
    results: Results, bi: SentenceTransformer, eval_sets: dict[str, EvalSet]
) -> None:
    rows = eval_sets["clustering"].rows
    vectors = bi.encode([row.text for row in rows], normalize_embeddings=True)
    clusters = KMeans(3, n_init=10, random_state=42).fit_predict(vectors)
    expected = metrics.v_measure_score([row.label for row in rows], clusters)
    assert values(results["bi", "clustering"])["v_measure"] == pytest.approx(expected, abs=1e-6)


def test_classes_are_those_of_scikit_learn(
    results: Results, bi: SentenceTransformer, eval_sets: dict[str, EvalSet]
) -> None:
    train, test = eval_sets["classification"].rows
    model = LogisticRegression(max_iter=1000, random_state=42)
    model.fit(bi.encode([row.text for row in train]), [row.label for row in train])
    guessed, right = model.predict(bi.encode([row.text for row in test])), [row.label for row in test]
    found = values(results["bi", "classification"])
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(right, guessed), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(right, guessed, average="macro"), abs=1e-6)


# -- what cannot be measured


@pytest.mark.parametrize(
    ("label", "able"),
    [
        ("bi", set(ALL)),
        ("cross", {"sts", "pair-classification", "triplets", "reranking"}),
        ("nli", {"nli"}),
        ("both", {"retrieval"}),
    ],
)
def test_a_task_that_a_model_cannot_do_gives_a_reason(label: str, able: set[str], results: Results) -> None:
    assert {task for task in ALL if isinstance(results[label, task], Measurement)} == able
    for task in set(ALL) - able:
        one = results[label, task]
        assert (one.set, len(one.reason) > 20) == (f"my-{task}", True)


PAIR = ScoredPair("환불되나요?", "환불 가능한가요?", 0.9)
TOPIC = LabelledText("배송이 늦어요", "배송")


@pytest.mark.parametrize(
    ("task", "rows", "reason"),
    [
        ("sts", [], "the set has no row"),
        ("retrieval", RetrievalRows([], [Document("q", "환불")], [Qrel("q", "d", 1)]), "the set has no row"),
        ("classification", ClassificationRows([], [TOPIC]), "the set has no row"),
        ("classification", ClassificationRows([TOPIC, TOPIC], [TOPIC]), "all training rows have one class"),
        (
            "retrieval",
            RetrievalRows([Document("d", "환불 안내")], [Document("q", "환불")], [Qrel("q", "x", 1)]),
            "no relevance judgement names a query and a document of the set",
        ),
        ("nli", [("가", "나", "neutral")], "no premise has both"),
        ("translation", [("가", "a")], "a single pair always finds itself"),
        ("reranking", [RankedList("가", ("나", "다"), (1.0, 1.0))], "judges its documents alike"),
        ("reranking", [RankedList("가", ("나", "다"), (0.0, -1.0))], "judges its documents alike"),
    ],
)
def test_a_set_that_tells_nothing_gives_a_reason(task: str, rows: object, reason: str, tiny_bi: Path) -> None:
    from munjang.data.rows import LabelledPair, ParallelPair

    kinds = {"nli": LabelledPair, "translation": ParallelPair}
    one = EvalSet("s", task, [kinds[task](*row) for row in rows] if task in kinds else rows)
    result = once(tiny_bi, one)
    assert isinstance(result, Unmeasured)
    assert reason in result.reason


@pytest.mark.parametrize(
    ("task", "rows", "reasons"),
    [
        ("sts", [PAIR], {"spearman": "1 row"}),
        ("sts", [PAIR, ScoredPair("가", "나", 0.9)], {"spearman": "all gold scores are equal"}),
        ("sts", [PAIR, PAIR._replace(score=0.1)], {"pearson": "all predicted scores are equal"}),
        ("pair-classification", [PAIR, PAIR], {"ap": "every pair is positive", "f1": "every pair is positive"}),
        ("pair-classification", [PAIR._replace(score=0.1)], {"ap": "no pair is positive"}),
        ("clustering", [TOPIC, LabelledText("늦네요", "배송")], {"v_measure": "all texts have one class"}),
        ("clustering", [TOPIC, LabelledText("늦네요", "환불")], {"v_measure": "every text has a class of its own"}),
        (
            "retrieval",
            RetrievalRows([Document("d", "환불 안내")], [Document("q", "환불")], [Qrel("q", "d", 0)]),
            {"ndcg@10": "no query has a relevant document", "map@100": "no query has a relevant document"},
        ),
    ],
)
def test_an_undefined_metric_has_a_reason_and_no_value(
    task: str, rows: object, reasons: dict[str, str], tiny_bi: Path
) -> None:
    found = values(once(tiny_bi, EvalSet("s", task, rows)))
    assert {name: found[name] for name in reasons} == reasons


def test_a_model_that_makes_no_finite_numbers_is_not_measured_and_the_others_are(
    tiny_bi: Path, tmp_path: Path, eval_sets: dict[str, EvalSet]
) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    model[0].model.embeddings.word_embeddings.weight.data.fill_(math.nan)
    model.save_pretrained(str(tmp_path / "broken"), create_model_card=False)
    models = [ModelSpec("broken", [Run(tmp_path / "broken")]), ModelSpec("whole", [Run(tiny_bi)])]
    broken, whole = measure(models, [eval_sets["sts"]])
    assert isinstance(broken, Unmeasured)
    assert "not finite" in broken.reason
    assert isinstance(whole, Measurement)


def test_models_of_the_wrong_kind_or_missing_are_found_before_any_work(
    tiny_bi: Path, tiny_cross: Path, eval_sets: dict[str, EvalSet]
) -> None:
    good = ModelSpec("good", [Run(tiny_bi)])
    for run, kind in (
        (Run(tiny_cross, tiny_cross), DataError),
        (Run(tiny_bi, tiny_bi), DataError),
        (Run(Path("no-such-model")), MissingInputError),
    ):
        with pytest.raises(kind):
            measure([good, ModelSpec("bad", [run])], [eval_sets["sts"]])


# -- ties and depths


def test_equal_scores_stand_in_the_order_of_the_documents(tiny_bi: Path) -> None:
    same = [Document(name, "환불은 삼 일 안에 됩니다") for name in ("z", "a", "m")]
    for place, name in enumerate(("z", "a", "m"), 1):
        rows = RetrievalRows(same, [Document("q", "환불은 언제 되나요")], [Qrel("q", name, 1)])
        assert once(tiny_bi, EvalSet("ties", "retrieval", rows)).columns["mrr@10"] == pytest.approx([1 / place])


def test_fewer_documents_than_the_depth_are_all_found(tiny_bi: Path, tiny_cross: Path) -> None:
    rows = RetrievalRows(
        [Document("a", "환불 안내"), Document("b", "배송 안내")], [Document("q", "환불")], [Qrel("q", "b", 2)]
    )
    for model in (Run(tiny_bi), Run(tiny_bi, tiny_cross)):
        found = once(model, EvalSet("two", "retrieval", rows))
        assert found.columns["recall@100"].tolist() == found.columns["recall@10"].tolist() == [1.0]


def test_queries_without_a_judgement_are_left_out_and_counted() -> None:
    rows = RetrievalRows(
        [Document("d", "글")],
        [Document("asked", "하나"), Document("zero", "둘"), Document("unjudged", "셋")],
        [Qrel("asked", "d", 1), Qrel("zero", "d", 0), Qrel("gone", "d", 1), Qrel("asked", "gone", 1)],
    )
    found = judged_queries(rows)
    assert [query.id for query in found.queries] == ["asked", "zero"]
    assert (found.relevance, found.unjudged, found.lost) == ([{"d": 1}, {"d": 0}], 1, 2)


# -- once, in order, by content


def test_each_text_is_encoded_once_for_each_prompt(
    tiny_bi: Path, eval_sets: dict[str, EvalSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def counting(backend: Backend, texts: list[str], prompt: str, progress: Progress) -> Ran:
        if len(texts) > 1:  # single ones are timed
            seen.extend((prompt, text) for text in texts)
        return run_inputs(backend, texts, prompt, progress)

    monkeypatch.setattr("munjang.engine.cache.run_inputs", counting)
    sets = [one for one in eval_sets.values() if one.task != "translation"]
    assert len(list(measure([ModelSpec("bi", [Run(tiny_bi)])], sets))) == len(sets)
    assert len(seen) == len(set(seen))
    # The default prompt of this model is the one for queries, so they share their vectors.
    assert {prompt for prompt, _ in seen} == {"질문: ", "글: "}
    assert {text for _, text in seen} >= set(sentences_of(eval_sets["sts"].rows))


def test_each_pair_is_scored_once(
    tiny_cross: Path, eval_sets: dict[str, EvalSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def counting(backend: Backend, pairs: list[tuple[str, str]], prompt: str, progress: Progress) -> Ran:
        if len(pairs) > 2:  # a pair in both orders is timed
            seen.extend(pairs)
        return run_inputs(backend, pairs, prompt, progress)

    monkeypatch.setattr("munjang.engine.cache.run_inputs", counting)
    list(measure([ModelSpec("cross", [Run(tiny_cross)])], [eval_sets[t] for t in ("sts", "pair-classification")]))
    pairs = {row[:2] for row in eval_sets["sts"].rows}
    assert sorted(seen) == sorted(pairs | {(b, a) for a, b in pairs})


def test_runs_of_one_model_share_its_label_and_differ_in_their_fingerprints(
    tiny_bi: Path, tmp_path: Path, eval_sets: dict[str, EvalSet]
) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    model[0].model.embeddings.word_embeddings.weight.data.mul_(1.5)
    model.save_pretrained(str(tmp_path / "other"), create_model_card=False)
    spec = ModelSpec("seeds", [Run(tiny_bi), Run(tmp_path / "other")])
    first, second = measure([spec], [eval_sets["sts"]])
    assert first.subject.label == second.subject.label == "seeds"
    assert first.set_fingerprint == second.set_fingerprint
    assert first.subject.fingerprint != second.subject.fingerprint
    assert (first.columns["predicted"] != second.columns["predicted"]).any()


def test_a_set_is_known_by_its_rows_and_not_by_its_name(eval_sets: dict[str, EvalSet]) -> None:
    one = eval_sets["retrieval"]
    assert replace(one, name="other").fingerprint == one.fingerprint
    assert replace(one, rows=one.rows._replace(qrels=one.rows.qrels[1:])).fingerprint != one.fingerprint
    assert replace(eval_sets["sts"], task="pair-classification").fingerprint != eval_sets["sts"].fingerprint


# -- what is said beside the figures


def test_a_speed_is_one_of_computing_also_where_everything_is_known(
    tiny_bi: Path, tiny_cross: Path, eval_sets: dict[str, EvalSet], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[int] = []

    def slow(backend: Backend, inputs: list, *arguments: object, **named: object) -> Ran:
        one = run_inputs(backend, inputs, *arguments, **named)
        ran.append(len(inputs))
        # Computing takes a second an input; reading what is known would take microseconds.
        return one._replace(seconds=float(len(inputs)))

    monkeypatch.setattr("munjang.engine.cache.run_inputs", slow)
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path))
    monkeypatch.setenv("MUNJANG_CACHE_BYTES", "100000000")
    for model, many in ((tiny_bi, 1), (tiny_cross, 2)):
        ran.clear()
        first = once(model, eval_sets["sts"])
        computed = [n for n in ran if n > many]
        ran.clear()
        second = once(model, eval_sets["sts"])
        sampled = [n for n in ran if n > many]
        assert len(computed) == len(sampled) == 1
        assert sampled[0] <= 256
        assert first.speed.per_second == second.speed.per_second == pytest.approx(1.0)
        # Single calls are computed as well: there is no sleeping in them, and no reading of what is known.
        assert ran.count(many) > 1
        assert np.array_equal(first.columns["predicted"], second.columns["predicted"])
        assert (first.truncated, first.units) == (second.truncated, second.units)


def test_size_and_speed_are_said(results: Results, bi: SentenceTransformer, cross: CrossEncoder, tiny_bi: Path) -> None:
    counts = {name: sum(p.numel() for p in model.parameters()) for name, model in (("bi", bi), ("cross", cross))}
    weights = (tiny_bi / "model.safetensors").stat().st_size / 1e6
    subject = results["bi", "sts"].subject
    assert (subject.parameters, subject.megabytes, subject.dimension) == (counts["bi"], weights, 32)
    assert results["cross", "sts"].subject.parameters == counts["cross"]
    both = results["both", "retrieval"].subject
    assert (both.kind, both.parameters) == ("retrieve+rerank", sum(counts.values()))
    assert both.megabytes == subject.megabytes + results["cross", "sts"].subject.megabytes
    for key, unit in ((("bi", "sts"), "texts"), (("cross", "sts"), "pairs"), (("both", "retrieval"), "queries")):
        speed = results[key].speed
        assert speed.unit == unit
        assert 0 < speed.per_second < 1e6
        assert 0 < speed.p50_ms < 1e4


def test_cut_texts_are_counted_by_set(tiny_bi: Path, tiny_cross: Path) -> None:
    long = "가나다라마바사 " * 40
    rows = [ScoredPair(long, "나", 0.5), ScoredPair("가", "나", 0.1), ScoredPair(long, long + "가", 0.9)]
    assert once(tiny_bi, EvalSet("long", "sts", rows)).truncated == 3
    assert once(tiny_cross, EvalSet("long", "sts", rows)).truncated == 2
    assert once(tiny_bi, EvalSet("short", "sts", rows[1:2])).truncated == 0


def test_units_come_with_their_texts(results: Results, eval_sets: dict[str, EvalSet]) -> None:
    for one in results.values():
        if isinstance(one, Measurement):
            assert len(one.texts) == one.units
            assert {len(column) for column in one.columns.values()} == {one.units}
    assert list(results["bi", "sts"].texts) == [row[:2] for row in eval_sets["sts"].rows]
