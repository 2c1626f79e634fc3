"""Structures from detected atoms and bonds: assembled, with their alternatives, against the prior."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from acml_search import modalities
from acml_search.ocsr.assemble import SYMBOLS, assemble
from acml_search.ocsr.hypotheses import NO_DETECTIONS, Detections, best_hypothesis, hypotheses
from acml_search.ocsr.prior import environment, prior_cost
from acml_search.ocsr.reader import readings, shares


class TestAssemble:
    def test_kekulised_and_dashed_rings_are_one_molecule(self) -> None:
        ring = [(i, (i + 1) % 6) for i in range(6)]
        kekulised = [(a, b, 1 + i % 2) for i, (a, b) in enumerate(ring)]
        dashed = [(a, b, 4) for a, b in ring]
        for bonds in (kekulised, dashed):
            assert assemble([""] * 6, [0] * 6, [0] * 6, bonds).smiles == "c1ccccc1"

    def test_a_dashed_pyrrole_takes_its_hydrogen_from_the_letters_or_from_need(self) -> None:
        bonds = [(i, (i + 1) % 5, 4) for i in range(5)]
        for written in (1, 0):
            assert (
                assemble(["N", "", "", "", ""], [written, 0, 0, 0, 0], [0] * 5, bonds).smiles == "c1cc[nH]c1"
            )

    def test_missed_charges_are_added(self) -> None:
        bonds = [(0, 1, 1), (1, 2, 2), (1, 3, 1)]
        for minus in (-1, 0):
            nitro = assemble(["", "N", "O", "O"], [0, 0, 0, 0], [0, 0, 0, minus], bonds).smiles
            assert Chem.CanonSmiles(nitro) == Chem.CanonSmiles("C[N+](=O)[O-]")
        ammonium = assemble(
            ["", "N", "", "", "O"], [0, 0, 0, 0, 1], [0] * 5, [(i, 1, 1) for i in (0, 2, 3, 4)]
        ).smiles
        assert Chem.CanonSmiles(ammonium) == Chem.CanonSmiles("C[N+](C)(C)O")

    @pytest.mark.parametrize(
        ("label", "expected"),
        [
            ("OMe", "COc1ccccc1"),
            ("NO2", "O=[N+]([O-])c1ccccc1"),
            ("Boc", "CC(C)(C)OC(=O)c1ccccc1"),
            ("Ph", "c1ccc(-c2ccccc2)cc1"),
        ],
    )
    def test_letters_become_groups(self, label: str, expected: str) -> None:
        ring = [(i, (i + 1) % 6, 1 + i % 2) for i in range(6)]
        smiles = assemble([*[""] * 6, label], [0] * 7, [0] * 7, [*ring, (0, 6, 1)]).smiles
        assert Chem.CanonSmiles(smiles) == Chem.CanonSmiles(expected)

    def test_two_groups_bonded_to_each_other(self) -> None:
        assert assemble(["OMe", "Me"], [0, 0], [0, 0], [(0, 1, 1)]).smiles == "COC"

    def test_what_is_no_chemistry_is_written_as_it_stands(self) -> None:
        star = [(0, i, 2) for i in range(1, 6)]
        smiles = assemble([""] * 6, [0] * 6, [0] * 6, star).smiles
        assert smiles
        assert modalities.get("smiles").read(smiles).x.shape[0] == 6

    def test_specks_are_left_out(self) -> None:
        assert assemble(["", "", "O"], [0, 0, 1], [0] * 3, [(1, 2, 1)]).smiles == "CO"
        assert assemble([], [], [], []).smiles == ""
        assert assemble([""], [0], [0], []).smiles == ""

    def test_a_structure_is_standardised_as_an_index_holds_it(self) -> None:
        acetate = [(0, 1, 1), (1, 2, 2), (1, 3, 1)]
        salt = assemble(["", "", "O", "O", "Na"], [0] * 5, [0, 0, 0, -1, 1], acetate)
        assert Chem.CanonSmiles(salt.smiles) == Chem.CanonSmiles("CC(=O)[O-].[Na+]")
        assert salt.standardised() == "CC(=O)O"
        speck = assemble(["", "", "O", "O"], [0] * 4, [0] * 4, [(0, 1, 1), (1, 2, 1)])
        assert speck.standardised() == "CCO"

    def test_of_what_is_no_chemistry_the_longest_piece_stays(self) -> None:
        star = [(0, i, 2) for i in range(1, 6)]
        found = assemble([*[""] * 6, "", "O"], [0] * 8, [0] * 8, [*star, (6, 7, 1)])
        assert found.mol is None
        assert modalities.get("smiles").read(found.standardised()).x.shape[0] == 6
        assert assemble([], [], [], []).standardised() == ""
        assert assemble(["H"], [0], [0], []).standardised() == assemble(["H"], [0], [0], []).smiles

    def test_every_symbol_can_be_assembled(self) -> None:
        for symbol in SYMBOLS:
            assert assemble([symbol, "", ""], [0, 0, 0], [0, 0, 0], [(0, 1, 1), (1, 2, 1)]).smiles


def detections(
    letters: list[dict[str, float]],
    bonds: dict[tuple[int, int], dict[int, float]],
    probability: list[float] | None = None,
) -> Detections:
    """Probabilities of symbols by atom and of orders by pair; all others are next to nil."""
    symbols = np.full((len(letters), len(SYMBOLS)), 1e-9)
    for row, of in zip(symbols, letters, strict=True):
        for symbol, chance in of.items():
            row[SYMBOLS.index(symbol)] = chance
    orders = np.full((len(bonds), 6), 1e-9)
    for row, chances in zip(orders, bonds.values(), strict=True):
        for order, chance in chances.items():
            row[order] = chance
    fixed = np.full((len(letters), 5), 1e-9)
    xy = np.arange(2 * len(letters), dtype=np.float32).reshape(-1, 2)
    hydrogens, charges = fixed.copy(), fixed.copy()
    hydrogens[:, 0] = charges[:, 2] = 1
    return Detections(
        xy,
        np.array(probability or [0.99] * len(letters), np.float32),
        np.log(symbols),
        np.log(hydrogens),
        np.log(charges),
        np.array(list(bonds), np.int64).reshape(-1, 2),
        np.log(orders),
    )


CHAIN = {(0, 1): {1: 0.999}, (1, 2): {1: 0.999}}


class TestHypotheses:
    def written(self, what: Detections) -> list[str]:
        return [assemble(*read[1:5]).smiles for _, read in hypotheses(what)]

    def test_a_clear_picture_has_one_hypothesis(self) -> None:
        what = detections([{"": 1.0}, {"": 1.0}, {"O": 0.99, "S": 0.01}], CHAIN)
        assert self.written(what) == ["CCO"]
        assert shares(readings(what)) == (("CCO", 1.0),)

    def test_uncertain_letters_bonds_and_points_are_changed_one_by_one_and_together(self) -> None:
        letters = [{"": 1.0}, {"": 1.0}, {"O": 0.6, "S": 0.4}]
        assert self.written(detections(letters, CHAIN)) == ["CCO", "CCS"]
        bonds = {(0, 1): {1: 0.999}, (1, 2): {1: 0.55, 2: 0.45}}
        assert self.written(detections(letters, bonds)) == ["CCO", "CC=O", "CCS", "CC=S"]
        faint = self.written(detections([{"": 1.0}] * 3, CHAIN, [0.99, 0.99, 0.28]))
        assert faint == ["CC", "CCC"]

    def test_costs_rise_from_the_likeliest_and_there_are_few(self) -> None:
        rng = np.random.default_rng(7)
        letters = [dict(zip(("", "N", "O", "S"), rng.dirichlet(np.ones(4)), strict=True)) for _ in range(12)]
        bonds = {(i, i + 1): {1: 0.7, 2: 0.3} for i in range(11)}
        found = list(hypotheses(detections(letters, bonds)))
        costs = [cost for cost, _ in found]
        assert costs == sorted(costs)
        assert costs[0] == 0
        assert len(found) == 8
        assert found[0][1].symbols == best_hypothesis(detections(letters, bonds)).symbols

    def test_a_letter_that_carries_too_many_bonds_is_another_one(self) -> None:
        star = {(0, i): {1: 0.999} for i in range(1, 4)}
        what = detections([{"F": 0.6, "N": 0.4}, *[{"": 1.0}] * 3], star)
        assert best_hypothesis(what).symbols[0] == "N"

    @pytest.mark.parametrize(("arm", "expected"), [(10, ["CCCC", "CCCC"]), (16, ["CCC(CC)(CC)CC"])])
    def test_where_two_bonds_cross_is_no_atom(self, arm: int, expected: list[str]) -> None:
        ways = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
        bonds = {(0, i): {1: 0.999} for i in range(1, 5)} | {(i, i + 4): {1: 0.999} for i in range(1, 5)}
        what = detections([{"": 1.0}] * 9, bonds)
        outer = arm * ways + np.array([[8, 14], [8, 14], [14, 8], [14, 8]])
        what = what._replace(xy=np.vstack([[[0, 0]], arm * ways, outer]).astype(np.float32))
        assert self.written(what)[0].split(".") == expected

    def test_a_point_on_a_straight_bond_is_no_atom(self) -> None:
        bonds = {(0, 1): {1: 0.999}, (1, 2): {1: 0.999}, (0, 2): {1: 0.999}, (2, 3): {1: 0.999}}
        what = detections([{"": 1.0}] * 3 + [{"O": 1.0}], bonds)
        what = what._replace(xy=np.array([[0, 0], [10, 0], [20, 0], [28, 14]], np.float32))
        assert self.written(what)[0] == "CCO"
        wedges = np.log(np.eye(6)[[2, 2, 0, 0]] + 1e-6)  # the halves of one, narrow at its right end
        read = best_hypothesis(
            what._replace(
                pairs=what.pairs[[0, 1, 3]], orders=what.orders[[0, 1, 3]], wedges=wedges[[0, 1, 3]]
            )
        )
        assert [(*bond, wedge) for bond, wedge in zip(read.bonds, read.wedges, strict=True)] == [
            (1, 2, 1, 0),
            (0, 1, 1, 2),
        ]

    def test_nothing_detected_is_no_structure(self) -> None:
        assert shares(readings(NO_DETECTIONS)) == (("", 1.0),)

    def test_a_molecule_is_preferred_to_what_hardly_is_one(self) -> None:
        # Bz read as bromine: on oxygen it is hardly ever found.
        what = detections([{"": 1.0}, {"O": 1.0}, {"Br": 0.7, "Bz": 0.3}], CHAIN)
        assert best_hypothesis(what).symbols[2] == "Br"
        (first, share), *_ = shares(readings(what))
        assert Chem.CanonSmiles(first) == Chem.CanonSmiles("COC(=O)c1ccccc1")
        assert 0.5 < share <= 1

    def test_what_rdkit_refuses_never_wins_over_what_it_accepts(self) -> None:
        # The halogen has three bonds in all likelier hypotheses.
        letters = [{"F": 0.97, "N": 0.03}, {"": 1.0}, {"": 1.0}, {"": 1.0}]
        what = detections(letters, {(0, i): {1: 0.999} for i in range(1, 4)})
        what.symbols[0] += np.where(np.arange(len(SYMBOLS)) == SYMBOLS.index("F"), 4.5, 0.0)
        assert best_hypothesis(what).symbols[0] == "F"
        assert [smiles for smiles, _ in shares(readings(what))] == ["CN(C)C"]

    def test_probabilities_sum_to_one_and_fall(self) -> None:
        what = detections([{"": 1.0}, {"": 1.0}, {"O": 0.6, "N": 0.4}], CHAIN)
        found = [share for _, share in shares(readings(what))]
        assert len(found) == 2
        assert sum(found) == pytest.approx(1)
        assert found == sorted(found, reverse=True)


class TestPrior:
    @pytest.mark.parametrize(
        ("usual", "odd"),
        [
            ("CCOC", "CCOBr"),
            ("CC(=O)OC", "C[O+](C)C"),
            ("CCO", "CC.O"),
            ("Cc1ccccc1", "[GeH3]c1ccccc1"),
            ("CC=O", "C[C]=O"),
        ],
    )
    def test_rare_environments_and_pieces_cost(self, usual: str, odd: str) -> None:
        assert prior_cost(Chem.MolFromSmiles(usual), usual) < prior_cost(Chem.MolFromSmiles(odd), odd)

    def test_what_rdkit_refuses_costs_more_than_a_rare_atom(self) -> None:
        assert prior_cost(None, "CF(C)C") > prior_cost(Chem.MolFromSmiles("CCOS"), "CCOS")

    def test_a_counter_ion_costs_nothing(self) -> None:
        costs = [prior_cost(Chem.MolFromSmiles(smiles), smiles) for smiles in ("CCN", "CCN.Cl", "CCN.CC")]
        assert costs[0] == costs[1] < costs[2]

    def test_an_environment_does_not_depend_on_the_order_of_atoms(self) -> None:
        found = {
            environment(Chem.MolFromSmiles(s).GetAtomWithIdx(i))
            for s, i in (("C(=O)(O)N", 0), ("NC(=O)O", 1))
        }
        assert found == {"C-N-O=O"}
