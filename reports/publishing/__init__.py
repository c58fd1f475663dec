"""Writing of the reports and the page of a sweep."""
