//! Roles: `pg_authid`, and the views of it.

use datafusion::common::ScalarValue;
use forebay_catalog::{BOOTSTRAP_ROLE_OID, Role};

use super::directory::Relations;
use super::relation::{NULL, Row, boolean, int, oid, relation, text, texts, time};

/// What PostgreSQL shows instead of a password.
const HIDDEN: &str = "********";

const PG_AUTHID: &str = "oid oid, rolname name, rolsuper bool, rolinherit bool, \
    rolcreaterole bool, rolcreatedb bool, rolcanlogin bool, rolreplication bool, \
    rolbypassrls bool, rolconnlimit int4, rolpassword text, rolvaliduntil timestamptz, \
    rolresqueue oid";

const PG_ROLES: &str = "rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, \
    rolcreatedb bool, rolcanlogin bool, rolreplication bool, rolconnlimit int4, \
    rolpassword text, rolvaliduntil timestamptz, rolbypassrls bool, rolconfig text[], oid oid, \
    rolresqueue oid";

/// The columns of `pg_user` and `pg_shadow`.
const PG_USER: &str = "usename name, usesysid oid, usecreatedb bool, usesuper bool, \
    userepl bool, usebypassrls bool, passwd text, valuntil timestamptz, useconfig text[]";

pub(super) fn all(relations: &mut Relations) {
    relations.add("pg_authid", of_roles(PG_AUTHID, |_| true, authid_row));
    relations.add("pg_roles", of_roles(PG_ROLES, |_| true, role_row));
    relations.add("pg_user", of_roles(PG_USER, |r| r.login, user_row));
    relations.add("pg_shadow", of_roles(PG_USER, |r| r.login, user_row));
    relations.add(
        "pg_group",
        of_roles(
            "groname name, grosysid oid, grolist oid[]",
            |r| !r.login,
            |role| vec![text(&role.name), oid(role.oid), NULL],
        ),
    );
    relations.add(
        "pg_db_role_setting",
        of_roles(
            "setdatabase oid, setrole oid, setconfig text[]",
            |r| !r.settings.is_empty(),
            |role| vec![oid(0), oid(role.oid), configuration(role)],
        ),
    );
}

fn of_roles(
    columns: &str,
    listed: fn(&Role) -> bool,
    row: fn(&Role) -> Row,
) -> std::sync::Arc<dyn datafusion::catalog::TableProvider> {
    relation(columns, move |asker| {
        let roles = asker.snapshot.roles().filter(|r| listed(r));
        roles.map(|r| row(r)).collect()
    })
}

fn authid_row(role: &Role) -> Row {
    vec![
        oid(role.oid),
        text(&role.name),
        boolean(role.superuser),
        boolean(role.inherit),
        boolean(role.create_role),
        boolean(role.create_db),
        boolean(role.login),
        boolean(role.replication),
        bypasses_row_security(role),
        int(role.connection_limit),
        text(HIDDEN),
        valid_until(role),
        oid(role.resource_queue),
    ]
}

fn role_row(role: &Role) -> Row {
    vec![
        text(&role.name),
        boolean(role.superuser),
        boolean(role.inherit),
        boolean(role.create_role),
        boolean(role.create_db),
        boolean(role.login),
        boolean(role.replication),
        int(role.connection_limit),
        text(HIDDEN),
        valid_until(role),
        bypasses_row_security(role),
        configuration(role),
        oid(role.oid),
        oid(role.resource_queue),
    ]
}

fn user_row(role: &Role) -> Row {
    vec![
        text(&role.name),
        oid(role.oid),
        boolean(role.create_db),
        boolean(role.superuser),
        boolean(role.replication),
        bypasses_row_security(role),
        text(HIDDEN),
        valid_until(role),
        configuration(role),
    ]
}

/// The attribute of its own that PostgreSQL gives to the bootstrap role; nobody else can have it.
fn bypasses_row_security(role: &Role) -> ScalarValue {
    boolean(role.oid == BOOTSTRAP_ROLE_OID)
}

fn valid_until(role: &Role) -> ScalarValue {
    let text = role.valid_until.as_deref();
    time(text.and_then(|t| t.parse().ok()))
}

fn configuration(role: &Role) -> ScalarValue {
    if role.settings.is_empty() {
        return NULL;
    }
    let settings = role.settings.iter();
    texts(settings.map(|(name, value)| format!("{name}={value}")))
}
