"""`python -m hires_nst`."""

from hires_nst.cli import main

if __name__ == "__main__":
    main()
