"""The process's settings from all their sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConfigurationError
from aigw.settings import Settings, keys, load


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write(self, text: str) -> None:
        (self.folder / "aigw.toml").write_text(text)

    def load(self, environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
        if (self.folder / "aigw.toml").exists():
            options.setdefault("config", "aigw.toml")
        return load(options, environ or {}, self.folder)

    def problems(self, environ: Mapping[str, str] | None = None, **options: Any) -> list[str]:
        return self.assertRaises(ConfigurationError, self.load, environ, **options).problems

    def test_nothing_said(self) -> None:
        """Without any setting the gateway listens on loopback only, keeps its data here, and wants tokens."""
        settings = self.load()
        self.assertEqual(settings.data_path(), self.folder / "aigw-data")
        self.assertTrue(all("interface=127.0.0.1" in one for one in (*settings.listen, *settings.control)))
        self.assertIsNone(settings.database)
        (gateway,) = settings.gateways()
        self.assertEqual((gateway.account, gateway.id, gateway.authentication), ("local", "default", True))

    def test_who_wins(self) -> None:
        """An option goes before the environment, which goes before the file."""
        self.write('data_dir = "file"\ndrain_s = 1\nlisten = ["tcp:1"]\ncontrol = ["tcp:5"]')
        environ = {"AIGW_DATA_DIR": "env", "AIGW_LISTEN": "tcp:2;tcp:3"}
        settings = self.load(environ, **{"data-dir": "option", "listen": [], "database": None})
        self.assertEqual(settings.data_path(), self.folder / "option")
        self.assertEqual(settings.listen, ("tcp:2", "tcp:3"))
        self.assertEqual(settings.control, ("tcp:5",))
        self.assertEqual(settings.drain_s, 1)

    def test_variables_reach_into_tables(self) -> None:
        """A key within a table has a variable too, and leaves its neighbours in the file alone."""
        self.write('[spool]\ndurability = "power"\nsegment_bytes = 65536')
        settings = self.load({"AIGW_SPOOL_SEGMENT_BYTES": "131072"})
        self.assertEqual((settings.spool.durability, settings.spool.segment_bytes), ("power", 131_072))

    def test_the_file_may_be_named_by_a_variable(self) -> None:
        """A container sets the path of the file in its environment."""
        (self.folder / "other.toml").write_text("drain_s = 2")
        self.assertEqual(load({}, {"AIGW_CONFIG": "other.toml"}, self.folder).drain_s, 2)

    def test_paths_in_the_file_start_at_the_file(self) -> None:
        """The same file gives the same data folder from whichever directory a command is run."""
        (self.folder / "etc").mkdir()
        (self.folder / "etc" / "aigw.toml").write_text('data_dir = "../data"')
        settings = load({"config": "etc/aigw.toml"}, {}, self.folder)
        self.assertEqual(settings.data_path().resolve(), self.folder.resolve() / "data")

    def test_mistakes_of_all_sources_at_once(self) -> None:
        """One start tells everything that is wrong in the file, the environment and the options."""
        self.write('drain = 1\nlisten = ["tcp:http:x"]')
        found = self.problems({"AIGW_DRAIN_S": "soon", "AIGW_DATADIR": "x"}, control=["foo:1"])
        self.assertEqual(
            [problem.partition(" ")[0] for problem in found],
            ["aigw.toml:", "AIGW_DATADIR:", "AIGW_DRAIN_S:", "listen[0]:", "control[0]:"],
        )
        self.assertIn("did you mean `drain_s`?", found[0])
        self.assertIn("did you mean `AIGW_DATA_DIR`?", found[1])

    def test_a_mistake_is_told_though_it_is_overruled(self) -> None:
        """A wrong value in the file is reported even where the environment has a right one."""
        self.write('drain_s = "soon"')
        self.assertEqual(len(self.problems({"AIGW_DRAIN_S": "3"})), 1)

    def test_no_toml(self) -> None:
        """A file with a slip in its syntax is told with the line."""
        self.write('listen = ["tcp:1"]\nwhat now\n')
        (problem,) = self.problems()
        self.assertIn("line 2", problem)

    def test_files_that_cannot_be_read(self) -> None:
        """A missing file, a folder, and a file that is no text are told by their name."""
        (problem,) = self.problems(config="missing.toml")
        self.assertEqual(problem, "missing.toml: cannot be read: No such file or directory")
        self.assertIn("cannot be read", self.problems(config=".")[0])
        (self.folder / "latin.toml").write_bytes(b"# one\n# caf\xe9\n")
        self.assertIn("line 2", self.problems(config="latin.toml")[0])

    def test_variables_of_others(self) -> None:
        """Variables for the command and for tests are no mistakes, and an empty variable is none that is set."""
        environ = {"AIGW_TOKEN": "aigw_x", "AIGW_TEST_SEED": "1", "AIGW_LISTEN": "", "PATH": "/bin"}
        self.assertEqual(self.load(environ).listen, Settings().listen)

    def test_gateways(self) -> None:
        """Gateways are declared by Cloudflare's field names, none twice; `default` is there without it."""
        self.write('[[gateway]]\nid = "a"\nauthentication = false\nlog_management = 10000\ncache_ttl = 60')
        self.assertEqual([gateway.id for gateway in self.load().gateways()], ["default", "a"])
        self.write('[[gateway]]\nid = "a"\n[[gateway]]\nid = "a"\n[[gateway]]\nid = "a"\naccount = "b"')
        self.assertEqual(self.problems(), ["gateway[1].id: `a` is declared twice in the account `local`"])
        self.write('[[gateway]]\nid = "default"\nauthentication = false')
        self.assertEqual([gateway.authentication for gateway in self.load().gateways()], [False])

    def test_providers(self) -> None:
        """A vendor's address is overridden and a provider of one's own is made by a table; half a provider is told."""
        self.write(
            '[providers.openai]\nbase_url = "http://10.0.0.5:9000/v1"\n[providers.custom-lab]\nbase_url = "http://lab"'
        )
        self.assertEqual(self.load().providers["openai"].base_url, "http://10.0.0.5:9000/v1")
        self.write("[providers.custom-lab]\n[providers.opena]\n[providers.groq]\nbase_ulr = 1")
        found = self.problems()
        self.assertEqual(
            [problem.partition(": ")[0] for problem in found],
            ["aigw.toml", "providers.custom-lab.base_url", "providers.opena"],
        )
        self.assertIn("did you mean `base_url`?", found[0])

    def test_a_password_is_not_repeated(self) -> None:
        """A DSN in the wrong place does not show up on the terminal or in the journal."""
        self.write('drain_s = 1\nlisten = "postgresql://me:sesame@host/db"')
        self.assertNotIn("sesame", "".join(self.problems()))

    def test_a_database_that_cannot_be_read(self) -> None:
        """A DSN that is none is a mistake like any other, and its password stays out of the message."""
        for dsn in ("postgresql://me:se/same@host/db", "hots=x password=sesame", "service=prod"):
            (problem,) = self.problems({"AIGW_DATABASE": dsn})
            self.assertTrue(problem.startswith("database: "), problem)
            self.assertNotIn("same", problem)

    def test_values_that_contradict_each_other(self) -> None:
        """Tables that are right by themselves are held against each other, whichever source they came from."""
        (problem,) = self.problems({"AIGW_POOL_STATEMENT_S": "30"})
        self.assertTrue(problem.startswith("pool.answer_s: "))
        self.write("[postgres]\nconnections = 20")
        (problem,) = self.problems({"AIGW_POOL_CONNECTIONS": "18"})
        self.assertEqual(problem, "postgres.connections: must be at least 23, for pool.connections is 18")
        self.load({"AIGW_POOL_CONNECTIONS": "18", "AIGW_DATABASE": "host=there"})
        (problem,) = self.problems({"AIGW_SPOOL_SPOOL_BYTES": "65536"})
        self.assertIn("room for two segments", problem)


class KeysTests(SynchronousTestCase):
    def test_every_key_has_a_text(self) -> None:
        """Each setting says what it does, so the reference has no gaps."""
        self.assertEqual([key.path for key in keys() if not key.text], [])

    def test_variables_are_unambiguous(self) -> None:
        """No two keys share a variable."""
        variables = [key.environment for key in keys() if key.environment]
        self.assertEqual(len(variables), len(set(variables)))
