"""Results of a suite as one Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ERRORS = {"set error": "set_error", "assigned error": "mean_absolute_error"}
"""keys of `must` that are to be reached from above, and where results have them"""


def suite_page(summary: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> str:
    """Tables of recall, isomers, calibration and ACML's own metric, with the command that made them."""
    parts = [
        f"# {summary['model']}: {summary['suite']}",
        f"Model digest `{summary['model_digest'][:16]}`. Made by:",
        f"```\n{summary['command'] or 'measure_suite'}\n```",
        _recall([one for one in results if one["kind"] == "recall"]),
        _gains([one for one in results if "gain" in one]),
        _isomers([one for one in results if one["kind"] == "isomers"]),
        _reranking([one for one in results if one["kind"] == "rerank"]),
        _calibration([one for one in results if one["kind"] == "calibration"]),
        _peaks([one for one in results if one["kind"] == "peaks"]),
        _batches([one for one in results if one["kind"] == "batches"]),
        _reached(results),
    ]
    if summary["skipped"]:
        parts.append(
            "Not asked:\n" + "\n".join(f"- {one['question']}: {one['why']}" for one in summary["skipped"])
        )
    memory = summary["peak_memory_mb"]
    spent = ", ".join(f"{what} {seconds:,.0f} s" for what, seconds in summary["seconds"].items())
    parts.append(
        f"{summary['n_molecules']:,} molecules in {len(summary['spaces'])} spaces, {summary['workers']} "
        f"workers: {spent}. Memory at most {memory['main']:,.0f} MB, {memory['largest_worker']:,.0f} MB in a "
        "worker."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def value_of(result: Mapping[str, Any], key: str) -> float | None:
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


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _recall(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return ""
    ks = list(results[0]["recall"])
    head = ["question", "candidates", "queries", "failed", "pool"]
    head += ["R@1 (95 %)", *[f"R@{k}" for k in ks if k != "1"], "MRR", "chance R@1"]
    rows = []
    for one in results:
        low, high = one["ci95"]["1"]
        asks = one["asks"].replace("none", "all").replace("rerank ", "re-ranked ")
        rows.append(
            [
                one["question"],
                f"{asks} (median {one['candidates_per_query']['median']:,.0f})",
                f"{one['n_queries']:,} of {one['n_molecules']:,} molecules",
                f"{one['n_failed']:,}",
                f"{one['n_pool']:,}",
                f"{one['recall']['1']:.3f} ({low:.3f}-{high:.3f})",
                *[f"{one['recall'][k]:.3f}" for k in ks if k != "1"],
                f"{one['mrr']:.3f}",
                f"{one['chance']['1']:.2g}",
            ]
        )
    rule = "A tie is a miss, a failed query is a miss; records of one molecule weigh together as one."
    return f"## Recall in a pool\n\n{rule}\n\n{markdown(head, rows)}"


def _gains(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return ""
    head = ["observations together", "candidates", "R@1", "of the better alone", "gain (95 %)"]
    rows = []
    for one in results:
        gain = one["gain"]
        low, high = gain["ci95"]
        rows.append(
            [
                one["question"],
                "all" if one["asks"] == "none" else one["asks"],
                f"{one['recall']['1']:.3f}",
                f"{one['recall']['1'] - gain['recall_at_1']:.3f} ({gain['over']})",
                f"{gain['recall_at_1']:+.3f} ({low:+.3f} to {high:+.3f})",
            ]
        )
    return f"## Observations of one compound, together and alone\n\n{markdown(head, rows)}"


def _isomers(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return ""
    head = [
        "question",
        "queries",
        "formulas",
        "group: median, mean, p90, max",
        "accuracy (95 %)",
        "MRR",
        "chance",
    ]
    rows = []
    for one in results:
        size = one["group_size"]
        rows.append(
            [
                f"{one['question']}, re-ranked" if one.get("rerank") else one["question"],
                f"{one['n_queries']:,}",
                f"{one['n_groups']:,}",
                f"{size['median']:.0f}, {size['mean']:.0f}, {size['p90']:.0f}, {size['max']}",
                f"{one['accuracy']:.3f} ({one['ci95'][0]:.3f}-{one['ci95'][1]:.3f})",
                f"{one['mrr']:.3f}",
                f"{one['chance']:.3f}",
            ]
        )
    return (
        f"## Isomers: strictly first among all molecules of its formula in the pool\n\n{markdown(head, rows)}"
    )


def _reranking(results: Sequence[Mapping[str, Any]]) -> str:
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
            low, high = inner[by]["ci95"]["1"]
            rows.append(
                [
                    one["question"],
                    f"{inner['n_queries']:,}",
                    f"{inner['truth_in_shortlist']:.3f}",
                    by,
                    logit,
                    f"{inner[by]['recall']['1']:.3f} ({low:.3f}-{high:.3f})",
                    *[f"{inner[by]['recall'][k]:.3f}" for k in ks if k != "1"],
                ]
            )
    what = f"The best {results[0]['shortlist']} by cosine, re-scored peak by peak; together: cross-fitted."
    return f"## Re-ranking on the inner part of `train`\n\n{what}\n\n{markdown(head, rows)}"


def _calibration(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return ""
    head = [
        "question",
        "scale",
        "calibrated",
        "on",
        "queries",
        "truth listed",
        "first hit right",
        "its probability before, after",
    ]
    head += ["ECE before", "after", "Brier before", "after"]
    rows = []
    for one in results:
        for part in ("inner", "valid"):
            if part not in one:
                continue
            before, after = one[part]["before"], one[part]["after"]
            rows.append(
                [
                    one["question"],
                    f"{one['scale_before']:.2f}",
                    f"{one['scale']:.2f}",
                    "inner, cross-fitted" if part == "inner" else "valid",
                    f"{one[part]['n_queries']:,}",
                    f"{one[part]['truth_in_shortlist']:.3f}",
                    f"{after['accuracy']:.3f}",
                    f"{before['mean_probability']:.3f}, {after['mean_probability']:.3f}",
                    f"{before['ece']:.3f}",
                    f"{after['ece']:.3f}",
                    f"{before['brier']:.3f}",
                    f"{after['brier']:.3f}",
                ]
            )
    shortlist = results[0]["shortlist"]
    title = f"## Probability of the first hit, given that the shortlist of {shortlist} holds the truth"
    return f"{title}\n\n{markdown(head, rows)}"


def _peaks(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return ""
    head = [
        "question",
        "spectra",
        "set error, ppm (95 %)",
        "median",
        "p90",
        "assigned atoms",
        "their error, ppm",
    ]
    rows = []
    for one in results:
        row = [
            one["question"],
            f"{one['n_spectra']:,} of {one['n_asked']:,}",
            f"{one['set_error']:.3f} ({one['ci95'][0]:.3f}-{one['ci95'][1]:.3f})",
            f"{one['median']:.3f}",
            f"{one['p90']:.3f}",
        ]
        other = one.get("assigned")
        if other is None:
            rows.append([*row, "", ""])
            continue
        low, high = other["ci95"]
        rows.append(
            [*row, f"{other['n_atoms']:,}", f"{other['mean_absolute_error']:.3f} ({low:.3f}-{high:.3f})"]
        )
    rule = "Spectra with as many distinct peaks as the molecule has symmetry classes; sorted matching."
    return f"## Node head: predicted shifts\n\n{rule}\n\n{markdown(head, rows)}"


def _batches(results: Sequence[Mapping[str, Any]]) -> str:
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
    return (
        "## ACML's own metric: within shuffled batches, **not comparable with recall in a pool**\n\n"
        f"Mean and spread over {results[0]['shuffles']} shuffles.\n\n{markdown(head, rows)}"
    )


def _reached(results: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for one in results:
        for key, wanted in one["must"].items():
            found = value_of(one, key)
            if found is None:
                continue
            most = key in ERRORS
            reached = found <= wanted if most else found >= wanted
            words = "at most" if most else "at least"
            rows.append(
                [
                    f"{one['question']} {key}",
                    f"{words} {wanted:g}",
                    f"{found:.3f}",
                    "yes" if reached else "**no**",
                ]
            )
    head = ["", "wanted", "measured", "reached"]
    return "## What must be reached\n\n" + markdown(head, rows) if rows else ""
