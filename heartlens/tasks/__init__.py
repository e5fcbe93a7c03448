"""The models at work: `classify` (probability of a task head), `beats` (a beat detector on long recordings), `generate` (a signal goes on),
`estimate` (what a head of one's own was trained for: numbers in their units, several labels, windows of any length).

Each is a module with a function for Python and a command: `python -m heartlens.tasks.NAME`, or `heartlens NAME`. Not a medical device.
"""

NOT_MEDICAL = "not a medical device: for research, not for diagnosis"
