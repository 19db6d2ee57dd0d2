"""Takes the steps of a framework for agents again and again, each time killed before a later write.

Conversations are named by the number of the fatal write. Prints for each how many steps were begun; all but
the last one of them were acknowledged.

Arguments: URI, database, the framework, limits of tails.
"""

import json
import sys
from collections.abc import Callable

from common import Killer, limits_of, play_until_killed
from frameworks import FRAMEWORKS

from mongostore import AsyncMongoStore


def main() -> None:
    """Run it to the end, one more write each time."""
    uri, database, name, limits = sys.argv[1:5]

    async def play(fatal: int, killer: Killer, begin: Callable[[], object]) -> None:
        async with AsyncMongoStore(uri, database, tail_limits=limits_of(limits)) as store:
            framework = FRAMEWORKS[name](store, str(fatal))
            killer.countdown = fatal
            for step in framework.steps:
                begin()
                await framework.do(*step)

    for fatal, begun in play_until_killed(play):
        sys.stdout.write(json.dumps([str(fatal), begun]) + "\n")
        sys.stdout.flush()


main()
