"""`python -m gaitstream`."""

from gaitstream.cli import main

raise SystemExit(main())
