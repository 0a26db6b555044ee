"""What DBeaver's PostgreSQL driver asks while somebody opens its tree of databases, in words of ours.

It asks through the extended protocol, with parameters, and reads whole rows of the catalog (`c.*`).
A query that fails leaves a branch of the tree empty, so every one must be answered, also those for
what Forebay has not.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from forebay import TPCH_TABLES, Server

Rows = list[dict]


@pytest.fixture(scope="module")
def tree(server: Server) -> Iterator[psycopg.Connection]:
    """A connection, and a view beside the sample's tables."""
    with server.connect(row_factory=dict_row) as db:
        db.execute("SET application_name = 'DBeaver - Main <forebay>'")
        db.execute("CREATE VIEW dbeaver_view AS SELECT n_name, n_nationkey FROM nation")
        yield db
        db.execute("DROP VIEW dbeaver_view")


@pytest.fixture
def oids(tree: psycopg.Connection) -> dict[str, int]:
    """Object ids that DBeaver has read before and puts into later queries."""
    rows = tree.execute(
        "SELECT 'public' AS name, oid FROM pg_catalog.pg_namespace WHERE nspname = 'public' UNION ALL"
        " SELECT relname, oid FROM pg_catalog.pg_class WHERE relname IN ('orders', 'dbeaver_view')"
    ).fetchall()
    return {row["name"]: row["oid"] for row in rows}


def names(rows: Rows, column: str) -> set[str]:
    """The different values of a column."""
    return {row[column] for row in rows}


def of_one(column: str, expected: object) -> Callable[[Rows], bool]:
    """Whether there is one row, with this value."""
    return lambda rows: [row[column] for row in rows] == [expected]


def nothing(rows: Rows) -> bool:
    """Whether there is no row."""
    return rows == []


# What is asked, with which parameters, and whether the answer is right.
QUESTIONS: dict[str, tuple[str, list[str], Callable[[Rows], bool]]] = {
    "who": (
        "SELECT current_schema() AS schema, session_user AS name, current_database() AS database",
        [],
        lambda rows: rows
        == [{"schema": "public", "name": getpass.getuser(), "database": "forebay"}],
    ),
    "search path": ("SHOW search_path", [], lambda rows: len(rows) == 1),
    "version": ("SELECT version()", [], lambda rows: rows[0]["version"].startswith("PostgreSQL 15")),
    "a database": (
        "SELECT db.oid, db.*, pg_catalog.pg_encoding_to_char(db.encoding) AS charset"
        " FROM pg_catalog.pg_database db WHERE datname = %s",
        ["forebay"],
        of_one("charset", "UTF8"),
    ),
    "databases": (
        "SELECT db.oid, db.*, ts.spcname FROM pg_catalog.pg_database db"
        " LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = db.dattablespace"
        " WHERE datallowconn AND NOT datistemplate ORDER BY db.datname",
        [],
        lambda rows: "forebay" in names(rows, "datname"),
    ),
    "schemas": (
        "SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n"
        " LEFT OUTER JOIN pg_catalog.pg_description d"
        " ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass"
        " ORDER BY nspname",
        [],
        lambda rows: {"public", "pg_catalog", "information_schema"} <= names(rows, "nspname"),
    ),
    "relations": (
        "SELECT c.oid, c.*, d.description,"
        " pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr,"
        " pg_catalog.pg_get_partkeydef(c.oid) AS partition_key"
        " FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d"
        " ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass"
        " WHERE c.relnamespace = %s AND c.relkind NOT IN ('i', 'I', 'c')",
        ["public"],
        lambda rows: {*TPCH_TABLES, "dbeaver_view"} <= names(rows, "relname")
        and names(rows, "relkind") == {"r", "v"}
        and names(rows, "partition_key") == {None},
    ),
    "owners": (
        "SELECT c.relname, r.rolname FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_roles r ON r.oid = c.relowner WHERE c.relnamespace = %s",
        ["public"],
        lambda rows: names(rows, "rolname") == {getpass.getuser()},
    ),
    "columns": (
        "SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) AS def_value,"
        " dsc.description, dep.objid FROM pg_catalog.pg_attribute a"
        " INNER JOIN pg_catalog.pg_class c ON a.attrelid = c.oid"
        " LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum"
        " LEFT OUTER JOIN pg_catalog.pg_description dsc"
        " ON c.oid = dsc.objoid AND a.attnum = dsc.objsubid"
        " LEFT OUTER JOIN pg_catalog.pg_depend dep ON dep.refobjid = a.attrelid"
        " AND dep.deptype = 'i' AND dep.refobjsubid = a.attnum AND dep.classid = dep.refclassid"
        " WHERE NOT a.attisdropped AND c.relkind NOT IN ('i', 'I', 'c') AND c.oid = %s"
        " ORDER BY a.attnum",
        ["orders"],
        lambda rows: [row["attnum"] for row in rows] == list(range(1, 10))
        and rows[3]["attname"] == "o_totalprice"
        and rows[3]["atttypmod"] == (15 << 16 | 2) + 4
        and rows[3]["attnotnull"],
    ),
    "constraints": (
        "SELECT c.oid, c.*, t.relname AS tabrelname, rt.relnamespace AS refnamespace, d.description,"
        " pg_catalog.pg_get_constraintdef(c.oid) AS definition FROM pg_catalog.pg_constraint c"
        " INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid"
        " LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid"
        " LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid"
        " AND d.objsubid = 0 AND d.classoid = 'pg_constraint'::regclass WHERE c.conrelid = %s",
        ["orders"],
        nothing,
    ),
    "indexes": (
        "SELECT i.*, i.indkey AS keys, c.relname, c.relnamespace, c.relam, c.reltablespace,"
        " tc.relname AS tabrelname, dsc.description,"
        " pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS pred_expr,"
        " pg_catalog.pg_relation_size(i.indexrelid) AS index_rel_size"
        " FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
        " INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid"
        " LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid = dsc.objoid"
        " WHERE i.indrelid = %s ORDER BY tabrelname, c.relname",
        ["orders"],
        nothing,
    ),
    "triggers": (
        "SELECT x.oid, x.*, p.pronamespace AS func_schema_id, d.description"
        " FROM pg_catalog.pg_trigger x LEFT OUTER JOIN pg_catalog.pg_proc p ON p.oid = x.tgfoid"
        " LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = x.oid AND d.objsubid = 0"
        " WHERE x.tgrelid = %s AND NOT x.tgisinternal",
        ["orders"],
        nothing,
    ),
    "rules": (
        "SELECT r.oid, r.*, pg_catalog.pg_get_ruledef(r.oid) AS definition"
        " FROM pg_catalog.pg_rewrite r WHERE r.ev_class = %s AND r.rulename <> '_RETURN'",
        ["dbeaver_view"],
        nothing,
    ),
    "policies": (
        "SELECT p.*, pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS using_expr,"
        " ARRAY(SELECT rolname FROM pg_catalog.pg_roles WHERE oid = ANY(p.polroles)) AS roles"
        " FROM pg_catalog.pg_policy p WHERE p.polrelid = %s",
        ["orders"],
        nothing,
    ),
    "inheritance": (
        "SELECT i.*, c.relnamespace FROM pg_catalog.pg_inherits i, pg_catalog.pg_class c"
        " WHERE i.inhrelid = %s AND c.oid = i.inhparent ORDER BY i.inhseqno",
        ["orders"],
        nothing,
    ),
    "partitions": (
        "SELECT c.*, i.inhrelid, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound"
        " FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s",
        ["orders"],
        nothing,
    ),
    "references": (
        "SELECT con.oid, con.conname, src.relname FROM pg_catalog.pg_constraint con"
        " JOIN pg_catalog.pg_class src ON src.oid = con.conrelid"
        " WHERE con.confrelid = %s AND con.contype = 'f'",
        ["orders"],
        nothing,
    ),
    "dependencies": (
        "SELECT DISTINCT dep.deptype, dep.classid, dep.objid, cl.relkind, attr.attname,"
        " pg_catalog.pg_get_expr(ad.adbin, ad.adrelid) AS adefval,"
        " CASE WHEN cl.relkind IS NOT NULL THEN cl.relkind::text || coalesce(dep.objsubid::text, '')"
        " WHEN tg.oid IS NOT NULL THEN 'T' WHEN ty.oid IS NOT NULL THEN 'y'"
        " WHEN pr.oid IS NOT NULL THEN 'p' WHEN rw.oid IS NOT NULL THEN 'R' ELSE '' END AS type"
        " FROM pg_catalog.pg_depend dep"
        " LEFT JOIN pg_catalog.pg_class cl ON dep.objid = cl.oid"
        " LEFT JOIN pg_catalog.pg_attribute attr"
        " ON dep.objid = attr.attrelid AND dep.objsubid = attr.attnum"
        " LEFT JOIN pg_catalog.pg_proc pr ON dep.objid = pr.oid"
        " LEFT JOIN pg_catalog.pg_trigger tg ON dep.objid = tg.oid"
        " LEFT JOIN pg_catalog.pg_type ty ON dep.objid = ty.oid"
        " LEFT JOIN pg_catalog.pg_rewrite rw ON dep.objid = rw.oid"
        " LEFT JOIN pg_catalog.pg_attrdef ad ON ad.oid = dep.objid"
        " WHERE dep.refobjid = %s ORDER BY type",
        ["orders"],
        nothing,
    ),
    "view's source": (
        "SELECT pg_catalog.pg_get_viewdef(%s, true) AS definition",
        ["dbeaver_view"],
        lambda rows: rows[0]["definition"] == " SELECT n_name, n_nationkey FROM nation;",
    ),
    "sizes": (
        "SELECT c.oid, c.relname, pg_catalog.pg_total_relation_size(c.oid) AS total_rel_size,"
        " pg_catalog.pg_relation_size(c.oid) AS rel_size FROM pg_catalog.pg_class c"
        " WHERE c.relnamespace = %s",
        ["public"],
        lambda rows: all(
            (row["rel_size"] > 0) == (row["relname"] in TPCH_TABLES) for row in rows
        ),
    ),
    "types": (
        "SELECT t.oid, t.*, c.relkind, d.description,"
        " pg_catalog.format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base_type_name"
        " FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid = t.typelem"
        " LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid = t.typrelid"
        " LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid = d.objoid"
        " WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c')"
        " AND (et.typcategory IS NULL OR et.typcategory <> 'C') ORDER BY t.oid",
        [],
        lambda rows: {"int4", "int8", "text", "numeric", "date", "timestamptz", "bool"}
        <= names(rows, "typname"),
    ),
    "types of a schema": (
        "SELECT t.oid, t.typname, t.typtype FROM pg_catalog.pg_type t WHERE t.typnamespace = %s"
        " AND (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c"
        " WHERE c.oid = t.typrelid))",
        ["public"],
        nothing,
    ),
    "a type": (
        "SELECT typcategory FROM pg_catalog.pg_type WHERE 1 <> 1 LIMIT 1",
        [],
        nothing,
    ),
    "enumerations": (
        "SELECT e.oid, e.* FROM pg_catalog.pg_enum e ORDER BY e.enumtypid, e.enumsortorder",
        [],
        nothing,
    ),
    "roles": (
        "SELECT a.oid, a.*, pd.description FROM pg_catalog.pg_roles a"
        " LEFT JOIN pg_catalog.pg_shdescription pd ON a.oid = pd.objoid ORDER BY a.rolname",
        [],
        lambda rows: any(row["rolname"] == getpass.getuser() and row["rolsuper"] for row in rows),
    ),
    "members": (
        "SELECT m.*, r.rolname FROM pg_catalog.pg_auth_members m"
        " JOIN pg_catalog.pg_roles r ON r.oid = m.roleid WHERE m.member = 10",
        [],
        nothing,
    ),
    "a role's privileges": (
        "SELECT * FROM information_schema.table_privileges WHERE table_schema = 'public'"
        " AND grantee = %s ORDER BY table_name",
        ["PUBLIC"],
        lambda rows: set(TPCH_TABLES) <= names(rows, "table_name"),
    ),
    "settings": (
        "SELECT * FROM pg_catalog.pg_settings WHERE name = %s",
        ["standard_conforming_strings"],
        of_one("setting", "on"),
    ),
    "extensions": (
        "SELECT e.oid, e.*, n.nspname FROM pg_catalog.pg_extension e"
        " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname",
        [],
        nothing,
    ),
    "available extensions": (
        "SELECT name, default_version, installed_version, comment"
        " FROM pg_catalog.pg_available_extensions ORDER BY name",
        [],
        nothing,
    ),
    "tablespaces": (
        "SELECT t.oid, t.*, pg_catalog.pg_tablespace_location(t.oid) AS loc"
        " FROM pg_catalog.pg_tablespace t ORDER BY t.oid",
        [],
        lambda rows: "pg_default" in names(rows, "spcname"),
    ),
    "functions of a schema": (
        "SELECT p.oid, p.*, pg_catalog.pg_get_expr(p.proargdefaults, 0) AS arg_defaults,"
        " l.lanname, d.description FROM pg_catalog.pg_proc p"
        " LEFT OUTER JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
        " LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = p.oid"
        " AND d.classoid = 'pg_proc'::regclass AND d.objsubid = 0"
        " WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = %s",
        ["pg_sleep"],
        lambda rows: [row["proargtypes"] for row in rows] == ["701"]
        and names(rows, "lanname") == {"internal"},
    ),
    "access methods": (
        "SELECT am.oid, am.* FROM pg_catalog.pg_am am ORDER BY am.oid",
        [],
        lambda rows: "btree" in names(rows, "amname"),
    ),
    "collations": (
        "SELECT c.oid, c.collname, n.nspname FROM pg_catalog.pg_collation c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace WHERE c.collname = 'C'",
        [],
        of_one("nspname", "pg_catalog"),
    ),
    "languages": (
        "SELECT l.oid, l.* FROM pg_catalog.pg_language l ORDER BY l.oid",
        [],
        lambda rows: "sql" in names(rows, "lanname"),
    ),
    "sequences": (
        "SELECT c.relname, s.* FROM pg_catalog.pg_sequence s"
        " JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid WHERE c.relnamespace = %s",
        ["public"],
        nothing,
    ),
    "foreign servers": (
        "SELECT fs.oid, fs.*, w.fdwname FROM pg_catalog.pg_foreign_server fs"
        " JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = fs.srvfdw",
        [],
        nothing,
    ),
    "event triggers": ("SELECT t.oid, t.* FROM pg_catalog.pg_event_trigger t", [], nothing),
    "keywords": (
        "SELECT string_agg(word, ',') AS words FROM pg_catalog.pg_get_keywords()"
        " WHERE word <> ALL ('{select,from,where}'::text[])",
        [],
        lambda rows: "vacuum" in rows[0]["words"].split(","),
    ),
    "privileges": (
        "SELECT has_table_privilege(%s, 'SELECT') AS readable,"
        " has_schema_privilege('public', 'USAGE') AS usable,"
        " has_database_privilege(current_database(), 'CONNECT') AS open,"
        " pg_has_role(current_user, 'USAGE') AS member",
        ["orders"],
        lambda rows: set(rows[0].values()) == {True},
    ),
    "sessions": (
        "SELECT sa.* FROM pg_catalog.pg_stat_activity sa WHERE sa.application_name LIKE %s",
        ["DBeaver%"],
        of_one("state", "active"),
    ),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_question(name: str, tree: psycopg.Connection, oids: dict[str, int]):
    """The question is answered, and the answer is right."""
    query, parameters, is_right = QUESTIONS[name]
    values = [oids.get(parameter, parameter) for parameter in parameters]
    rows = tree.execute(query, values or None).fetchall()
    assert is_right(rows), rows[:5]
