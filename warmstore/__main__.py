"""`python -m warmstore`."""

from warmstore.cli import main

if __name__ == "__main__":
    main()
