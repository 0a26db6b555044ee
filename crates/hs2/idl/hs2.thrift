// HiveServer2 as Forebay serves it: TCLIService, with what Impala has added.
//
// Written from what clients send and expect. Only what is served is here; fields that are never read or
// written are left out, because the binary protocol skips what it does not know.
//
// Texts that clients send are `binary`: nobody has checked yet that they are UTF-8.

namespace rs hs2

enum TStatusCode {
  SUCCESS = 0,
  SUCCESS_WITH_INFO = 1,
  STILL_EXECUTING = 2,
  ERROR = 3,
}

enum TOperationState {
  INITIALIZED = 0,
  RUNNING = 1,
  FINISHED = 2,
  CANCELED = 3,
  CLOSED = 4,
  ERROR = 5,
  UNKNOWN = 6,
  PENDING = 7,
}

enum TOperationType {
  EXECUTE_STATEMENT = 0,
  GET_TYPE_INFO = 1,
  GET_CATALOGS = 2,
  GET_SCHEMAS = 3,
  GET_TABLES = 4,
  GET_TABLE_TYPES = 5,
  GET_COLUMNS = 6,
  GET_FUNCTIONS = 7,
  // What the protocol has no kind for: keys.
  UNKNOWN = 8,
}

enum TTypeId {
  BOOLEAN = 0,
  TINYINT = 1,
  SMALLINT = 2,
  INT = 3,
  BIGINT = 4,
  FLOAT = 5,
  DOUBLE = 6,
  STRING = 7,
  TIMESTAMP = 8,
  BINARY = 9,
  DECIMAL = 15,
  NULL_TYPE = 16,
  DATE = 17,
  VARCHAR = 18,
  CHAR = 19,
}

struct THandleIdentifier {
  1: required binary guid,
  2: required binary secret,
}

struct TSessionHandle {
  1: required THandleIdentifier session_id,
}

struct TOperationHandle {
  1: required THandleIdentifier operation_id,
  2: required i32 operation_type,
  3: required bool has_result_set,
  4: optional double modified_row_count,
}

struct TStatus {
  1: required TStatusCode status_code,
  2: optional list<string> info_messages,
  3: optional string sql_state,
  4: optional i32 error_code,
  5: optional string error_message,
}

// Sessions.

struct TOpenSessionReq {
  1: required i32 client_protocol,
  2: optional binary username,
  3: optional binary password,
  4: optional map<binary, binary> configuration,
}

struct TOpenSessionResp {
  1: required TStatus status,
  2: required i32 server_protocol_version,
  3: optional TSessionHandle session_handle,
  4: optional map<string, string> configuration,
}

// CloseSession, PingImpalaHS2Service, GetTypeInfo, GetCatalogs and GetTableTypes.
struct TSessionReq {
  1: required TSessionHandle session_handle,
}

// Answers that have nothing but a status.
struct TStatusResp {
  1: required TStatus status,
}

// PingImpalaHS2Service.
struct TPingResp {
  1: required TStatus status,
  2: optional string version,
  3: optional string webserver_address,
  4: optional i64 timestamp,
}

struct TGetInfoReq {
  1: required TSessionHandle session_handle,
  2: required i32 info_type,
}

union TGetInfoValue {
  1: string string_value,
  2: i16 small_int_value,
  3: i32 integer_bitmask,
  4: i32 integer_flag,
  5: i32 binary_value,
  6: i64 len_value,
}

struct TGetInfoResp {
  1: required TStatus status,
  2: required TGetInfoValue info_value,
}

// Statements.

struct TExecuteStatementReq {
  1: required TSessionHandle session_handle,
  2: required binary statement,
  3: optional map<binary, binary> conf_overlay,
  4: optional bool run_async,
  5: optional i64 query_timeout,
}

// What every call that begins an operation answers.
struct TOperationResp {
  1: required TStatus status,
  2: optional TOperationHandle operation_handle,
}

// GetOperationStatus, CancelOperation, CloseOperation, GetLog, GetQueryId, GetResultSetMetadata and
// CloseImpalaOperation.
struct TOperationReq {
  1: required TOperationHandle operation_handle,
}

struct TGetOperationStatusResp {
  1: required TStatus status,
  2: optional TOperationState operation_state,
  3: optional string sql_state,
  5: optional string error_message,
}

struct TGetLogResp {
  1: required TStatus status,
  2: required string log,
}

struct TGetQueryIdResp {
  1: required string query_id,
}

struct TDmlResult {
  1: required map<string, i64> rows_modified,
  2: optional i64 num_row_errors,
}

struct TCloseImpalaOperationResp {
  1: required TStatus status,
  2: optional TDmlResult dml_result,
}

// Results.

union TTypeQualifierValue {
  1: i32 i32_value,
  2: string string_value,
}

struct TTypeQualifiers {
  1: required map<string, TTypeQualifierValue> qualifiers,
}

struct TPrimitiveTypeEntry {
  1: required TTypeId type_id,
  2: optional TTypeQualifiers type_qualifiers,
}

union TTypeEntry {
  1: TPrimitiveTypeEntry primitive_entry,
}

struct TTypeDesc {
  1: required list<TTypeEntry> types,
}

struct TColumnDesc {
  1: required string column_name,
  2: required TTypeDesc type_desc,
  3: required i32 position,
  4: optional string comment,
}

struct TTableSchema {
  1: required list<TColumnDesc> columns,
}

struct TGetResultSetMetadataResp {
  1: required TStatus status,
  2: optional TTableSchema schema,
}

struct TFetchResultsReq {
  1: required TOperationHandle operation_handle,
  2: required i32 orientation,
  3: required i64 max_rows,
  4: optional i16 fetch_type,
}

struct TBoolColumn   { 1: required list<bool> values,   2: required binary nulls }
struct TByteColumn   { 1: required list<i8> values,     2: required binary nulls }
struct TI16Column    { 1: required list<i16> values,    2: required binary nulls }
struct TI32Column    { 1: required list<i32> values,    2: required binary nulls }
struct TI64Column    { 1: required list<i64> values,    2: required binary nulls }
struct TDoubleColumn { 1: required list<double> values, 2: required binary nulls }
struct TStringColumn { 1: required list<string> values, 2: required binary nulls }
struct TBinaryColumn { 1: required list<binary> values, 2: required binary nulls }

union TColumn {
  1: TBoolColumn bool_val,
  2: TByteColumn byte_val,
  3: TI16Column i16_val,
  4: TI32Column i32_val,
  5: TI64Column i64_val,
  6: TDoubleColumn double_val,
  7: TStringColumn string_val,
  8: TBinaryColumn binary_val,
}

// The rows of clients before V6 (a list in field 2) are not served: it is always empty.
struct TRowSet {
  1: required i64 start_row_offset,
  2: required list<i32> rows,
  3: optional list<TColumn> columns,
}

// Written by `columns.rs`, straight from Arrow; this form is what tests read.
struct TFetchResultsResp {
  1: required TStatus status,
  2: optional bool has_more_rows,
  3: optional TRowSet results,
}

// Metadata.

struct TGetSchemasReq {
  1: required TSessionHandle session_handle,
  2: optional binary catalog_name,
  3: optional binary schema_name,
}

struct TGetTablesReq {
  1: required TSessionHandle session_handle,
  2: optional binary catalog_name,
  3: optional binary schema_name,
  4: optional binary table_name,
  5: optional list<binary> table_types,
}

struct TGetColumnsReq {
  1: required TSessionHandle session_handle,
  2: optional binary catalog_name,
  3: optional binary schema_name,
  4: optional binary table_name,
  5: optional binary column_name,
}

struct TGetFunctionsReq {
  1: required TSessionHandle session_handle,
  2: optional binary catalog_name,
  3: optional binary schema_name,
  4: required binary function_name,
}

struct TGetPrimaryKeysReq {
  1: required TSessionHandle session_handle,
  2: optional binary catalog_name,
  3: optional binary schema_name,
  4: optional binary table_name,
}

struct TGetCrossReferenceReq {
  1: required TSessionHandle session_handle,
  2: optional binary parent_catalog_name,
  3: optional binary parent_schema_name,
  4: optional binary parent_table_name,
  5: optional binary foreign_catalog_name,
  6: optional binary foreign_schema_name,
  7: optional binary foreign_table_name,
}

// Profiles and summaries.

struct TGetRuntimeProfileReq {
  1: optional TOperationHandle operation_handle,
  2: optional TSessionHandle session_handle,
  3: optional i32 format,
}

struct TGetExecSummaryReq {
  1: optional TOperationHandle operation_handle,
  2: optional TSessionHandle session_handle,
}

struct TExecStats {
  1: optional i64 latency_ns,
  2: optional i64 cpu_time_ns,
  3: optional i64 cardinality,
  4: optional i64 memory_used,
}

struct TPlanNodeExecSummary {
  1: required i32 node_id,
  2: required i32 fragment_idx,
  3: required string label,
  4: optional string label_detail,
  5: required i32 num_children,
  6: optional TExecStats estimated_stats,
  7: optional list<TExecStats> exec_stats,
  9: optional i32 num_hosts,
}

struct TExecProgress {
  1: optional i64 total_scan_ranges,
  2: optional i64 num_completed_scan_ranges,
}

struct TExecSummary {
  1: required i32 state,
  3: optional list<TPlanNodeExecSummary> nodes,
  4: optional map<i32, i32> exch_to_sender_map,
  6: optional TExecProgress progress,
  7: optional bool is_queued,
  8: optional string queued_reason,
}

struct TGetExecSummaryResp {
  1: required TStatus status,
  2: optional TExecSummary summary,
}

// What is answered instead, to a call that cannot be.
struct TApplicationException {
  1: optional string message,
  2: optional i32 type_code,
}
