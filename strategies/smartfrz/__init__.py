"""SmartFRZ (Li et al. 2023): a small network reads layer histories and decides what freezes."""
