"""`python -m mongostore`: the command line."""

from mongostore.cli import main

main()
