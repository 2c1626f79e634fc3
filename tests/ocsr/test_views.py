"""A picture that is not read surely is read in several views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acml_search import modalities
from acml_search.encoders.checkpoint import Tower
from acml_search.networks import tensors
from acml_search.ocsr import reader as module
from acml_search.ocsr.assemble import assemble
from acml_search.ocsr.hypotheses import NO_DETECTIONS, Hypothesis
from acml_search.ocsr.reader import PictureReader, Recognition, gamma, vote

PICTURES = modalities.get("image")


def test_one_view_is_as_it_was() -> None:
    assert vote([(0.5, (("CCO", 0.7), ("CCN", 0.3)))]) == (("CCO", 0.7), ("CCN", 0.3))


def test_what_most_views_show_is_the_likeliest_and_shares_sum_to_one() -> None:
    views = [(0.9, (("CCN", 0.6), ("CCO", 0.4))), (0.9, (("CCO", 1.0),)), (0.9, (("CCO", 0.8), ("CCS", 0.2)))]
    found = vote(views)
    assert [smiles for smiles, _ in found] == ["CCO", "CCN"]  # CCS has 0.2 of 3
    assert [share for _, share in found] == pytest.approx([2.2 / 2.8, 0.6 / 2.8])


def test_an_unsure_view_hardly_counts() -> None:
    found = vote([(0.95, (("CCO", 1.0),)), (0.80, (("CCN", 1.0),)), (0.80, (("CCN", 1.0),))])
    assert found == (("CCO", 1.0),)
    odd = module._plausibility({"CCN": (5.0, None), "CCS": (6.0, None)})  # nats of its likeliest structure
    assert vote([(0.9, (("CCO", 1.0),)), (0.95 * odd, (("CCN", 1.0),))]) == (("CCO", 1.0),)


def test_what_rdkit_refuses_wins_in_no_view_where_another_reading_is_a_molecule() -> None:
    assert vote([(0.99, (("CF(C)C", 1.0),)), (0.8, (("CCO", 1.0),))]) == (("CCO", 1.0),)
    assert vote([(0.99, (("CF(C)C", 1.0),))]) == (("CF(C)C", 1.0),)


def test_nothing_read_in_any_view_is_no_division_by_zero() -> None:
    assert vote([(0.0, (("", 1.0),)), (0.0, (("", 1.0),))]) == (("", 1.0),)


def test_tone_keeps_white_and_black_and_the_order() -> None:
    ink = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for power in (0.7, 1.4):
        out = gamma(ink, power).ravel()
        assert (out[0], out[-1]) == (0, 255)
        assert (np.diff(out.astype(int)) >= 0).all()
        assert (out.mean() < ink.mean()) == (power > 1)
    assert gamma(ink, 1.0) is ink


def test_only_an_unsure_picture_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    reader = PictureReader(**PICTURES.tiny_config).eval()
    ink = PICTURES.read(PICTURES.derive("CC(=O)Oc1ccccc1C(=O)O"))
    calls: list[float] = []
    at = reader._at
    monkeypatch.setattr(reader, "_at", lambda ink, scale: calls.append(scale) or at(ink, scale))
    monkeypatch.setattr(module, "_CONFIDENT", -1.0)
    monkeypatch.setattr(module, "_CONFIDENT_VIEW", -1.0)
    sure = reader._recognition(ink)
    assert len(calls) == 1
    monkeypatch.setattr(module, "_CONFIDENT_VIEW", 2.0)
    unsure = reader._recognition(ink)
    assert len(calls) == 2 + len(module._VIEWS)
    assert sum(share for _, share in unsure.alternatives) == pytest.approx(1)
    assert unsure.hypothesis == sure.hypothesis


def test_readings_that_differ_in_what_standardisation_takes_away_count_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {
        ("", "O"): assemble(["", "O"], [0, 0], [0, 0], [(0, 1, 1)]),
        ("", "O", "Cl"): assemble(["", "O", "Cl"], [0] * 3, [0] * 3, [(0, 1, 1)]),
    }
    reads = [Hypothesis(NO_DETECTIONS.xy, list(symbols), [], [], []) for symbols in found]
    monkeypatch.setattr(module, "hypotheses", lambda *given: iter(zip((0.0, 0.5), reads, strict=True)))
    monkeypatch.setattr(module, "assemble", lambda symbols, *_: found[tuple(symbols)])
    assert module.shares(module.readings(NO_DETECTIONS)) == (("CO", 1.0),)


def test_a_space_averages_the_vectors_of_the_readings_not_their_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(5)
    tower = Tower("image", PICTURES.tiny_config, {"hidden": 8, "d": 4}).eval()
    shares = {
        "a": (("CCO", 0.75), ("CCN", 0.25)),
        "b": (("CCO", 1.0),),
        "c": (("CCN", 1.0),),
        "d": (("", 1.0),),
    }
    inks = {name: np.full((3, 3 + i), 9, np.uint8) for i, name in enumerate(shares)}
    names = {ink.shape: name for name, ink in inks.items()}
    nothing = Hypothesis(NO_DETECTIONS.xy, [], [], [], [])
    monkeypatch.setattr(
        tower.encoder,
        "read",
        lambda ink: Recognition(shares[names[ink.shape]][0][0], nothing, 1.0, shares[names[ink.shape]]),
    )
    with torch.inference_mode():
        batch = tensors(PICTURES.collate(list(inks.values())))
        both, one, other, none = tower(batch)
        features = tower.encoder(batch)
    mean = 0.75 * one + 0.25 * other
    torch.testing.assert_close(both, mean / mean.norm())
    torch.testing.assert_close(features[0], 0.75 * features[1] + 0.25 * features[2])
    assert not features[3].any()
    assert none.norm() == pytest.approx(1)
