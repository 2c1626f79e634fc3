"""mzTab-M 2.0, the format of the Proteomics and Metabolomics Standards Initiatives for results (Hoffmann et
al., Anal. Chem. 2019, 91, 3302): a small molecule and a feature for each spectrum that was answered, and one
line of evidence for each hit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rdkit import Chem, rdBase

from acml_search import __version__
from acml_search.chem.adducts import parse_adduct, precursor_mz
from acml_search.core.errors import ConfigError
from acml_search.search.render.files import PRECURSOR, Document, Documents, said

_ABUNDANCE = "abundance_assay[1]"
_SMALL_MOLECULES = f"""
    SML_ID SMF_ID_REFS database_identifier chemical_formula smiles inchi chemical_name uri
    theoretical_neutral_mass adduct_ions reliability best_id_confidence_measure best_id_confidence_value
    {_ABUNDANCE} abundance_study_variable[1] abundance_variation_study_variable[1]
""".split()
_FEATURES = f"""
    SMF_ID SME_ID_REFS SME_ID_REF_ambiguity_code adduct_ion isotopomer exp_mass_to_charge charge
    retention_time_in_seconds retention_time_in_seconds_start retention_time_in_seconds_end {_ABUNDANCE}
""".split()
_EVIDENCE = """
    SME_ID evidence_input_id database_identifier chemical_formula smiles inchi chemical_name uri
    derivatized_form adduct_ion exp_mass_to_charge charge theoretical_mass_to_charge spectra_ref
    identification_method ms_level id_confidence_measure[1] rank
""".split()  # noqa: SIM905
_METHOD = f"[, , acml-search, {__version__}]"
_LEVEL = "[MS, MS:1002896, compound identification confidence level, ]"
_CONFIDENCE = "[, , probability of being the compound, ]"
_TIME = ("rtinseconds", "retention_time", "rt", "retentiontime")
PUTATIVE = "3"
"""reliability of the Metabolomics Standards Initiative: by a spectrum alone, without a standard"""
_FORBIDDEN = re.compile(r"[\t\r\n|]+")


def write_mztab(documents: Documents, path: Path, name: str, source: Path) -> None:
    """Write the answers of a run of MS/MS spectra, called `name`; what had no answer is counted in comments.

    Raises ConfigError for a run of anything else.
    """
    small: list[list[Any]] = []
    features: list[list[Any]] = []
    evidence: list[list[Any]] = []
    runs: dict[str, int] = {}
    unanswered: dict[str, int] = {}
    polarities: set[str] = set()
    for document in documents():
        query = document["query"]
        hits = [hit for one in document.get("lists", ()) for hit in one["hits"] if one["modality"] == "lc_ms"]
        if document.get("lists") and not all(one["modality"] == "lc_ms" for one in document["lists"]):
            raise ConfigError("mzTab-M holds MS/MS results; write this run as .csv, .parquet or .jsonl")
        if not hits:
            unanswered[document["outcome"]] = unanswered.get(document["outcome"], 0) + 1
            continue
        run = runs.setdefault(query.get("file") or source.name, len(runs) + 1)
        spectra = [f"ms_run[{run}]:index={row}" for row in query.get("rows", [query["row"]])]
        number = len(features) + 1
        adducts = [_adduct(document, hit) for hit in hits]
        charges = [one and parse_adduct(one).charge for one in adducts]
        polarities |= {"negative" if charge < 0 else "positive" for charge in charges if charge}
        observed = said(query, *PRECURSOR)
        measured = None if observed is None else float(observed.split()[0])
        ids = list(range(len(evidence) + 1, len(evidence) + len(hits) + 1))
        for id_, hit, adduct, charge in zip(ids, hits, adducts, charges, strict=True):
            theoretical = adduct and round(precursor_mz(hit["exact_mass"], adduct), 6)
            evidence.append(
                [id_, number, *_molecule(hit), None, adduct, measured, charge, theoretical, "|".join(spectra),
                 _METHOD, "[MS, MS:1000511, ms level, 2]", hit["probability"], hit["rank"]]
            )  # fmt: skip
        time = said(query, *_TIME)
        features.append(
            [number, "|".join(map(str, ids)), 2 if len(ids) > 1 else None, adducts[0], None, measured,
             charges[0], time and _seconds(time), None, None, None]
        )  # fmt: skip
        best = hits[0]
        small.append(
            [number, number, *_molecule(best), best["exact_mass"], adducts[0], PUTATIVE, _CONFIDENCE,
             best["probability"], None, None, None]
        )  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        for line in _metadata(name, runs, polarities or {"positive"}):
            file.write(line + "\n")
        for reason, n in unanswered.items():
            file.write(f"COM\t{n} spectra without an answer: {reason}\n")
        for heading, prefix, names, table in (
            ("SMH", "SML", _SMALL_MOLECULES, small),
            ("SFH", "SMF", _FEATURES, features),
            ("SEH", "SME", _EVIDENCE, evidence),
        ):
            file.write("\n" + "\t".join([heading, *names]) + "\n")
            for row in table:
                file.write("\t".join([prefix, *map(_cell, row)]) + "\n")


def _metadata(name: str, runs: dict[str, int], polarities: set[str]) -> Iterator[str]:
    entries = {
        "mzTab-version": "2.0.0-M",
        "mzTab-ID": name,
        "software[1]": _METHOD,
        "quantification_method": "[, , none, ]",
        "cv[1]-label": "MS",
        "cv[1]-full_name": "PSI-MS controlled vocabulary",
        "cv[1]-version": "4.1.0",
        "cv[1]-uri": "https://raw.githubusercontent.com/HUPO-PSI/psi-ms-CV/master/psi-ms.obo",
        "database[1]": "[, , library of the index, ]",
        "database[1]-prefix": "acml",
        "database[1]-version": "Unknown",
        "database[1]-uri": "null",
        "small_molecule-quantification_unit": "[, , none, ]",
        "small_molecule_feature-quantification_unit": "[, , none, ]",
        "small_molecule-identification_reliability": _LEVEL,
        "id_confidence_measure[1]": _CONFIDENCE,
    }
    for file, number in (runs or {"none": 1}).items():
        entries[f"ms_run[{number}]-location"] = f"file:///{quote(file)}"
        for place, polarity in enumerate(sorted(polarities), start=1):
            accession = "MS:1000130, positive scan" if polarity == "positive" else "MS:1000129, negative scan"
            entries[f"ms_run[{number}]-scan_polarity[{place}]"] = f"[MS, {accession}, ]"
    entries |= {
        "assay[1]": "run",
        "assay[1]-ms_run_ref": "|".join(f"ms_run[{number}]" for number in (runs or {"": 1}).values()),
        "study_variable[1]": "undefined",
        "study_variable[1]-assay_refs": "assay[1]",
        "study_variable[1]-description": "all spectra",
    }
    for entry, value in entries.items():
        yield f"MTD\t{entry}\t{value}"


def _molecule(hit: dict[str, Any]) -> list[Any]:
    """database_identifier, chemical_formula, smiles, inchi, chemical_name, uri"""
    mol = Chem.MolFromSmiles(hit["smiles"])
    with rdBase.BlockLogs():  # that stereo is left open is no fault
        inchi = Chem.MolToInchi(mol) if mol else None
    name = hit.get("name") or hit.get("compound_name")
    return [f"acml:{hit['key']}", hit["formula"], hit["smiles"], inchi or None, name, None]


def _adduct(document: Document, hit: dict[str, Any]) -> str | None:
    """The ion of a hit: the likeliest of several, else that of the spectrum."""
    named = (hit.get("why") or {}).get("adduct")
    return named or next(
        (one.get("adduct") for one in document["query"].get("observations", ()) if one.get("adduct")), None
    )


def _seconds(text: str) -> float | None:
    found = re.match(r"\s*(\d+(?:\.\d+)?)\s*(min)?", text)
    return None if found is None else float(found[1]) * (60 if found[2] else 1)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "null"
    if isinstance(value, str) and value.startswith(("ms_run[", "[")):
        return value
    return str(value) if isinstance(value, int | float) else _FORBIDDEN.sub(" ", str(value))
