//! `pg_stat_activity`, `pg_roles`, `pg_settings` and their relatives.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use forebay_catalog::Role;

use super::table::{
    Rows, bool_column, boolean, int, int_column, oid, oid_column, system_table, text, text_column,
    text_or_null, time, time_column,
};
use super::{Backend, BackendControl, SettingRow};
use crate::SessionFacts;

/// Our tables of `pg_catalog` by name.
pub(super) fn all(
    backends: &Arc<dyn BackendControl>,
) -> HashMap<&'static str, Arc<dyn TableProvider>> {
    HashMap::from([
        ("pg_stat_activity", activity(Arc::clone(backends))),
        ("pg_settings", settings(Arc::clone(backends))),
        ("pg_cursors", cursors(Arc::clone(backends))),
        ("pg_roles", roles()),
        ("pg_authid", roles()),
        ("pg_user", users()),
    ])
}

fn activity(backends: Arc<dyn BackendControl>) -> Arc<dyn TableProvider> {
    let columns = vec![
        oid_column("datid"),
        text_column("datname"),
        int_column("pid"),
        int_column("leader_pid"),
        oid_column("usesysid"),
        text_column("usename"),
        text_column("application_name"),
        text_column("client_addr"),
        text_column("client_hostname"),
        int_column("client_port"),
        time_column("backend_start"),
        time_column("xact_start"),
        time_column("query_start"),
        time_column("state_change"),
        text_column("wait_event_type"),
        text_column("wait_event"),
        text_column("state"),
        int_column("backend_xid"),
        int_column("backend_xmin"),
        text_column("query_id"),
        text_column("query"),
        text_column("backend_type"),
    ];
    let rows: Rows = Arc::new(move |asker| {
        let backends = backends.backends();
        backends
            .into_iter()
            .map(|b| activity_row(asker, b))
            .collect()
    });
    system_table(columns, rows)
}

/// PostgreSQL shows others' statements to superusers only.
fn activity_row(asker: &SessionFacts, backend: Backend) -> Vec<ScalarValue> {
    let role = asker.snapshot.role(&backend.user);
    let visible = asker.superuser || backend.user == asker.current_user;
    let (query, state) = if visible {
        (backend.query, Some(backend.state))
    } else {
        ("<insufficient privilege>".to_owned(), None)
    };
    let private_time = |t| time(if visible { t } else { None });
    vec![
        oid(1),
        text(backend.database),
        int(backend.pid),
        ScalarValue::Int32(None),
        role.map_or(ScalarValue::Int32(None), |r| oid(r.oid)),
        text(backend.user),
        text(backend.application_name),
        text_or_null(backend.client_address.filter(|_| visible)),
        ScalarValue::Utf8(None),
        int(backend.client_port),
        time(Some(backend.backend_start)),
        private_time(backend.transaction_start),
        private_time(backend.query_start),
        private_time(Some(backend.state_change)),
        text_or_null(backend.wait_event_type.filter(|_| visible)),
        text_or_null(backend.wait_event.filter(|_| visible)),
        text_or_null(state),
        ScalarValue::Int32(None),
        ScalarValue::Int32(None),
        text_or_null(backend.query_id.filter(|_| visible)),
        text(query),
        text("client backend"),
    ]
}

fn cursors(backends: Arc<dyn BackendControl>) -> Arc<dyn TableProvider> {
    let columns = vec![
        text_column("name"),
        text_column("statement"),
        bool_column("is_holdable"),
        bool_column("is_binary"),
        bool_column("is_scrollable"),
        time_column("creation_time"),
    ];
    let rows: Rows = Arc::new(move |asker| {
        let cursors = backends.cursors(asker.pid).into_iter();
        let row = |c: super::CursorRow| {
            vec![
                text(c.name),
                text(c.statement),
                boolean(c.holdable),
                boolean(false),
                boolean(false),
                time(Some(c.created)),
            ]
        };
        cursors.map(row).collect()
    });
    system_table(columns, rows)
}

fn settings(backends: Arc<dyn BackendControl>) -> Arc<dyn TableProvider> {
    let columns = vec![
        text_column("name"),
        text_column("setting"),
        text_column("unit"),
        text_column("category"),
        text_column("short_desc"),
        text_column("extra_desc"),
        text_column("context"),
        text_column("vartype"),
        text_column("source"),
        text_column("min_val"),
        text_column("max_val"),
        text_column("enumvals"),
        text_column("boot_val"),
        text_column("reset_val"),
        text_column("sourcefile"),
        int_column("sourceline"),
        bool_column("pending_restart"),
    ];
    let rows: Rows = Arc::new(move |asker| {
        let settings = backends.settings(asker);
        settings.into_iter().map(setting_row).collect()
    });
    system_table(columns, rows)
}

fn setting_row(row: SettingRow) -> Vec<ScalarValue> {
    let category = match row.name.split_once('.') {
        Some((prefix, _)) => format!("Customized Options / {prefix}"),
        None => "Client Connection Defaults".to_owned(),
    };
    vec![
        text(row.name),
        text(row.setting),
        text_or_null(row.unit),
        text(category),
        text(row.description),
        ScalarValue::Utf8(None),
        text(row.context),
        text(row.kind),
        text(row.source),
        ScalarValue::Utf8(None),
        ScalarValue::Utf8(None),
        ScalarValue::Utf8(None),
        text(row.boot_value),
        text(row.reset_value),
        ScalarValue::Utf8(None),
        ScalarValue::Int32(None),
        boolean(false),
    ]
}

fn roles() -> Arc<dyn TableProvider> {
    let columns = vec![
        oid_column("oid"),
        text_column("rolname"),
        bool_column("rolsuper"),
        bool_column("rolinherit"),
        bool_column("rolcreaterole"),
        bool_column("rolcreatedb"),
        bool_column("rolcanlogin"),
        bool_column("rolreplication"),
        int_column("rolconnlimit"),
        text_column("rolpassword"),
        time_column("rolvaliduntil"),
        bool_column("rolbypassrls"),
        text_column("rolconfig"),
    ];
    let rows: Rows = Arc::new(|asker| asker.snapshot.roles().map(|r| role_row(r)).collect());
    system_table(columns, rows)
}

fn role_row(role: &Role) -> Vec<ScalarValue> {
    vec![
        oid(role.oid),
        text(role.name.clone()),
        boolean(role.superuser),
        boolean(role.inherit),
        boolean(role.create_role),
        boolean(role.create_db),
        boolean(role.login),
        boolean(role.replication),
        int(role.connection_limit),
        text("********"),
        time(valid_until(role)),
        boolean(role.superuser),
        text_or_null(configuration(role)),
    ]
}

fn valid_until(role: &Role) -> Option<chrono::DateTime<chrono::Utc>> {
    let text = role.valid_until.as_deref()?;
    text.parse().ok()
}

fn configuration(role: &Role) -> Option<String> {
    let pairs: Vec<String> = role
        .settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (!pairs.is_empty()).then(|| format!("{{{}}}", pairs.join(",")))
}

fn users() -> Arc<dyn TableProvider> {
    let columns = vec![
        text_column("usename"),
        oid_column("usesysid"),
        bool_column("usecreatedb"),
        bool_column("usesuper"),
        bool_column("userepl"),
        bool_column("usebypassrls"),
        text_column("passwd"),
        time_column("valuntil"),
        text_column("useconfig"),
    ];
    let rows: Rows = Arc::new(|asker| {
        let roles = asker.snapshot.roles().filter(|r| r.login);
        roles.map(|r| user_row(r)).collect()
    });
    system_table(columns, rows)
}

fn user_row(role: &Role) -> Vec<ScalarValue> {
    vec![
        text(role.name.clone()),
        oid(role.oid),
        boolean(role.create_db),
        boolean(role.superuser),
        boolean(role.replication),
        boolean(role.superuser),
        text("********"),
        time(valid_until(role)),
        text_or_null(configuration(role)),
    ]
}
