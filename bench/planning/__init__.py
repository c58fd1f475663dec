"""From a sweep file and a profile to a list of runs with prices."""
