"""`python -m heartlens.tasks.beats`."""

from heartlens.tasks.beats import TASK

if __name__ == "__main__":
    TASK.main()
