"""`python -m heartlens.tasks.classify`."""

from heartlens.tasks.classify import TASK

if __name__ == "__main__":
    TASK.main()
