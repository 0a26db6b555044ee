//! Metadata calls. Each is a query on the system catalog, which goes the way of every statement.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use forebay_sql::ImpalaStatement;

use super::text;
use crate::error::Error;
use crate::front::{Caller, Front};
use crate::operation::Operation;
use crate::session::ClientSession;
use crate::wire::idl::{
    TGetColumnsReq, TGetCrossReferenceReq, TGetFunctionsReq, TGetPrimaryKeysReq, TGetSchemasReq,
    TGetTablesReq, TOperationType, TSessionReq,
};

/// Impala's name of a schema.
const DATABASE: &str = "CASE table_schema WHEN 'public' THEN 'default' ELSE table_schema END";

/// A type of columns: its name, JDBC's code, digits, the base of the digits.
type TypeRow = (&'static str, i32, Option<i32>, Option<i32>);

const TYPES: [TypeRow; 11] = [
    ("BOOLEAN", 16, None, None),
    ("TINYINT", -6, Some(3), Some(10)),
    ("SMALLINT", 5, Some(5), Some(10)),
    ("INT", 4, Some(10), Some(10)),
    ("BIGINT", -5, Some(19), Some(10)),
    ("FLOAT", 6, Some(7), Some(2)),
    ("DOUBLE", 8, Some(15), Some(2)),
    ("DECIMAL", 3, Some(38), Some(10)),
    ("TIMESTAMP", 93, Some(29), None),
    ("DATE", 91, Some(10), None),
    ("BINARY", -2, None, None),
];

/// Every other type is a text.
const TEXT: (&str, i32) = ("STRING", 12);

/// Types that literals and casts may name, beside those above.
const MORE_TYPES: [(&str, i32, Option<i32>); 3] =
    [TEXT_TYPE, ("VARCHAR", 12, None), ("CHAR", 1, None)];

const TEXT_TYPE: (&str, i32, Option<i32>) = (TEXT.0, TEXT.1, None);

/// A column's type without its digits.
const TYPE_NAME: &str = "split_part(impala_type, '(', 1)";

impl Front {
    pub(super) async fn schemas(
        &self,
        caller: &Caller,
        request: TGetSchemasReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let database = DATABASE.replace("table_schema", "schema_name");
        let filter = filter(&[(&database, pattern(request.schema_name.as_ref())?)]);
        let sql = format!(
            "SELECT {database} AS \"TABLE_SCHEM\", '' AS \"TABLE_CATALOG\" \
             FROM information_schema.schemata WHERE {filter} ORDER BY 1"
        );
        self.ask(&session, TOperationType::GET_SCHEMAS, sql).await
    }

    pub(super) async fn tables(
        &self,
        caller: &Caller,
        request: TGetTablesReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let mut filter = filter(&[
            (DATABASE, pattern(request.schema_name.as_ref())?),
            ("table_name", pattern(request.table_name.as_ref())?),
        ]);
        if let Some(types) = request.table_types.filter(|types| !types.is_empty()) {
            let mut listed = Vec::new();
            for kind in &types {
                listed.push(literal(
                    &text(Some(kind))?.unwrap_or_default().to_uppercase(),
                ));
            }
            let _ = write!(filter, " AND kind IN ({})", listed.join(", "));
        }
        let sql = format!(
            "SELECT '' AS \"TABLE_CAT\", {DATABASE} AS \"TABLE_SCHEM\", table_name AS \"TABLE_NAME\", \
             kind AS \"TABLE_TYPE\", coalesce(comment, '') AS \"REMARKS\" \
             FROM forebay.relations WHERE {filter} ORDER BY 2, 3"
        );
        self.ask(&session, TOperationType::GET_TABLES, sql).await
    }

    pub(super) async fn columns(
        &self,
        caller: &Caller,
        request: TGetColumnsReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let filter = filter(&[
            (DATABASE, pattern(request.schema_name.as_ref())?),
            ("table_name", pattern(request.table_name.as_ref())?),
            ("column_name", pattern(request.column_name.as_ref())?),
        ]);
        let code = by_type(|(_, code, ..)| code.to_string(), &TEXT.1.to_string());
        let name = by_type(|(name, ..)| literal(name), &literal(TEXT.0));
        let size = by_type(|(.., digits, _)| number(digits), "NULL");
        // Digits of decimals are those of the column.
        let size = format!("coalesce(CAST(numeric_precision AS integer), {size})");
        let radix = by_type(|(.., radix)| number(radix), "NULL");
        let sql = format!(
            "SELECT '' AS \"TABLE_CAT\", {DATABASE} AS \"TABLE_SCHEM\", table_name AS \"TABLE_NAME\", \
             column_name AS \"COLUMN_NAME\", {code} AS \"DATA_TYPE\", {name} AS \"TYPE_NAME\", \
             {size} AS \"COLUMN_SIZE\", CAST(NULL AS smallint) AS \"BUFFER_LENGTH\", \
             CAST(numeric_scale AS integer) AS \"DECIMAL_DIGITS\", {radix} AS \"NUM_PREC_RADIX\", \
             1 AS \"NULLABLE\", coalesce(comment, '') AS \"REMARKS\", CAST(NULL AS text) AS \"COLUMN_DEF\", \
             CAST(NULL AS integer) AS \"SQL_DATA_TYPE\", CAST(NULL AS integer) AS \"SQL_DATETIME_SUB\", \
             CAST(NULL AS integer) AS \"CHAR_OCTET_LENGTH\", \
             CAST(ordinal_position AS integer) AS \"ORDINAL_POSITION\", 'YES' AS \"IS_NULLABLE\", \
             CAST(NULL AS text) AS \"SCOPE_CATALOG\", CAST(NULL AS text) AS \"SCOPE_SCHEMA\", \
             CAST(NULL AS text) AS \"SCOPE_TABLE\", CAST(NULL AS smallint) AS \"SOURCE_DATA_TYPE\", \
             'NO' AS \"IS_AUTO_INCREMENT\" \
             FROM forebay.columns WHERE {filter} ORDER BY 2, 3, 17"
        );
        self.ask(&session, TOperationType::GET_COLUMNS, sql).await
    }

    pub(super) async fn functions(
        &self,
        caller: &Caller,
        request: TGetFunctionsReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let filter = filter(&[
            ("column1", pattern(Some(&request.function_name))?),
            ("'_impala_builtins'", pattern(request.schema_name.as_ref())?),
        ]);
        let names = forebay_sql::impala_functions().map(|name| format!("({})", literal(name)));
        let names: Vec<String> = names.collect();
        let sql = format!(
            "SELECT '' AS \"FUNCTION_CAT\", '_impala_builtins' AS \"FUNCTION_SCHEM\", \
             column1 AS \"FUNCTION_NAME\", '' AS \"REMARKS\", 1 AS \"FUNCTION_TYPE\", \
             column1 AS \"SPECIFIC_NAME\" \
             FROM (VALUES {}) f WHERE {filter} ORDER BY 3",
            names.join(", ")
        );
        self.ask(&session, TOperationType::GET_FUNCTIONS, sql).await
    }

    pub(super) async fn catalogs(
        &self,
        caller: &Caller,
        request: TSessionReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        // As in Impala, there are no catalogs above the databases.
        let sql = "SELECT CAST('' AS text) AS \"TABLE_CAT\" WHERE false".to_owned();
        self.ask(&session, TOperationType::GET_CATALOGS, sql).await
    }

    pub(super) async fn table_types(
        &self,
        caller: &Caller,
        request: TSessionReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let sql = "SELECT column1 AS \"TABLE_TYPE\" FROM (VALUES ('TABLE'), ('VIEW')) t ORDER BY 1";
        self.ask(&session, TOperationType::GET_TABLE_TYPES, sql.to_owned())
            .await
    }

    pub(super) async fn type_info(
        &self,
        caller: &Caller,
        request: TSessionReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let listed = TYPES.map(|(name, code, digits, _)| (name, code, digits));
        let rows: Vec<String> = listed
            .iter()
            .chain(&MORE_TYPES)
            .map(|(name, code, digits)| format!("({}, {code}, {})", literal(name), number(*digits)))
            .collect();
        let null = |kind: &str, name: &str| format!("CAST(NULL AS {kind}) AS \"{name}\"");
        let sql = format!(
            "SELECT column1 AS \"TYPE_NAME\", column2 AS \"DATA_TYPE\", column3 AS \"PRECISION\", \
             {}, {}, {}, CAST(1 AS smallint) AS \"NULLABLE\", false AS \"CASE_SENSITIVE\", \
             CAST(3 AS smallint) AS \"SEARCHABLE\", false AS \"UNSIGNED_ATTRIBUTE\", \
             false AS \"FIXED_PREC_SCALE\", false AS \"AUTO_INCREMENT\", \
             column1 AS \"LOCAL_TYPE_NAME\", CAST(0 AS smallint) AS \"MINIMUM_SCALE\", \
             CAST(0 AS smallint) AS \"MAXIMUM_SCALE\", {}, {}, 10 AS \"NUM_PREC_RADIX\" \
             FROM (VALUES {}) t",
            null("text", "LITERAL_PREFIX"),
            null("text", "LITERAL_SUFFIX"),
            null("text", "CREATE_PARAMS"),
            null("integer", "SQL_DATA_TYPE"),
            null("integer", "SQL_DATETIME_SUB"),
            rows.join(", ")
        );
        self.ask(&session, TOperationType::GET_TYPE_INFO, sql).await
    }

    /// Tables have no keys: the columns of such an answer, and no rows.
    pub(super) async fn primary_keys(
        &self,
        caller: &Caller,
        request: TGetPrimaryKeysReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let sql = no_rows(&[
            ("TABLE_CAT", "text"),
            ("TABLE_SCHEM", "text"),
            ("TABLE_NAME", "text"),
            ("COLUMN_NAME", "text"),
            ("KEQ_SEQ", "integer"),
            ("PK_NAME", "text"),
        ]);
        self.ask(&session, TOperationType::UNKNOWN, sql).await
    }

    /// As for [`Self::primary_keys`].
    pub(super) async fn cross_reference(
        &self,
        caller: &Caller,
        request: TGetCrossReferenceReq,
    ) -> Result<Arc<Operation>, Error> {
        let session = self.session(caller, &request.session_handle)?;
        let sql = no_rows(&[
            ("PKTABLE_CAT", "text"),
            ("PKTABLE_SCHEM", "text"),
            ("PKTABLE_NAME", "text"),
            ("PKCOLUMN_NAME", "text"),
            ("FKTABLE_CAT", "text"),
            ("FKTABLE_SCHEM", "text"),
            ("FKTABLE_NAME", "text"),
            ("FKCOLUMN_NAME", "text"),
            ("KEQ_SEQ", "integer"),
            ("UPDATE_RULE", "smallint"),
            ("DELETE_RULE", "smallint"),
            ("FK_NAME", "text"),
            ("PK_NAME", "text"),
            ("DEFERRABILITY", "smallint"),
        ]);
        self.ask(&session, TOperationType::UNKNOWN, sql).await
    }

    /// Begins an operation that answers with the rows of a query.
    async fn ask(
        &self,
        client: &Arc<ClientSession>,
        operation_type: TOperationType,
        sql: String,
    ) -> Result<Arc<Operation>, Error> {
        self.check_room(client)?;
        let mut parsed = forebay_sql::parse(&sql)
            .map_err(|error| Error::from(forebay_server::Error::from(error)))?;
        let parsed = Arc::new(parsed.pop().expect("one statement"));
        let options = client.options_with([])?;
        let text = Arc::clone(&parsed.text);
        let statement = ImpalaStatement::Catalog {
            query: parsed,
            schema: None,
        };
        self.start(client, options, operation_type, 0, text, statement)
            .await
    }
}

/// A query of these columns that gives no rows.
fn no_rows(columns: &[(&str, &str)]) -> String {
    let columns = columns
        .iter()
        .map(|(name, kind)| format!("CAST(NULL AS {kind}) AS \"{name}\""));
    let columns: Vec<String> = columns.collect();
    format!("SELECT {} WHERE false", columns.join(", "))
}

/// The regular expression of a pattern for names, `None` where every name will do. As in Impala: `%`
/// is any text, `_` any character, and all else is an expression already, as clients send `.*`.
fn pattern(name: Option<&Bytes>) -> Result<Option<String>, Error> {
    let name = text(name)?.unwrap_or_default();
    if ["", "%", "*", ".*"].contains(&name) {
        return Ok(None);
    }
    let mut expression = "^(".to_owned();
    let mut characters = name.chars();
    while let Some(c) = characters.next() {
        match c {
            '%' => expression.push_str(".*"),
            '_' => expression.push('.'),
            '\\' => match characters.next() {
                Some(c @ ('%' | '_')) => expression.push(c),
                Some(c) => expression.extend(['\\', c]),
                None => expression.push_str("\\\\"),
            },
            c => expression.extend(c.to_lowercase()),
        }
    }
    expression.push_str(")$");
    Ok(Some(expression))
}

/// What rows must fulfil for their columns to be as the patterns say.
fn filter(patterns: &[(&str, Option<String>)]) -> String {
    let wanted = patterns.iter().filter_map(|(column, pattern)| {
        let pattern = pattern.as_ref()?;
        Some(format!("lower({column}) ~ {}", literal(pattern)))
    });
    let wanted: Vec<String> = wanted.collect();
    match wanted.is_empty() {
        true => "true".to_owned(),
        false => wanted.join(" AND "),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn number(number: Option<i32>) -> String {
    number.map_or_else(|| "NULL".to_owned(), |number| number.to_string())
}

/// A value for each type of column, and one for all others.
fn by_type(value: impl Fn(TypeRow) -> String, other: &str) -> String {
    let mut case = format!("CASE {TYPE_NAME}");
    for row in TYPES {
        let _ = write!(case, " WHEN {} THEN {}", literal(row.0), value(row));
    }
    format!("{case} ELSE {other} END")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_impala_reads_them() {
        for (name, expected) in [
            ("", None),
            ("%", None),
            (".*", None),
            ("Nation", Some("^(nation)$")),
            ("n%_x", Some("^(n.*.x)$")),
            (r"a\_b", Some("^(a_b)$")),
            (r"a\", Some(r"^(a\\)$")),
            ("tpch.*", Some("^(tpch.*)$")),
        ] {
            let bytes = Bytes::copy_from_slice(name.as_bytes());
            assert_eq!(
                pattern(Some(&bytes)).unwrap().as_deref(),
                expected,
                "{name}"
            );
        }
    }
}
