//! What sessions do and have: `pg_stat_activity`, `pg_settings`, `pg_cursors`,
//! `pg_prepared_statements`.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;

use super::databases::database_oid;
use super::directory::Relations;
use super::relation::{NULL, Row, boolean, int, oid, relation, text, text_or_null, texts, time};
use super::types;
use super::{Backend, BackendControl, CursorRow, PreparedRow, SettingRow};
use crate::SessionFacts;

const PG_STAT_ACTIVITY: &str = "datid oid, datname name, pid int4, leader_pid int4, \
    usesysid oid, usename name, application_name text, client_addr inet, client_hostname text, \
    client_port int4, backend_start timestamptz, xact_start timestamptz, \
    query_start timestamptz, state_change timestamptz, wait_event_type text, wait_event text, \
    state text, backend_xid xid, backend_xmin xid, query_id text, query text, backend_type text";

const PG_CURSORS: &str = "name text, statement text, is_holdable bool, is_binary bool, \
    is_scrollable bool, creation_time timestamptz";

const PG_PREPARED_STATEMENTS: &str = "name text, statement text, prepare_time timestamptz, \
    parameter_types text[], from_sql bool, generic_plans int8, custom_plans int8";

const PG_SETTINGS: &str = "name text, setting text, unit text, category text, short_desc text, \
    extra_desc text, context text, vartype text, source text, min_val text, max_val text, \
    enumvals text[], boot_val text, reset_val text, sourcefile text, sourceline int4, \
    pending_restart bool";

pub(super) fn all(relations: &mut Relations, backends: &Arc<dyn BackendControl>) {
    let sessions = Arc::clone(backends);
    let activity = relation(PG_STAT_ACTIVITY, move |asker| {
        let backends = sessions.backends().into_iter();
        backends.map(|b| activity_row(asker, b)).collect()
    });
    relations.add("pg_stat_activity", activity);
    let sessions = Arc::clone(backends);
    let settings = relation(PG_SETTINGS, move |asker| {
        let settings = sessions.settings(asker).into_iter();
        settings.map(setting_row).collect()
    });
    relations.add("pg_settings", settings);
    let sessions = Arc::clone(backends);
    let cursors = relation(PG_CURSORS, move |asker| {
        let cursors = sessions.cursors(asker.pid).into_iter();
        cursors.map(cursor_row).collect()
    });
    relations.add("pg_cursors", cursors);
    let sessions = Arc::clone(backends);
    let prepared = relation(PG_PREPARED_STATEMENTS, move |asker| {
        let prepared = sessions.prepared_statements(asker.pid).into_iter();
        prepared.map(prepared_row).collect()
    });
    relations.add("pg_prepared_statements", prepared);
}

fn activity_row(asker: &SessionFacts, backend: Backend) -> Row {
    let role = asker.snapshot.role(&backend.user);
    let visible = backend.is_visible_to(asker);
    let query = backend.query_for(asker).to_owned();
    let state = visible.then_some(backend.state);
    let private_time = |t| time(if visible { t } else { None });
    vec![
        oid(database_oid(&backend.database)),
        text(backend.database),
        int(backend.pid),
        NULL,
        role.map_or(NULL, |r| oid(r.oid)),
        text(backend.user),
        text(backend.application_name),
        text_or_null(backend.client_address.filter(|_| visible)),
        NULL,
        int(backend.client_port),
        time(Some(backend.backend_start)),
        private_time(backend.transaction_start),
        private_time(backend.query_start),
        private_time(Some(backend.state_change)),
        text_or_null(backend.wait_event_type.filter(|_| visible)),
        text_or_null(backend.wait_event.filter(|_| visible)),
        text_or_null(state),
        NULL,
        NULL,
        text_or_null(backend.query_id.filter(|_| visible)),
        text(query),
        text("client backend"),
    ]
}

fn cursor_row(cursor: CursorRow) -> Row {
    vec![
        text(cursor.name),
        text(cursor.statement),
        boolean(cursor.holdable),
        boolean(false),
        boolean(false),
        time(Some(cursor.created)),
    ]
}

fn prepared_row(prepared: PreparedRow) -> Row {
    let parameters = prepared.parameters.into_iter().map(|data_type| {
        let oid = data_type.map_or(types::TEXT, |t| {
            types::of_column(&Arc::new(Field::new("", t, true))).0
        });
        types::sql_name(oid, None)
    });
    vec![
        text(prepared.name),
        text(prepared.statement.as_ref()),
        time(Some(prepared.prepared)),
        texts(parameters),
        boolean(prepared.from_sql),
        NULL,
        NULL,
    ]
}

fn setting_row(row: SettingRow) -> Row {
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
        NULL,
        text(row.context),
        text(row.kind),
        text(row.source),
        NULL,
        NULL,
        NULL,
        text(row.boot_value),
        text(row.reset_value),
        NULL,
        NULL,
        boolean(false),
    ]
}
