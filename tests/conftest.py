"""Types executed: every annotation of the package is checked while the tests run."""

from jaxtyping import install_import_hook

hook = install_import_hook("heartlens", "beartype.beartype")
