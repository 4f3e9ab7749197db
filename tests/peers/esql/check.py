"""Reads an ES|QL query with the grammar of Elasticsearch itself; says what is wrong with it and exits with 1."""

import sys

from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from esql_parser.EsqlBaseLexer import EsqlBaseLexer
from esql_parser.EsqlBaseParser import EsqlBaseParser


class Errors(ErrorListener):
    def __init__(self):
        self.found = []

    def syntaxError(self, recognizer, symbol, line, column, message, error):
        self.found.append(f"{line}:{column}: {message}")


errors = Errors()
lexer = EsqlBaseLexer(InputStream(sys.stdin.read()))
parser = EsqlBaseParser(CommonTokenStream(lexer))
for part in (lexer, parser):
    part.removeErrorListeners()
    part.addErrorListener(errors)
parser.singleStatement()
print("\n".join(errors.found))
sys.exit(bool(errors.found))
