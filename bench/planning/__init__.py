"""Planning: a sweep file and a profile become a list of runs with estimated costs."""
