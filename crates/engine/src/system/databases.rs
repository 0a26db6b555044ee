//! Databases: all names lead to the same one.

use forebay_catalog::BOOTSTRAP_ROLE_OID;

use super::directory::Relations;
use super::relation::{NULL, Row, boolean, int, oid, relation, text};
use crate::{DATABASE, SessionFacts};

/// Object id of the one database, as of PostgreSQL's first.
pub(super) const DATABASE_OID: u32 = 1;

/// Object id that PostgreSQL's `postgres` has.
const POSTGRES_OID: u32 = 5;

/// Object id of a database that only the one who asks calls so.
const OTHER_OID: u32 = 6;

/// PostgreSQL's number of UTF-8.
const UTF8: i32 = 6;

/// Object id of tablespace `pg_default`.
const DEFAULT_TABLESPACE_OID: u32 = 1663;

const PG_DATABASE: &str = "oid oid, datname name, datdba oid, encoding int4, \
    datlocprovider char, datistemplate bool, datallowconn bool, datconnlimit int4, \
    datfrozenxid xid, datminmxid xid, dattablespace oid, datcollate text, datctype text, \
    daticulocale text, datcollversion text, datacl aclitem[]";

pub(super) fn all(relations: &mut Relations) {
    relations.add("pg_database", relation(PG_DATABASE, database_rows));
}

/// The object id of the database that `asker` is connected to.
pub(super) fn database_oid(name: &str) -> u32 {
    match name {
        DATABASE => DATABASE_OID,
        "postgres" => POSTGRES_OID,
        _ => OTHER_OID,
    }
}

fn database_rows(asker: &SessionFacts) -> Vec<Row> {
    let mut names = vec![DATABASE, "postgres"];
    if !names.contains(&asker.database.as_str()) {
        names.push(&asker.database);
    }
    names.into_iter().map(database_row).collect()
}

fn database_row(name: &str) -> Row {
    vec![
        oid(database_oid(name)),
        text(name),
        oid(BOOTSTRAP_ROLE_OID),
        int(UTF8),
        text("c"),
        boolean(false),
        boolean(true),
        int(-1),
        int(0),
        int(0),
        oid(DEFAULT_TABLESPACE_OID),
        text("C"),
        text("C"),
        NULL,
        NULL,
        NULL,
    ]
}
