"""From a sweep and its results to the files of its reports and page."""
