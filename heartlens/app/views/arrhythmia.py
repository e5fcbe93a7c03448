"""The view arrhythmia."""

from heartlens.app.views import View

VIEW = View("Arrhythmia", "To come.", {})
