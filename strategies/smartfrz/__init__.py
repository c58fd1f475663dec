"""SmartFRZ (Li et al. 2023): a small network judges from a layer's history if it is done."""
