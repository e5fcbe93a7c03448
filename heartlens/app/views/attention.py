"""The view attention."""

from heartlens.app.views import View

VIEW = View("Attention", "To come.", {})
