"""Reading and standardising structures."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rdkit import Chem

from acml_search.chem.graph import featurise
from acml_search.chem.molecule import (
    MAX_CHARACTERS,
    MAX_HEAVY_ATOMS,
    Molecule,
    as_written,
    count_atoms,
    describe,
    parse,
    parse_block,
    read_stored,
)
from acml_search.core.errors import InvalidMolecule

# Real molecules of all kinds that standardisation touches, and that it leaves alone.
STRUCTURES = [
    "C",
    "CC(=O)Oc1ccccc1C(=O)O",
    "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "C[C@H](N)C(=O)O",
    "C[C@@H]([NH3+])C(=O)[O-]",
    "C/C=C/C(=O)O",
    "C/C=C\\C(=O)[O-].[Na+]",
    "[H]/N=C(\\C)CC",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)[O-].[K+]",
    "C[N+](C)(C)CCO.[Cl-]",
    "C[N+](C)(C)CC(=O)[O-]",
    "OC(=O)C(O)C(O)C(=O)O.CN1C2CCC1CC(C2)O",
    "[O-][N+](=O)c1ccc(cc1)[N+]([O-])=O",
    "CN=[N+]=[N-]",
    "[C-]#[N+]c1ccccc1",
    "c1cc[n+]([O-])cc1",
    "C[S+](C)[O-]",
    "CS(=O)(=O)N",
    "CC1(C)CCCC(C)(C)N1[O]",
    "[N]=O",
    "C[Si](C)(C)C",
    "[2H]C([2H])([2H])O",
    "[13CH4]",
    "F[P-](F)(F)(F)(F)F.CCCCn1cc[n+](C)c1",
    "Cl[Pt](Cl)(N)N",
    "[NH3]->[Pt](Cl)(Cl)<-[NH3]",
    "C[Hg]C",
    "[Fe+2].c1cc[cH-]c1.c1cc[cH-]c1",
    "O=C1c2ccccc2C(=O)N1C1CCC(=O)NC1=O",
    "O=c1[nH]cnc2[nH]ccc12",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "[CH3:1][CH2:2][OH:3]",
    "[nH+]1ccccc1",
    "CC.CC",
    "OS(=O)(=O)O.CN",
    "C1CC2CCC1CC2",
    "OB(O)c1ccccc1",
    "CCCC1=CC=[N+](C=C1)[Ni](SC#N)(SC#N)[N+]1=CC=C(CCC)C=C1",
    "Nc1ccn([Pt])c(=O)n1",
    "[Na+].[Cl-]",
    "O.O.O",
]


PAMOIC_ACID = "OC(=O)c1cc2ccccc2c(c1O)Cc1c(O)c(cc2ccccc12)C(=O)O"


def key_of(smiles: str) -> str:
    return describe(*parse(smiles)).smiles


def reason(smiles: object) -> str:
    with pytest.raises(InvalidMolecule) as caught:
        describe(*parse(smiles))  # type: ignore[arg-type]
    return caught.value.reason


def test_describe_gives_what_is_known_of_aspirin():
    assert describe(*parse("O=C(C)Oc1ccccc1C(=O)O")) == Molecule(
        "CC(=O)Oc1ccccc1C(=O)O", "BSYNRYMUTXBXSQ-UHFFFAOYSA-N", "C9H8O4", 180.042258736, None
    )


@pytest.mark.parametrize(
    ("smiles", "counts"),
    [
        ("Cc1ccccc1", (8, 0, 7, 5)),
        ("CC(=O)Oc1ccccc1C(=O)O", (8, 1, 9, 9)),
        ("NCC(=O)O", (5, 3, 2, 2)),
        ("CS", (4, 1, 1, 1)),
        ("C[C@H](O)[C@@H](C)O", (10, 2, 4, 2)),
        ("[2H]OC", (4, 1, 1, 1)),
        ("CC(C)(C)[SiH3]", (12, 3, 4, 2)),
        ("O", (2, 2, 0, 0)),
    ],
)
def test_atoms_are_counted(smiles: str, counts: tuple[int, ...]):
    assert count_atoms(parse(smiles)[0]) == counts


@pytest.mark.parametrize("smiles", [*STRUCTURES, "OC(=O)c1ccccc1OC(C)=O", "[2H]C([2H])O", "F/C(Cl)=C/C"])
def test_atoms_can_be_numbered_as_in_the_smiles(smiles: str):
    mol = parse(smiles)[0]
    again = featurise(read_stored(describe(mol).smiles))
    for mine, other in zip(featurise(as_written(mol)), again, strict=True):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize(
    ("smiles", "kept", "removed"),
    [
        ("CC(=O)[O-].[Na+]", "CC(=O)O", "[Na+]"),
        ("CN(C)C.Cl.O", "CN(C)C", "Cl.O"),
        ("O.Cl.CN(C)C", "CN(C)C", "Cl.O"),
        ("C[NH3+].[O-][Cl+3]([O-])([O-])[O-]", "CN", "[O-][Cl+3]([O-])([O-])[O-]"),
        ("CC.CC", "CC", "CC"),
        ("CC.CO", "CC", "CO"),
        ("CCO", "CCO", None),
        ("[H]C([H])([H])O[H]", "CO", None),
        ("[CH3:7][OH:2]", "CO", None),
        ("[H:3][O:1][H:2]", "O", None),
        ("[NH3+]CC(=O)[O-]", "NCC(=O)O", None),
        ("C[N+](C)(C)C", "C[N+](C)(C)C", None),
        ("C[N+](=O)[O-]", "C[N+](=O)[O-]", None),
        ("F[P-](F)(F)(F)(F)F.[Na+]", "F[P-](F)(F)(F)(F)F", "[Na+]"),
        ("[2H]O[2H]", "[2H]O[2H]", None),
        ("  CCO\t", "CCO", None),
        ("CCO |$a;b;c$|", "CCO", None),
        # counter-ions and solvents go before the largest fragment is chosen
        (f"CC(N)Cc1ccccc1.{PAMOIC_ACID}", "CC(N)Cc1ccccc1", Chem.CanonSmiles(PAMOIC_ACID)),
        ("CNCc1ccccn1.OC(=O)c1ccc2ccccc2c1O", "CNCc1ccccn1", "O=C(O)c1ccc2ccccc2c1O"),
        ("CC(N)CF.[O-]S(=O)(=O)c1ccccc1.CO", "CC(N)CF", "CO.O=S(=O)([O-])c1ccccc1"),
        ("CCNC.OC(=O)CC(O)(CC(=O)O)C(=O)O.CCNC", "CCNC", "CCNC.O=C(O)CC(O)(CC(=O)O)C(=O)O"),
        ("CCNCF.OC(=O)[C@H](O)[C@@H](O)C(=O)O", "CCNCF", "O=C(O)[C@H](O)[C@@H](O)C(=O)O"),
        (PAMOIC_ACID, Chem.CanonSmiles(PAMOIC_ACID), None),
        (f"CO.{PAMOIC_ACID}", Chem.CanonSmiles(PAMOIC_ACID), "CO"),
        ("NCCO.OS(=O)(=O)c1ccc(C)cc1", "NCCO", "Cc1ccc(S(=O)(=O)O)cc1"),
        ("C[NH3+].[O-]C(=O)C(F)(F)F", "CN", "O=C([O-])C(F)(F)F"),
        ("CCNCC.OC(=O)c1ccccc1O", "O=C(O)c1ccccc1O", "CCNCC"),
        ("CC(=O)O[Na]", "CC(=O)O", "[Na+]"),
        ("[Na]OC(=O)CCO[K]", "O=C(O)CCO", "[K+].[Na+]"),
        ("CCCCCCS[Ag]", "CCCCCCS", "[Ag+]"),
        ("CC(=O)O[Mg]OC(C)=O", "CC(=O)O", "CC(=O)[O-].[Mg+2]"),
        ("C[Mg]Br", "[CH3][Mg][Br]", None),
        ("[Na]Cl", "Cl", "[Na+]"),
    ],
)
def test_each_step_of_the_standardisation(smiles: str, kept: str, removed: str | None):
    molecule = describe(*parse(smiles))
    assert (molecule.smiles, molecule.removed) == (kept, removed)


def test_stereo_is_kept():
    assert key_of("C[C@H](N)C(=O)O") != key_of("C[C@@H](N)C(=O)O")
    assert key_of("F/C=C/F") != key_of("F/C=C\\F")
    assert key_of("[H]/N=C(/C)CC") != key_of("[H]/N=C(\\C)CC")


ONE_MOLECULE = [
    # the form that is kept, then other spellings of its standard InChI
    ("C[S+]([O-])c1ccccc1", "CS(=O)c1ccccc1"),
    ("CP(C)(=O)c1ccccc1", "C[P+](C)([O-])c1ccccc1"),
    ("[O-][n+]1ccccc1", "O=n1ccccc1"),
    ("C[N+](C)(C)[O-]", "CN(C)(C)=O"),
    ("O=[N+]([O-])c1ccccc1", "O=N(=O)c1ccccc1"),
    ("CN=[N+]=[N-]", "CN=N#N", "C[N-][N+]#N"),
    ("CC=[N+]=[N-]", "C[CH-][N+]#N"),
    ("[C-]#[N+]C", "C[N+]#[C-]"),
    ("CC#[N+][O-]", "CC#N=O"),
    ("O=c1cccc[nH]1", "Oc1ccccn1"),
    ("O=c1cc[nH]cc1", "Oc1ccncc1"),
    ("O=c1[nH]cnc2ccccc12", "Oc1ncnc2ccccc12", "O=c1nc[nH]c2ccccc12"),
    ("O=c1cc[nH]c(=O)[nH]1", "Oc1ccnc(O)n1"),
    ("CNC(C)=O", "CN=C(C)O"),
    ("CNC(=O)C[S+](C)[O-]", "CN=C(O)CS(C)=O"),
    ("NC(N)=O", "NC(O)=N"),
    ("CNC(C)=S", "CN=C(C)S"),
    ("CC(=O)NO", "CC(O)=NO"),
    ("CC(=O)NS(C)(=O)=O", "CC(O)=NS(C)(=O)=O"),
    ("NC(=NO)c1ccccc1", "N=C(NO)c1ccccc1"),
    ("N#CN=C(N)N", "N#CNC(N)=N"),
    ("CNC1=NCCC1", "CN=C1CCCN1"),
    ("Nc1nccs1", "N=c1[nH]ccs1"),
    ("CC(=O)Nc1nccs1", "CC(=O)N=c1[nH]ccs1"),
    ("Cc1c[nH]cn1", "Cc1cnc[nH]1"),
    ("Cc1cc[nH]n1", "Cc1ccn[nH]1"),
    ("Cc1nnn[nH]1", "Cc1nn[nH]n1"),
    ("c1c[nH]nn1", "c1cn[nH]n1"),
    ("Cc1nc[nH]n1", "Cc1nnc[nH]1", "Cc1ncn[nH]1"),
    ("c1ccc2[nH]ncc2c1", "c1ccc2n[nH]cc2c1"),
    ("Cn1c(=O)c2[nH]cnc2n(C)c1=O", "Cn1c(=O)c2nc[nH]c2n(C)c1=O"),
    ("Nc1nc2[nH]cnc2c(=O)[nH]1", "Nc1nc2nc[nH]c2c(=O)[nH]1", "N=c1nc(O)c2nc[nH]c2[nH]1"),
    ("Nc1ncnc2[nH]cnc12", "Nc1ncnc2nc[nH]c12", "Nc1nc[nH]c2ncnc1-2"),
    ("CSc1nc2nn(C)cc2c(=O)[nH]1", "CSc1nc(O)c2cn(C)nc2n1", "CSc1nc2[nH]n(C)cc-2c(=O)n1"),
    ("O=C1Nc2ccccc2C1=O", "O=C1N=c2ccccc2=C1O"),
    ("CC(=O)NN=C1C(=O)Nc2ccccc21", "CC(=O)N/N=C1/C(=O)Nc2ccccc21", "CC(O)=N/N=C1\\C(=O)Nc2ccccc21"),
    ("O=c1c2ccccc2nc2n1CCN2", "O=C1c2ccccc2NC2=NCCN12"),
    ("C[n+]1ccccc1C=NO", "C[n+]1ccccc1/C=N/O", "CN1C=CC=CC1=C[NH+]=O"),
    ("C[n+]1ccc(N)cc1", "Cn1ccc(=[NH2+])cc1"),
    ("C[n+]1ccc2[nH]c3ccccc3c2c1", "Cn1ccc2[nH+]c3ccccc3c-2c1"),
    ("O=C(C[n+]1ccccc1)Nc1ccccc1", "[OH+]=C(C[n+]1ccccc1)[N-]c1ccccc1"),
    ("CN(C)c1ccc(C=Cc2cc[n+](C)cc2)cc1", "CN1C=CC(=CC=C2C=CC(=[N+](C)C)C=C2)C=C1"),
    ("COc1cccc2cc[n+](C)cc12", "C[O+]=c1cccc2ccn(C)cc1-2"),
    ("C[N+](C)(C)CCCS(=O)(=O)O", "C[N+](C)(C)CCCS(=O)(=O)[O-].[H+]"),
]


@pytest.mark.parametrize("forms", ONE_MOLECULE, ids=lambda forms: forms[0])
def test_all_spellings_of_one_inchikey_are_one_molecule(forms: tuple[str, ...]):
    as_drawn = {Chem.MolToInchiKey(Chem.MolFromSmiles(form)) for form in forms}
    kept = describe(*parse(forms[0]))
    assert as_drawn == {kept.inchikey}
    assert {key_of(form) for form in forms} == {kept.smiles}
    assert (
        key_of(Chem.MolToSmiles(Chem.MolFromInchi(Chem.MolToInchi(Chem.MolFromSmiles(forms[0])))))
        == kept.smiles
    )


def test_the_kept_form_is_the_one_that_is_mostly_drawn():
    """All but azoles and adenine, of which either nitrogen would do."""
    for kept, *_ in ONE_MOLECULE:
        assert key_of(kept) == Chem.CanonSmiles(kept)


def test_charge_and_stereo_are_no_matter_of_spelling():
    assert key_of("C[N+](C)(C)CC(=O)[O-]") != key_of("C[N+](C)(C)CC(=O)O")
    assert key_of("C[S@](=O)c1ccccc1") == key_of("C[S@+]([O-])c1ccccc1")
    assert key_of("C[S@](=O)c1ccccc1") != key_of("C[S@@](=O)c1ccccc1")
    assert "@" in key_of("C[C@H](N=C(C)O)C(O)=NC")


@pytest.mark.parametrize(
    ("base", "cations"),
    [
        ("CN=C(C)N(C)C", ("CNC(C)=[N+](C)C", "C[NH+]=C(C)N(C)C")),
        ("CN(C)C(=N)NC(=N)N", ("CN(C)C(=[NH2+])NC(=N)N", "C[N+](C)=C(N)NC(=N)N")),
        ("Cn1ccnc1", ("Cn1cc[nH+]c1", "C[n+]1cc[nH]c1")),
    ],
)
def test_a_proton_that_a_base_can_lose_goes_in_every_resonance_form(base: str, cations: tuple[str, ...]):
    assert {key_of(cation) for cation in cations} == {key_of(base)}


def test_tautomers_with_a_mobile_carbon_meet_only_when_asked():
    keto, enol = "CC(=O)CC(C)=O", "CC(O)=CC(C)=O"
    assert key_of(keto) != key_of(enol)
    assert describe(*parse(keto, tautomer=True)) == describe(*parse(enol, tautomer=True))
    assert "@" in describe(*parse("C[C@H](N)C(=O)O", tautomer=True)).smiles


@pytest.mark.parametrize(
    ("smiles", "formula"),
    [
        ("CC1(C)CCCC(C)(C)N1[O]", "C9H18NO"),
        ("[CH3]", "CH3"),
        ("[N]=O", "NO"),
        ("[Fe]", "Fe"),
        ("C[Hg]C", "C2H6Hg"),
        ("[NH3]->[Pt](Cl)(Cl)<-[NH3]", "H6Cl2N2Pt"),
        ("[Cu+2]", "Cu+2"),
    ],
)
def test_radicals_and_metals_are_accepted(smiles: str, formula: str):
    molecule = describe(*parse(smiles))
    assert sorted(molecule.formula) == sorted(formula)
    assert len(molecule.inchikey) == 27


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        (None, "is missing"),
        (3.5, "not text but of type float"),
        (b"CCO", "not text but of type bytes"),
        ("C1CC", "unclosed ring"),
        ("C(C", "extra open parentheses near position 2"),
        ("CCx", "syntax error near position 3"),
        ("hello world", "text after the SMILES"),
        ("CCO ethanol", "text after the SMILES"),
        ("CC>>CO", "a reaction"),
        ("CC(C)(C)(C)C", "impossible valence"),
        ("c1cccc1", "no Kekulé structure"),
        ("[H][H]", "no atoms heavier than hydrogen"),
        ("[H+]", "no atoms heavier than hydrogen"),
        ("*CC", "dummy atom"),
        ("[1*]CC", "dummy atom"),
        ("CCO.*", "dummy atom"),
        ("C~C", "bond of unknown order"),
        ("CCé", "'é' at position 3"),
        ("C\u2212C", "at position 2"),
        ("C\x00C", "at position 2"),
        ("\udc80", "at position 1"),
        ("C" * 10_000, "too long: 10,000 characters"),
        ("C" * (MAX_HEAVY_ATOMS + 1), "too large: 1,001 heavy atoms"),
        ("C:C", "no InChI"),
    ],
)
def test_each_unusable_input_has_its_reason(smiles: object, words: str):
    assert words in reason(smiles)


def test_the_limits_themselves_are_accepted():
    assert parse("C" * MAX_HEAVY_ATOMS)[0].GetNumAtoms() == MAX_HEAVY_ATOMS
    padded = "C" + "(C)" * 2 + "C" * 3
    assert parse(padded.ljust(MAX_CHARACTERS))[0].GetNumAtoms() == 6


def test_an_error_shows_the_molecule_shortened():
    with pytest.raises(InvalidMolecule) as caught:
        parse("C" * 6_000)
    assert caught.value.smiles == "C" * 6_000
    assert len(str(caught.value)) < 200


def test_a_hopeless_input_is_rejected_at_once():
    start = time.perf_counter()
    for text in ("C" * 100_000, "C1" * 2_000, "(" * 4_999, "[" * 4_999, "c1ccccc1" * 600):
        with pytest.raises(InvalidMolecule):
            parse(text)
    assert time.perf_counter() - start < 5


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]):
    for text in ("C1CC", "c1cccc1", "CC(C)(C)(C)C", "[H]", "C->[Fe]", "C:C", "[H+].C"):
        try:
            describe(*parse(text))
        except InvalidMolecule:
            continue
    with pytest.raises(InvalidMolecule):
        parse_block("junk")
    assert capfd.readouterr() == ("", "")


@given(st.sampled_from(STRUCTURES), st.booleans())
@settings(deadline=None)
def test_standardising_twice_changes_nothing(smiles: str, tautomer: bool):
    once = describe(*parse(smiles, tautomer=tautomer))
    twice = describe(*parse(once.smiles, tautomer=tautomer))
    assert twice == once._replace(removed=None)


@given(st.sampled_from(STRUCTURES), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=50)
def test_the_way_a_molecule_is_written_does_not_matter(smiles: str, seed: int):
    again = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 1, randomSeed=seed)[0]
    assert describe(*parse(again)) == describe(*parse(smiles))


@pytest.mark.parametrize("smiles", ["CC(=O)Nc1ccccc1", "C[C@H](N)C(=O)O", "CC(=O)[O-].[Na+]", "C[S+](C)[O-]"])
def test_inchi_mol_block_and_rdkit_molecule_are_read_as_their_smiles(smiles: str):
    mol = Chem.MolFromSmiles(smiles)
    raw = Chem.MolFromSmiles(smiles, sanitize=False)
    expected = describe(*parse(smiles))
    for structure in (Chem.MolToInchi(mol), f" {Chem.MolToInchi(mol)}\n", mol, Chem.AddHs(mol), raw):
        assert describe(*parse(structure)) == expected._replace(removed=describe(*parse(structure)).removed)
    if "@" not in smiles:
        assert describe(*parse(Chem.MolToMolBlock(mol))) == expected
    assert Chem.MolToSmiles(mol) == Chem.CanonSmiles(smiles)  # untouched


def test_an_inchi_that_is_none_and_a_molecule_with_a_wrong_valence_say_so():
    assert "cannot read this InChI" in reason("InChI=1S/nonsense")
    assert "valence" in reason(Chem.MolFromSmiles("CC(C)(C)(C)C", sanitize=False))


@given(st.lists(st.sampled_from(STRUCTURES), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_the_order_of_fragments_does_not_matter(parts: list[str]):
    assert describe(*parse(".".join(parts))) == describe(*parse(".".join(reversed(parts))))


@example(text="[0#1]")
@given(st.one_of(st.text(max_size=40), st.text("CNOcn1234()[]=#@+-/\\.*:H%$~>|&", max_size=40)))
@settings(deadline=None, max_examples=500)
def test_any_text_is_a_molecule_or_a_clear_rejection(text: str):
    try:
        molecule = describe(*parse(text))
    except InvalidMolecule as error:
        message = str(error)
    else:
        message = ""
        assert len(molecule.inchikey) == 27
        assert key_of(molecule.smiles) == molecule.smiles
    assert len(message.splitlines()) <= 1


@given(
    st.sampled_from([s for s in STRUCTURES if "->" not in s]), st.booleans(), st.sampled_from(["\n", "\r\n"])
)
@settings(deadline=None)
def test_a_mol_block_is_the_same_as_its_smiles(smiles: str, v3000: bool, end: str):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles(smiles), forceV3000=v3000)
    record = (block + "> <name>\nvalue\n\n").replace("\n", end)
    from_block, from_smiles = describe(*parse_block(record)), describe(*parse(smiles))
    if "@" in smiles or "/" in smiles:  # this block has no coordinates, so no stereo
        assert from_block.formula == from_smiles.formula
    else:
        assert from_block == from_smiles


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("M  END", "", "mol block"),
        (" O ", " R#", "dummy atom"),
        (" O ", " Q ", "dummy atom"),
        (" O ", " Zz", "'Zz' not found"),
        ("  2  1", "  9  1", "RDKit cannot read the mol block"),
        ("  1  2  1", "  1  2  8", "bond of unknown order"),
    ],
)
def test_each_unusable_mol_block_has_its_reason(old: str, new: str, words: str):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CO"))
    assert old in block
    with pytest.raises(InvalidMolecule, match=words):
        parse_block(block.replace(old, new))


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("", "is empty"),
        (None, "is missing"),
        ("junk", "cannot read the mol block"),
        ("\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n", "no atoms"),
        ("\n\n\n" + "x" * 600_000, "too long"),
    ],
)
def test_what_is_no_mol_block(block: object, words: str):
    with pytest.raises(InvalidMolecule, match=words):
        parse_block(block)  # type: ignore[arg-type]
