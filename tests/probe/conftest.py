"""Makes the modules beside it importable: `from miniatures import build`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
