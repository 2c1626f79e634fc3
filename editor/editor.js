// The editor of OpenChemLib as the page uses it: built into one file by `make page`.
import { CanvasEditor, Molecule } from "openchemlib";

// An editor in `place`; `drawn` is called with the SMILES of what a user draws. Returns what shows a SMILES.
export function edit(place, drawn) {
  const editor = new CanvasEditor(place, { initialMode: "molecule" });
  editor.setOnChangeListener((event) => {
    if (event.type === "molecule" && event.isUserEvent) drawn(editor.getMolecule().toIsomericSmiles());
  });
  return (smiles) => {
    if (smiles) editor.setMolecule(Molecule.fromSmiles(smiles));
    else editor.clearAll();
  };
}
