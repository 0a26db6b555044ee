//! `has_table_privilege` and its kin.
//!
//! Nothing can be granted yet: everybody may read and connect, and only superusers may write
//! files or create anything but views.

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::{booleans, function, stable, strings};
use crate::{EngineError, SessionFacts};

/// Functions that are asked for an object and a privilege.
const FUNCTIONS: [&str; 13] = [
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_foreign_data_wrapper_privilege",
    "has_function_privilege",
    "has_language_privilege",
    "has_schema_privilege",
    "has_sequence_privilege",
    "has_server_privilege",
    "has_table_privilege",
    "has_tablespace_privilege",
    "has_type_privilege",
    "pg_has_role",
];

pub(super) fn all() -> Vec<ScalarUDF> {
    FUNCTIONS.map(asked).into()
}

/// `([user,] object, [column,] privilege)`.
fn asked(name: &'static str) -> ScalarUDF {
    let text = || DataType::Utf8;
    let object_only = if name == "has_column_privilege" { 3 } else { 2 };
    let signature = stable(&[
        &[text(), text()],
        &[text(), text(), text()],
        &[text(), text(), text(), text()],
    ]);
    function(name, signature, DataType::Boolean, move |args, asker| {
        let privileges = strings(args, args.args.len() - 1)?;
        let roles = if args.args.len() > object_only {
            Some(strings(args, 0)?)
        } else {
            None
        };
        let mut answers = Vec::with_capacity(privileges.len());
        for (row, privilege) in privileges.iter().enumerate() {
            let Some(privilege) = privilege else {
                answers.push(None);
                continue;
            };
            let role = roles.as_ref().map(|roles| roles.value(row));
            let superuser = is_superuser(asker, role)?;
            answers.push(Some(superuser || may_everybody(name, privilege)));
        }
        Ok(booleans(answers.into_iter()))
    })
}

/// Roles come by name or by object id.
fn is_superuser(asker: &SessionFacts, role: Option<&str>) -> Result<bool, EngineError> {
    let Some(role) = role else {
        return Ok(asker.superuser);
    };
    let found = match role.parse() {
        Ok(oid) => asker.snapshot.role_by_oid(oid),
        Err(_) => asker.snapshot.role(role),
    };
    match found {
        Some(role) => Ok(role.superuser),
        None => Err(EngineError::new(
            "42704",
            format!("role \"{role}\" does not exist"),
        )),
    }
}

/// Of several privileges one is enough.
fn may_everybody(function: &str, privileges: &str) -> bool {
    privileges.split(',').any(|privilege| {
        let privilege = privilege.trim().to_uppercase();
        match privilege.as_str() {
            "SELECT" | "CONNECT" | "EXECUTE" => true,
            "USAGE" => function != "pg_has_role",
            "CREATE" => function == "has_schema_privilege",
            _ => false,
        }
    })
}
