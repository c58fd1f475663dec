"""What the paper claims, held against the runs by rules that are written down beside them."""
