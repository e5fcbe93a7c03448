"""The published checkpoints, from the shared folder."""

import pytest


@pytest.fixture(scope="session")
def published(shared, tmp_path_factory):
    """`published(name)`: the state dict and origin of a published checkpoint, read from the shared zips into a cache of its own."""
    from heartlens.models.load import read

    cache = tmp_path_factory.mktemp("cache")

    def state_of(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HEARTLENS_CHECKPOINTS", str(shared / "heartgpt/Model_files"))
            patch.setenv("HEARTLENS_CACHE", str(cache))
            return read(name)

    return state_of
