"""torch_geometric: GINEConv and the fused pass agree, its objects are taken, a query does without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from molecules import MOLECULES
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GINEConv

import acml_search
from acml_search.chem.graph import collate, featurise
from acml_search.chem.molecule import parse
from acml_search.chem.smiles import linked_symbols
from acml_search.core.errors import InvalidMolecule
from acml_search.encoders.card import read_card
from acml_search.encoders.checkpoint import load_model
from acml_search.networks import GraphNet, TensorBatch
from acml_search.networks.pyg import graphs_of, to_batch

GRAPHS = [featurise(parse(smiles)[0], stereo=False) for smiles in MOLECULES]


@pytest.mark.parametrize("encoder", ["trunk", "smiles"])
def test_gine_conv_and_the_fused_pass_agree_with_the_shipped_weights(encoder: str) -> None:
    network = load_model().network
    net = network.trunk if encoder == "trunk" else network.tower("smiles").encoder
    assert isinstance(net, GraphNet)
    graphs = GRAPHS if encoder == "trunk" else [linked_symbols(smiles) for smiles in MOLECULES]
    batch, tensors = to_batch(graphs), TensorBatch.of(collate(graphs))
    with torch.inference_mode():
        fused = net.fused(tensors)
        for ours, theirs in zip(fused, net.message_passing(batch), strict=True):
            assert (ours - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))
        assert torch.allclose(net.pool(fused, tensors), net(batch), rtol=1e-5, atol=1e-5)


def test_training_runs_gine_conv_over_the_parameters_that_are_saved() -> None:
    net = GraphNet([120, 9, 9, 6, 2, 10, 5], 14, 8, 8, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()(to_batch(GRAPHS)).sum().backward()
    assert all(isinstance(conv, GINEConv) for conv in net.convs)
    assert net.state_dict().keys() == before.keys()
    assert all(parameter.grad is not None for parameter in net.parameters())
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, before[name])
    with torch.inference_mode():
        fused, conv = net.eval().fused(to_batch(GRAPHS)), net.message_passing(to_batch(GRAPHS))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(fused, conv, strict=True))


def test_weights_under_their_earlier_names_are_loaded() -> None:
    net, other = (GraphNet([120, 9, 9, 6, 2, 10, 5], 14, 8, 8, 2) for _ in range(2))
    earlier = {}
    for name, value in net.state_dict().items():
        name = name.replace("convs.0.nn.0", "norms.0").replace("convs.1.nn.0", "norms.1")
        for i in "01":
            name = name.replace(f"convs.{i}.nn.1", f"mlps.{i}.0").replace(f"convs.{i}.nn.3", f"mlps.{i}.2")
        earlier[name] = value
    assert "mlps.1.2.weight" in earlier
    other.load_state_dict(earlier)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_encode_takes_data_batches_and_lists() -> None:
    expected = acml_search.encode(MOLECULES, device="cpu")
    data = [acml_search.to_pyg(smiles) for smiles in MOLECULES]
    assert data[2].x.shape[1] == 7
    assert data[2].smiles == MOLECULES[2]
    for given in (data, Batch.from_data_list(data), to_batch(GRAPHS)):
        found = acml_search.encode(given, device="cpu")
        for name, vectors in expected.items():
            learned = slice(read_card().learned(name))  # graphs have no configuration
            assert np.abs(vectors - found[name])[:, learned].max() < 1e-5
    assert np.abs(acml_search.encode(data[0])["c_nmr"] - expected["c_nmr"][:1]).max() < 1e-5


def test_a_batch_from_arrays_is_that_of_pyg() -> None:
    ours, theirs = to_batch(GRAPHS), Batch.from_data_list([acml_search.to_pyg(s) for s in MOLECULES])
    for name in ("x", "edge_index", "edge_attr", "batch", "ptr"):
        assert torch.equal(ours[name], theirs[name]), name
    assert ours.num_graphs == len(GRAPHS)
    for graph, data in zip(graphs_of(theirs), ours.to_data_list(), strict=True):
        assert np.array_equal(graph.edge_index, data.edge_index)
        assert np.array_equal(graph.x, data.x)


def test_foreign_graphs_are_refused_by_row() -> None:
    good = acml_search.to_pyg("CCO")
    for change, match in (
        ({"x": good.x[:, :3]}, "no .n, 7. table"),
        ({"x": good.x + 200}, "no .n, 7. table"),
        ({"edge_attr": good.edge_attr + 90}, "unknown bond code"),
        ({"edge_index": good.edge_index + 9}, "atom that is not there"),
        ({"edge_attr": good.edge_attr[:1]}, "one bond code per edge"),
        ({"edge_attr": None}, "lacks"),
    ):
        other = Data(**{"x": good.x, "edge_index": good.edge_index, "edge_attr": good.edge_attr, **change})
        with pytest.raises(InvalidMolecule, match=match) as caught:
            acml_search.encode([good, other])
        assert caught.value.row == 1


def test_build_query_and_embed_do_without_torch_geometric(tmp_path: Path) -> None:
    """In the main process and in workers: a module of that name that cannot be imported comes first."""
    (tmp_path / "torch_geometric.py").write_text("raise RuntimeError('torch_geometric was imported')\n")
    (tmp_path / "lib.smi").write_text("CCO\nCCN\nCC(=O)O\n")
    script = """
import acml_search
acml_search.build_index(["lib.smi"], out="index", workers=1)
acml_search.open_index("index").identify({"c_nmr": [58.0, 18.2]})
acml_search.encode(["CCO"])
"""
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
