"""Helper modules that several folders of tests share; a helper of one folder is kept beside its
tests."""
