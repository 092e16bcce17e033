"""Names of tasks and metrics and reasons in Korean, for the page; terms that Korean texts write in English too stay."""

from __future__ import annotations

#: English as it stands in tables -> Korean.
KOREAN: dict[str, str] = {
    # tasks
    "similarity": "유사도",
    "same or not": "같은 뜻인지",
    "inference": "추론",
    "triplets": "삼중항",
    "reranking": "재정렬",
    "retrieval": "검색",
    "translation matching": "번역 찾기",
    "clustering": "군집",
    "classification": "분류",
    # metrics
    **{
        f"{of}, {english}": f"{of}, {korean}"
        for of in ("Spearman", "Pearson")
        for english, korean in (("dot", "내적"), ("euclidean", "유클리드 거리"), ("manhattan", "맨해튼 거리"))
    },
    "average precision": "평균 정밀도",
    "best F1": "최고 F1",
    "best accuracy": "최고 정확도",
    "accuracy": "정확도",
    "macro F1": "매크로 F1",
    "recall@10": "재현율@10",
    "recall@100": "재현율@100",
    "triplet accuracy": "삼중항 정확도",
    "source to target": "원문에서 번역문",
    "target to source": "번역문에서 원문",
    # why a metric has no value or no interval
    "undefined": "정의되지 않음",
    "no row": "행이 없음",
    "1 row": "행이 하나뿐임",
    "a score is not a finite number": "유한한 수가 아닌 점수가 있음",
    "all predicted scores are equal": "예측 점수가 모두 같음",
    "all gold scores are equal": "정답 점수가 모두 같음",
    "no pair is positive": "양성인 쌍이 없음",
    "every pair is positive": "모든 쌍이 양성임",
    "all texts have one class": "모든 문장의 부류가 같음",
    "every text has a class of its own": "문장마다 부류가 다름",
    "no query has a relevant document": "적합한 문서가 있는 질의가 없음",
    "too few rows for an interval": "구간을 내기에는 행이 너무 적음",
    # why a model was not measured on a set
    "the set has no row": "데이터에 행이 없음",
    "only retrieval takes a bi-encoder and a cross-encoder together": "bi-encoder와 cross-encoder를 이어서 재는 것은 검색뿐임",
    "no relevance judgement names a query and a document of the set": "데이터의 질의와 문서를 가리키는 적합성 판정이 없음",
    "no premise has both an entailment and a contradiction": "함의와 모순이 모두 있는 전제가 없음",
    "a single pair always finds itself": "쌍이 하나뿐이면 언제나 자신을 찾음",
    "each list judges its documents alike, so no order is better than another": "목록마다 판정이 모두 같아 더 나은 순서가 없음",
    "all training rows have one class": "학습할 행의 부류가 모두 같음",
    "a cross-encoder cannot search: measure it behind a bi-encoder, as BI+CROSS": "cross-encoder는 검색할 수 없음: BI+CROSS처럼 "
    "bi-encoder 뒤에 두고 재야 함",
    "a cross-encoder has no vectors of single texts": "cross-encoder에는 문장 하나의 벡터가 없음",
    "its outputs are neither one score nor the three named classes of NLI": "출력이 점수 하나도, 이름 있는 NLI 세 부류도 아님",
    "it gives one score, not the classes of NLI": "NLI 부류가 아니라 점수 하나를 냄",
    "it gives the classes of NLI, not one score": "점수 하나가 아니라 NLI 부류를 냄",
    "its three outputs do not say which is entailment, neutral and contradiction": "세 출력 가운데 어느 것이 함의, 중립, "
    "모순인지 적혀 있지 않음",
    "the model made numbers that are not finite": "모델이 유한하지 않은 수를 냄",
    "measured of an earlier model of this name": "이 이름의 예전 모델을 잰 것임",
    "measured on other rows of this name": "이 이름의 다른 행에서 잰 것임",
    "its measurement is damaged or gone": "잰 결과가 손상되었거나 없어짐",
    # why the page has no figure of speed or size
    "fewer than two models were measured": "잰 모델이 둘이 안 됨",
    "no set has a value of each of these models": "이 모델들이 모두 값을 가진 데이터가 없음",
    "texts, pairs and queries a second do not compare": "초당 문장, 쌍, 질의 수는 서로 견줄 수 없음",
}


def korean(text: str) -> str:
    """What a Korean reader sees in place of an English text; one that is not known stays."""
    return KOREAN.get(text, text)
