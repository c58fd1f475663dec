"""Control methods: what a freezing strategy has to beat."""
