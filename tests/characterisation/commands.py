"""The command lines whose results must stay as they are, and how each result is compared."""

from __future__ import annotations

from typing import NamedTuple

from characterisation.inputs import DEPT, PARACETAMOL_C, VANILLIN_C, VANILLIN_H


class Command(NamedTuple):
    """A command line.

    kind: how its result is compared: json, lines (of JSON), table, text, csv, sdf, html, help, models,
    error, or status (exit status alone). out: the file that holds the result, where it is not stdout.
    """

    name: str
    kind: str
    arguments: tuple[str, ...]
    out: str | None = None


def _command(name: str, kind: str, *arguments: str, out: str | None = None) -> Command:
    return Command(name, kind, arguments, out)


ONE = ("--workers", "1")

# In this order, before all others: they make the indexes that the others ask.
PREPARING = [
    _command(
        "build screen", "json", "build-index", "library.csv", "tandem.msp", "--modalities", "smiles,image",
        "--out", "screen", *ONE, "--json",
    ),
    _command(
        "add carbons", "json", "add", "screen", "carbon.parquet", "--records", "c_nmr", *ONE, "--json",
    ),
    _command(
        "add protons", "json", "add", "screen", "proton.parquet", "--records", "h_nmr", *ONE, "--json",
    ),
    _command(
        "build research", "json", "build-index", "impact.msp", "--model", "acml-research", "--modalities",
        "none", "--out", "research", *ONE, "--json",
    ),
    _command(
        "build small ivf", "json", "build-index", "library.sdf", "few.smi", "--out", "small", "--factory",
        "IVF2,SQ8", *ONE, "--shard-size", "4", "--json",
    ),
    _command(
        "fit logp", "json", "properties", "fit", "labels.csv", "--target", "logp", "--head", "kernel",
        "--out", "logp", "--json",
    ),
    _command(
        "fit both by kernel", "json", "properties", "fit", "labels.csv", "--target", "logp", "--target",
        "greasy", "--task", "regression", "--head", "kernel", "--out", "both", "--json",
    ),
]  # fmt: skip


def _queries() -> list[Command]:
    ask = ("query", "screen")
    found = [
        _command("smiles", "json", *ask, "--smiles", "CC(=O)Nc1ccc(O)cc1", "-k", "5", "--json"),
        _command("smiles of a salt", "json", *ask, "--smiles", "C[N+](C)(C)CCO.[Cl-]", "-k", "3", "--json"),
        _command("smiles with stereo", "json", *ask, "--smiles", "C[C@H](N)C(=O)O", "-k", "4", "--json"),
        _command("smiles to 13C", "json", *ask, "--smiles", "Cc1ccccc1", "--modality", "c_nmr", "--json"),
        _command(
            "smiles to 1H", "json", *ask, "--smiles", "CCO", "--modality", "h_nmr", "-k", "4", "--json",
        ),
        _command(
            "smiles to MS", "json", *ask, "--smiles", "CCCCO", "--modality", "lc_ms", "-k", "4", "--json",
        ),
        _command(
            "smiles to image", "json", *ask, "--smiles", "CCO", "--modality", "image", "-k", "4", "--json",
        ),
        _command("13C", "json", *ask, "--c-nmr", PARACETAMOL_C, "-k", "5", "--json"),
        _command("13C plain", "json", *ask, "--c-nmr", PARACETAMOL_C, "-k", "5", "--no-rerank", "--json"),
        _command("13C line", "json", *ask, "--c-nmr", VANILLIN_C, "-k", "5", "--json"),
        _command("13C DEPT", "json", *ask, "--c-nmr", DEPT, "-k", "5", "--json"),
        _command("13C file", "json", *ask, "--c-nmr", "carbon.txt", "-k", "3", "--json"),
        _command("13C csv", "json", *ask, "--c-nmr", "carbon.csv", "-k", "3", "--json"),
        _command("13C JCAMP", "json", *ask, "--c-nmr", "carbon.jdx", "-k", "3", "--json"),
        _command("13C twice", "json", *ask, "--c-nmr", PARACETAMOL_C, "--c-nmr", "168, 153, 131", "--json"),
        _command("1H", "json", *ask, "--h-nmr", "7.2, 3.9, 2.1", "-k", "5", "--json"),
        _command("1H line", "json", *ask, "--h-nmr", VANILLIN_H, "-k", "5", "--json"),
        _command("1H plain", "json", *ask, "--h-nmr", VANILLIN_H, "-k", "5", "--no-rerank", "--json"),
        _command("1H JCAMP", "json", *ask, "--h-nmr", "proton.jdx", "-k", "3", "--json"),
        _command("MS msp", "json", *ask, "--lc-ms", "tandem.msp", "-k", "3", "--json"),
        _command("MS msp 3", "json", *ask, "--lc-ms", "tandem.msp#3", "--any-mass", "-k", "5", "--json"),
        _command("MS mgf", "json", *ask, "--lc-ms", "tandem.mgf#2", "--tol-da", "50", "-k", "5", "--json"),
        _command(
            "MS mgf plain", "json", *ask, "--lc-ms", "tandem.mgf#4", "--no-rerank", "--any-mass", "--json",
        ),
        _command("MS mzML", "json", *ask, "--lc-ms", "tandem.mzML#7", "--any-mass", "-k", "4", "--json"),
        _command("MS coarse", "json", *ask, "--lc-ms", "coarse.mgf", "--adduct", "[M+H]+", "--json"),
        _command("MS two", "json", *ask, "--lc-ms", "tandem.msp#1", "--lc-ms", "tandem.msp#5", "--json"),
        _command("MS odd adduct", "json", *ask, "--lc-ms", "bad-adduct.mgf", "-k", "4", "--json"),
        _command("image", "json", *ask, "--image", "vanillin.png", "-k", "4", "--json"),
        _command(
            "image formula", "json", *ask, "--image", "caffeine.png", "--formula", "C8H10N4O2", "--json",
        ),
        _command(
            "13C and 1H", "json", *ask, "--c-nmr", VANILLIN_C, "--h-nmr", VANILLIN_H, "-k", "5", "--json"
        ),
        _command(
            "13C, 1H and MS", "json", *ask, "--c-nmr", "carbon.txt", "--h-nmr", "proton.txt", "--lc-ms",
            "tandem.msp#7", "-k", "4", "--json",
        ),
        _command(
            "13C, MS plain", "json", *ask, "--c-nmr", PARACETAMOL_C, "--lc-ms", "tandem.msp#2", "--any-mass",
            "--no-rerank", "--json",
        ),
        _command(
            "13C and image", "json", *ask, "--c-nmr", VANILLIN_C, "--image", "vanillin.png", "-k", "4",
            "--json"
        ),
        _command("EI", "json", "query", "research", "--gc-ms", "impact.jdx", "-k", "4", "--json"),
        _command("EI msp", "json", "query", "research", "--gc-ms", "impact.msp#6", "-k", "4", "--json"),
        _command(
            "EI plain", "json", "query", "research", "--gc-ms", "impact.msp#4", "--no-rerank", "--json",
        ),
        _command("smiles to EI", "json", "query", "research", "--smiles", "CCOC", "-k", "3", "--json"),
        _command("small ivf", "json", "query", "small", "--smiles", "Oc1ccccc1C", "-k", "3", "--json"),
        _command("formula", "json", *ask, "--c-nmr", VANILLIN_C, "--formula", "C8H8O3", "--json"),
        _command(
            "formula in another order", "json", *ask, "--smiles", "CCO", "--formula", "O3H8C8", "--json",
        ),
        _command("mass", "json", *ask, "--smiles", "CCO", "--mass", "180.0423", "--json"),
        _command(
            "mass in Da", "json", *ask, "--c-nmr", "130, 50", "--mass", "180", "--tol-da", "0.2", "--json",
        ),
        _command(
            "mass ppm", "json", *ask, "--h-nmr", "7.1", "--mass", "152.0473", "--tol-ppm", "5", "--json",
        ),
        _command(
            "where", "json", *ask, "--smiles", "CCO", "--where", "price < 20 AND vendor = 'V1'", "--json",
        ),
        _command(
            "where number", "json", *ask, "--smiles", "CCO", "--where", "exact_mass BETWEEN 120 AND 160",
            "--json",
        ),
        _command("where name", "json", *ask, "--c-nmr", "170", "--where", "name LIKE '%acid%'", "--json"),
        _command(
            "elements", "json", *ask, "--h-nmr", "7.1, 2.3", "--elements", "C,H,O", "-k", "4", "--json",
        ),
        _command("with elements", "json", *ask, "--c-nmr", "130", "--with-elements", "Br,N", "--json"),
        _command("table of smiles", "table", *ask, "--smiles", "CCO", "-k", "3"),
        _command("table of 13C", "table", *ask, "--c-nmr", PARACETAMOL_C, "-k", "4"),
        _command("table of fused", "table", *ask, "--c-nmr", VANILLIN_C, "--h-nmr", VANILLIN_H, "-k", "3"),
        _command("table of MS", "table", *ask, "--lc-ms", "tandem.msp#1", "-k", "3"),
        _command("csv of smiles", "csv", *ask, "--smiles", "CCO", "-k", "3", "--format", "csv"),
        _command("csv of 13C", "csv", *ask, "--c-nmr", PARACETAMOL_C, "-k", "4", "--format", "csv"),
        _command("sdf of 13C", "sdf", *ask, "--c-nmr", PARACETAMOL_C, "-k", "3", "--format", "sdf"),
        _command("html of 13C", "html", *ask, "--c-nmr", VANILLIN_C, "-k", "3", "--format", "html"),
        _command("out csv", "csv", *ask, "--smiles", "CCN", "-k", "2", "--out", "hits.csv", out="hits.csv"),
        _command("out json", "json", *ask, "--h-nmr", "3.7", "--out", "hits.json", out="hits.json"),
        _command("batch smi", "lines", *ask, "--batch", "few.smi", "-k", "2"),
        _command("batch column", "lines", *ask, "--batch", "renamed.csv", "--smiles-column", "structure"),
        _command("batch modality", "lines", *ask, "--batch", "few.smi", "--modality", "c_nmr", "-k", "2"),
        _command(
            "batch 13C", "lines", *ask, "--batch", "carbon.parquet", "--modality", "c_nmr", "-k", "3"
        ),
        _command(
            "batch 13C broken", "lines", *ask, "--batch", "carbon-broken.parquet", "--modality", "c_nmr",
            "-k", "2", "--no-rerank",
        ),
        _command("batch 1H", "lines", *ask, "--batch", "proton.parquet", "--modality", "h_nmr", "-k", "3"),
        _command(
            "batch MS", "lines", *ask, "--batch", "tandem.parquet", "--modality", "lc_ms", "-k", "3", "--out",
            "hits.jsonl", out="hits.jsonl",
        ),
    ]  # fmt: skip
    for name in ("v1-flat", "v1-ivf"):
        golden = ("query", name)
        found += [
            _command(f"{name} smiles", "json", *golden, "--smiles", "CCCCO", "-k", "5", "--json"),
            _command(
                f"{name} formula", "json", *golden, "--smiles", "CCCCN", "--formula", "C3H9N", "--json",
            ),
            _command(
                f"{name} where", "json", *golden, "--smiles", "CCCC(=O)O", "--where",
                "number < 12 AND vendor = 'vendor 0'", "--json",
            ),
            _command(
                f"{name} mass", "csv", *golden, "--smiles", "CO", "--mass", "102.0681", "--format", "csv",
            ),
            _command(f"{name} table", "table", *golden, "--smiles", "CCO", "-k", "3"),
            _command(f"{name} info", "json", "info", name, "--json"),
            _command(f"{name} verify", "json", "verify", name, "--sample", "0", "--json"),
        ]  # fmt: skip
    return found


def _others() -> list[Command]:
    return [
        _command("explain 13C", "json", "explain", "screen", "17", "25", "--c-nmr", VANILLIN_C, "--json"),
        _command("explain 1H", "json", "explain", "screen", "25", "--h-nmr", VANILLIN_H, "--json"),
        _command("explain MS", "json", "explain", "screen", "21", "--lc-ms", "tandem.msp#1", "--json"),
        _command("explain text", "text", "explain", "screen", "17", "25", "--c-nmr", PARACETAMOL_C),
        _command(
            "explain fused", "text", "explain", "screen", "25", "26", "--c-nmr", VANILLIN_C, "--h-nmr",
            VANILLIN_H, "--lc-ms", "tandem.msp#7",
        ),
        _command(
            "explain plain", "json", "explain", "screen", "3", "--c-nmr", DEPT, "--no-rerank", "--json",
        ),
        _command(
            "explain html", "html", "explain", "screen", "25", "--c-nmr", VANILLIN_C, "--out", "why.html",
            out="why.html",
        ),
        _command("parse 13C", "json", "parse", "--c-nmr", VANILLIN_C, "--json"),
        _command("parse 1H", "json", "parse", "--h-nmr", VANILLIN_H, "--json"),
        _command(
            "parse MS", "json", "parse", "--lc-ms", "tandem.msp#3", "--lc-ms", "tandem.mgf#2", "--json",
        ),
        _command("parse mzML", "json", "parse", "--lc-ms", "tandem.mzML#2", "--json"),
        _command("parse EI", "json", "parse", "--gc-ms", "impact.jdx", "--gc-ms", "impact.msp#2", "--json"),
        _command(
            "parse JCAMP", "json", "parse", "--c-nmr", "carbon.jdx", "--h-nmr", "proton.jdx", "--json",
        ),
        _command("parse table", "text", "parse", "--c-nmr", VANILLIN_C, "--h-nmr", VANILLIN_H),
        _command("parse masses", "text", "parse", "--lc-ms", "tandem.msp#3"),
        _command("parse lines", "lines", "parse", "--modality", "c_nmr", "--lines", "lines.txt"),
        _command(
            "parse lines with solvent", "lines", "parse", "--modality", "c_nmr", "--lines", "lines.txt",
            "--keep-solvent",
        ),
        _command("info", "json", "info", "screen", "--json"),
        _command("info table", "info", "info", "screen"),
        _command("models", "models", "models", "--json"),
        _command("models table", "text", "models"),
        _command("verify", "json", "verify", "screen", "--sample", "4", "--json"),
        _command("verify ivf", "text", "verify", "small", "--sample", "4"),
        _command(
            "build again", "json", "build-index", "library.sdf", "few.smi", "--out", "small", "--factory",
            "IVF2,SQ8", *ONE, "--shard-size", "4", "--json",
        ),
        _command(
            "embed", "json", "embed", "few.smi", "carbon.parquet", "--records", "c_nmr", "--out", "embedded",
            *ONE, "--json",
        ),
        _command("ask what was added", "json", "query", "screen", "--smiles", "COC", "-k", "3", "--json"),
        _command(
            "predict logp", "csv", "properties", "predict", "logp", "few.smi", "--out", "logp.csv",
            out="logp.csv",
        ),
        _command(
            "predict both", "csv", "properties", "predict", "both", "library.csv", "--out", "both.csv",
            out="both.csv",
        ),
    ]  # fmt: skip


def _errors() -> list[Command]:
    ask = ("query", "screen")
    lines = {
        "no index": ("query", "nowhere", "--smiles", "CCO"),
        "no index for info": ("info", "nowhere"),
        "ring not closed": (*ask, "--smiles", "C1CC"),
        "empty smiles": (*ask, "--smiles", ""),
        "unknown element": (*ask, "--smiles", "CCO", "--formula", "Xx"),
        "no such formula": (*ask, "--smiles", "CCO", "--formula", "U"),
        "mass is not a number": (*ask, "--smiles", "CCO", "--mass", "nan"),
        "two statements": (*ask, "--smiles", "CCO", "--where", "true; DROP TABLE molecules"),
        "unknown column": (*ask, "--smiles", "CCO", "--where", "colour = 'red'"),
        "unknown modality": (*ask, "--smiles", "CCO", "--modality", "raman"),
        "space that is not there": (*ask, "--gc-ms", "impact.jdx"),
        "batch file missing": (*ask, "--batch", "nowhere.smi"),
        "batch all bad": (*ask, "--batch", "bad.smi"),
        "batch without a column": (*ask, "--batch", "renamed.csv"),
        "unknown model": (*ask, "--smiles", "CCO", "--model", "nonsense"),
        "another model": (*ask, "--smiles", "CCO", "--model", "acml-research"),
        "golden without its model": ("query", "v1-flat", "--smiles", "c1ccccc1"),
        "no observation": ask,
        "two kinds of query": (*ask, "--smiles", "C", "--batch", "few.smi"),
        "unknown format": (*ask, "--smiles", "C", "--format", "xml"),
        "formats contradict": (*ask, "--smiles", "C", "--format", "csv", "--json"),
        "tolerance without mass": (*ask, "--smiles", "C", "--tol-ppm", "5"),
        "two tolerances": (*ask, "--smiles", "C", "--mass", "5", "--tol-ppm", "5", "--tol-da", "1"),
        "k of nothing": (*ask, "--smiles", "C", "-k", "0"),
        "rerank a molecule": (*ask, "--smiles", "C", "--rerank"),
        "adduct without spectrum": (*ask, "--c-nmr", "130", "--adduct", "[M+H]+"),
        "adduct of nonsense": (*ask, "--lc-ms", "tandem.mgf#2", "--adduct", "[M+Foo]+"),
        "spectrum number too large": (*ask, "--lc-ms", "tandem.msp#99"),
        "spectrum without peaks": (*ask, "--lc-ms", "silent.mgf"),
        "file missing": (*ask, "--lc-ms", "nowhere.mgf"),
        "1H given as 13C": (*ask, "--c-nmr", VANILLIN_H),
        "text without peaks": (*ask, "--c-nmr", "no peaks here"),
        "no picture": (*ask, "--image", "no-picture.png"),
        "JCAMP curve": ("parse", "--c-nmr", "curve.jdx"),
        "parse nothing": ("parse",),
        "parse lines of what": ("parse", "--lines", "lines.txt"),
        "explain an unknown key": ("explain", "screen", "4711", "--c-nmr", "130"),
        "explain without a key": ("explain", "screen", "--c-nmr", "130"),
        "build from a missing file": ("build-index", "nowhere.smi", "--out", "x"),
        "build from an empty file": ("build-index", "empty.smi", "--out", "x", *ONE),
        "build where another is": ("build-index", "more.smi", "--out", "screen", *ONE),
        "build from unknown kind": ("build-index", "lines.txt", "--out", "x"),
        "records of what": ("build-index", "carbon.parquet", "--out", "x", *ONE),
        "add to nothing": ("add", "nowhere", "few.smi", *ONE),
        "bench without queries": ("bench", "recall", "--modality", "smiles", "--out", "x.json"),
        "bench of a missing file": (
            "bench", "recall", "--modality", "smiles", "--queries", "nowhere.smi", "--out", "x.json", *ONE,
        ),
        "fit an unknown column": ("properties", "fit", "labels.csv", "--target", "colour", "--out", "x"),
        "predict to a strange file": ("properties", "predict", "logp", "few.smi", "--out", "x.txt"),
        "train without configuration": ("train", "align", "nowhere.toml"),
        "unknown command": ("nonsense",),
        "unknown option": ("query", "screen", "--nonsense"),
    }  # fmt: skip
    return [_command(f"error: {name}", "error", *arguments) for name, arguments in lines.items()]


def _help() -> list[Command]:
    paths = [
        *("build-index", "query", "explain", "parse", "add", "info", "verify", "embed", "models", "probe"),
        *("bench recall", "bench isomers", "bench throughput", "properties fit", "properties predict"),
        *("train pretrain", "train align"),
    ]
    return [_command(f"help: {path}", "help", *path.split(), "--help") for path in paths]


# In this order: a few change an index that only later ones ask.
COMMANDS = [*_queries(), *_others(), *_errors(), *_help()]


def _bench() -> list[Command]:
    def recall(name: str, modality: str, queries: str, *more: str, what: str = "recall") -> Command:
        out = f"{name.replace(' ', '-').replace(',', '')}.json"
        return _command(
            name, "bench", "bench", what, "--modality", modality, "--queries", queries, "--library",
            "pool.smi", *more, *ONE, "--out", out, out=out,
        )  # fmt: skip

    return [
        recall("recall c_nmr", "c_nmr", "ask-c_nmr.parquet"),
        recall("recall c_nmr reranked", "c_nmr", "ask-c_nmr.parquet", "--rerank"),
        recall("recall c_nmr formula", "c_nmr", "ask-c_nmr.parquet", "--formula-filter", "--rerank"),
        recall("recall c_nmr to-record", "c_nmr", "ask-c_nmr.parquet", "--direction", "to-record"),
        recall("recall h_nmr", "h_nmr", "ask-h_nmr.parquet"),
        recall("recall h_nmr reranked", "h_nmr", "ask-h_nmr.parquet", "--rerank"),
        recall("recall lc_ms", "lc_ms", "ask-lc_ms.parquet"),
        recall("recall lc_ms reranked", "lc_ms", "ask-lc_ms.parquet", "--rerank", "--limit", "10"),
        recall("recall lc_ms mass", "lc_ms", "ask-lc_ms.parquet", "--mass-filter-da", "20"),
        recall("recall smiles", "smiles", "ask-c_nmr.parquet"),
        recall("recall image", "image", "ask-c_nmr.parquet", "--limit", "6", "--seed", "3"),
        recall("isomers c_nmr", "c_nmr", "ask-c_nmr.parquet", what="isomers"),
        recall("isomers c_nmr reranked", "c_nmr", "ask-c_nmr.parquet", "--rerank", what="isomers"),
        recall("isomers h_nmr", "h_nmr", "ask-h_nmr.parquet", "--rerank", what="isomers"),
        _command(
            "error: recall smiles reranked", "error", "bench", "recall", "--modality", "smiles", "--queries",
            "ask-c_nmr.parquet", "--rerank", *ONE, "--out", "x.json",
        ),
    ]  # fmt: skip


BENCH = _bench()
