from __future__ import annotations

import datetime
import json
import logging
import re
from io import StringIO

import pytest

from djhookbox.process.logfiles import ACCESS, UnusableFile, logging_set_up
from djhookbox.wire import loglines


class TestLogging:
    @pytest.fixture(autouse=True)
    def no_handlers(self, monkeypatch):
        """Remove the handlers of pytest, as in a project without LOGGING."""
        logger = logging.getLogger("djhookbox.server")
        monkeypatch.setattr(logger, "hasHandlers", lambda: False)
        return logger

    def test_without_a_handler_it_goes_to_standard_error(self, capsys):
        with logging_set_up(None) as where:
            logging.getLogger("djhookbox.server").info("opened")
            logging.getLogger("djhookbox.server").debug("detail")
        logging.getLogger("djhookbox.server").info("afterwards")
        err = capsys.readouterr().err
        assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:,]+ INFO opened\n", err)
        assert "standard error" in where

    def test_the_level(self, capsys):
        with logging_set_up("debug"):
            logging.getLogger("djhookbox.server").debug("detail")
        assert "DEBUG detail" in capsys.readouterr().err

    def test_the_projects_handlers_are_respected(self, capsys, monkeypatch, no_handlers):
        monkeypatch.undo()
        stream = StringIO()
        handlers = [logging.StreamHandler(stream)]
        monkeypatch.setattr(logging.getLogger("djhookbox"), "handlers", handlers)
        with logging_set_up("info") as where:
            logging.getLogger("djhookbox.server").info("opened")
        assert stream.getvalue() == "opened\n"
        assert capsys.readouterr().err == ""
        assert "LOGGING" in where

    def test_afterwards_all_is_as_before(self):
        logger = logging.getLogger("djhookbox")
        before = (logger.level, list(logger.handlers))
        with logging_set_up("error"):
            assert (logger.level, list(logger.handlers)) != before
        assert (logger.level, list(logger.handlers)) == before

    def test_files_as_in_0_3_3(self, tmp_path, capsys):
        errors, access = tmp_path / "errors", tmp_path / "access"
        before = list(logging.getLogger(ACCESS).handlers)
        with logging_set_up("error", str(errors), str(access)):
            logging.getLogger("djhookbox.server").error("broken")
            logging.getLogger("djhookbox.server").info("a detail")
            logging.getLogger(ACCESS).info("somebody came")
        logging.getLogger(ACCESS).info("afterwards")
        when = r"\d{4}-\d\d-\d\d [\d:,]+"
        assert re.fullmatch(rf"{when} ERROR broken\n", errors.read_text())
        assert re.fullmatch(rf"{when} somebody came\n", access.read_text())
        assert re.fullmatch(rf"{when} ERROR broken\n", capsys.readouterr().err)
        logger = logging.getLogger(ACCESS)
        assert (logger.handlers, logger.propagate, logger.level) == (before, True, logging.NOTSET)

    @pytest.mark.parametrize("option", ["-E/--log-file-errors", "-A/--log-file-access"])
    def test_a_file_that_cannot_be_written(self, tmp_path, option):
        files = [str(tmp_path) if option[1] == letter else None for letter in "EA"]
        before = list(logging.getLogger("djhookbox").handlers)
        with pytest.raises(UnusableFile) as caught, logging_set_up(None, *files):
            pass
        assert option in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        assert logging.getLogger("djhookbox").handlers == before

    def test_json_lines_have_the_facts(self, capsys):
        with logging_set_up("info", form="json"):
            loglines.install()
            logger = logging.getLogger("djhookbox.server")
            logger.info(
                "Connection %s of %r closed", "c1", "a\nb", extra={"user": "a", "code": 1001}
            )
            try:
                raise ValueError("odd")
            except ValueError:
                logger.exception("A bug")
        first, second = map(json.loads, capsys.readouterr().err.splitlines())
        assert first["message"] == r"Connection c1 of 'a\nb' closed"
        assert (first["level"], first["logger"]) == ("info", "djhookbox.server")
        assert (first["user"], first["code"]) == ("a", 1001)
        assert "connection" not in first
        datetime.datetime.fromisoformat(first["time"])
        assert "ValueError: odd" in second["exception"]
