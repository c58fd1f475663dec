"""SmartFRZ (Li et al. 2023): a small network decides from a layer's history whether it freezes."""
