"""``python -m flexgym`` is the ``flexgym`` command."""

import sys

from flexgym.cli import main

sys.exit(main())
