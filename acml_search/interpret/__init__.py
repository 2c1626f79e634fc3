"""What the graph space knows: probes, maps and attributions."""
