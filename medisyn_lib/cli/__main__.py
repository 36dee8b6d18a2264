"""`python -m medisyn_lib.cli`, which `accelerate launch -m` can call, too."""

import sys

from medisyn_lib.cli.main import main

sys.exit(main())
