"""
The crash storm: kill -9 falls on a gateway under load again and again, then its promises are counted from the tables.

    python -m tests.integration.crash --kills 30 --db flap --disk 64M --seed 1

Clients keep streams and whole answers running on several sockets, some of them hang up in the middle, and a provider
notes every request whose head it saw. Meanwhile the database is up, down, or killed, frozen and stopped in turn. The
last line of the output is the verdict; the exit code is 0 only when its three numbers are.
"""
