"""Tables of what a suite asks beside recall: calibration, re-ranking, shifts, ACML's own metric, goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.markdown import share, signed, table, with_interval

Result = Mapping[str, Any]

ERRORS = {"set error": "set_error", "assigned error": "mean_absolute_error"}
"""keys of `must` that are to be reached from above, and where results have them"""


def value_of(result: Result, key: str) -> float | None:
    """What a key of `must` (`"none@10"`, `"isomers"`) names in a result; None if it is not there."""
    if key in ERRORS:
        of = result.get("assigned", {}) if key == "assigned error" else result
        error = of.get(ERRORS[key])
        return None if error is None else float(error)
    if key == "gain":
        return float(result["gain"]["recall_at_1"]) if "gain" in result else None
    k = key.partition("@")[2]
    found = result.get("recall", {}).get(k) if k else result.get("accuracy")
    return None if found is None else float(found)


def gains(results: Sequence[Result]) -> str:
    """Several observations of one compound against the best of them alone."""
    rows = []
    for one in results:
        gain = one.get("gain")
        if gain is None:
            continue
        rows.append(
            [
                f"{one['question']}{', re-ranked' if one.get('rerank') else ''}",
                "all" if not one.get("filter") else str(one["filter"]),
                share(one["recall"]["1"]),
                f"{share(one['recall']['1'] - gain['recall_at_1'])} ({gain['over']})",
                signed(gain["recall_at_1"], gain["ci95"]),
            ]
        )
    head = ["observations together", "candidates", "R@1", "of the better alone", "gain (95 %)"]
    return table(head, rows) if rows else ""


def reranking(results: Sequence[Result]) -> str:
    """What the weights of re-ranking were fitted on, and what they give there, cross-fitted."""
    if not results:
        return ""
    ks = list(results[0]["inner"]["cosine"]["recall"])
    head = ["question", "inner queries", "truth listed", "by", "logit", "R@1 (95 %)"]
    head += [f"R@{k}" for k in ks if k != "1"]
    rows = []
    for one in results:
        inner = one["inner"]
        sums = {
            "cosine": "",
            "evidence": "",
            "together": f"{one['cosine']:.2f} x cosine + {one['evidence']:.3f} x evidence",
        }
        for by, logit in sums.items():
            found = inner[by]["recall"]
            row = [one["question"], f"{inner['n_queries']:,}", share(inner["truth_in_shortlist"]), by, logit]
            row.append(with_interval(found["1"], inner[by]["ci95"]["1"]))
            rows.append([*row, *[share(found.get(k)) for k in ks if k != "1"]])
    what = f"The best {results[0]['shortlist']} by cosine, re-scored peak by peak; together: cross-fitted."
    return f"{what}\n\n{table(head, rows)}"


def calibration(results: Sequence[Result]) -> str:
    """Scales, and the errors of the first hit's probability before and after."""
    if not results:
        return ""
    head = [
        "question",
        "shortlist",
        "scale",
        "calibrated",
        "on",
        "queries",
        "truth listed",
        "first hit right",
    ]
    head += ["its probability before, after", "ECE before", "after", "Brier before", "after"]
    rows = []
    for one in results:
        for part in ("inner", "valid"):
            if part not in one:
                continue
            before, after = one[part]["before"], one[part]["after"]
            rows.append(
                [
                    one["question"],
                    str(one["shortlist"]),
                    f"{one['scale_before']:.2f}",
                    f"{one['scale']:.2f}",
                    "inner, cross-fitted" if part == "inner" else "valid",
                    f"{one[part]['n_queries']:,}",
                    share(one[part]["truth_in_shortlist"]),
                    share(after["accuracy"]),
                    f"{share(before['mean_probability'])}, {share(after['mean_probability'])}",
                    share(before["ece"]),
                    share(after["ece"]),
                    share(before["brier"]),
                    share(after["brier"]),
                ]
            )
    what = (
        "The first hit's probability, given that the shortlist holds the truth. ECE, the expected "
        "calibration error: the mean distance between probability and share of right hits over 15 bins of "
        "equal weight."
    )
    return f"{what}\n\n{table(head, rows)}"


def peaks(results: Sequence[Result]) -> str:
    """Errors of the predicted shifts, ppm."""
    if not results:
        return ""
    head = ["question", "spectra", "set error, ppm (95 %)", "median", "p90", "assigned atoms"]
    head.append("their error, ppm (95 %)")
    rows = []
    for one in results:
        other = one.get("assigned")
        rows.append(
            [
                one["question"],
                f"{one['n_spectra']:,} of {one['n_asked']:,}",
                with_interval(one["set_error"], one["ci95"]),
                share(one["median"]),
                share(one["p90"]),
                "" if other is None else f"{other['n_atoms']:,}",
                "" if other is None else with_interval(other["mean_absolute_error"], other["ci95"]),
            ]
        )
    rule = "Spectra with as many distinct peaks as the molecule has symmetry classes; sorted matching."
    return f"{rule}\n\n{table(head, rows)}"


def batches(results: Sequence[Result]) -> str:
    """ACML's own metric: top-k within shuffled batches, both ways."""
    if not results:
        return ""
    ks = list(results[0]["chance"])
    head = ["question", "molecules", "batch"]
    head += [f"{way} top-{k}" for way in ("to molecule", "to record") for k in ks]
    rows = []
    for one in results:
        values = [
            f"{one[way]['top'][k]:.4f} ± {one[way]['spread'][k]:.4f}"
            for way in ("to-molecule", "to-record")
            for k in ks
        ]
        rows.append([one["question"], f"{one['n_molecules']:,}", str(one["batch"]), *values])
    return f"Mean and spread over {results[0]['shuffles']} shuffles.\n\n{table(head, rows)}"


def reached(results: Sequence[Result]) -> str:
    """What a question says must be reached, against what was; a baseline has nothing to reach."""
    rows = []
    for one in results:
        if one.get("baseline") is not None:
            continue
        for key, wanted in one.get("must", {}).items():
            found = value_of(one, key)
            if found is None:
                continue
            most = key in ERRORS
            yes = found <= wanted if most else found >= wanted
            words = "at most" if most else "at least"
            rows.append(
                [f"{one['question']} {key}", f"{words} {wanted:g}", share(found), "yes" if yes else "**no**"]
            )
    return table(["", "wanted", "measured", "reached"], rows) if rows else ""
