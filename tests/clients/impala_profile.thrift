// Impala's layout of a profile, written down apart from ours: an independent reader decodes with it
// what the server has written.

enum TUnit { UNIT = 0, UNIT_PER_SECOND = 1, CPU_TICKS = 2, BYTES = 3, BYTES_PER_SECOND = 4, TIME_NS = 5 }

struct TCounter { 1: required string name, 2: required TUnit unit, 3: required i64 value }

struct TEventSequence {
  1: required string name, 2: required list<i64> timestamps, 3: required list<string> labels
}

struct TTimeSeriesCounter {
  1: required string name, 2: required TUnit unit, 3: required i32 period_ms, 4: required list<i64> values
}

struct TSummaryStatsCounter {
  1: required string name, 2: required TUnit unit, 3: required i64 sum,
  4: required i64 total_num_values, 5: required i64 min_value, 6: required i64 max_value
}

union TRuntimeProfileNodeMetadata { 1: optional i32 plan_node_id, 2: optional i32 data_sink_id }

struct TRuntimeProfileNode {
  1: required string name, 2: required i32 num_children, 3: required list<TCounter> counters,
  4: required i64 metadata, 5: required bool indent, 6: required map<string, string> info_strings,
  7: required list<string> info_strings_display_order,
  8: required map<string, set<string>> child_counters_map,
  9: optional list<TEventSequence> event_sequences,
  10: optional list<TTimeSeriesCounter> time_series_counters,
  11: optional list<TSummaryStatsCounter> summary_stats_counters,
  12: optional TRuntimeProfileNodeMetadata node_metadata
}

struct TRuntimeProfileTree { 1: required list<TRuntimeProfileNode> nodes, 3: optional i32 profile_version }
