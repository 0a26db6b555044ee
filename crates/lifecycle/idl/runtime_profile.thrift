// A query's profile on the wire and in the profile log: the numbers and types of Impala's
// TRuntimeProfileTree, so that its tools read ours and we read theirs. What Forebay never writes is
// left out here; readers skip what they do not know.

// A number that was counted. Units: 0 things, 3 bytes, 5 nanoseconds; of Impala's others we read
// 8 milliseconds, 9 seconds and 10 microseconds.
struct TCounter {
  1: required string name
  2: required i32 unit
  3: required i64 value
}

// Events on one clock: nanoseconds since its start, each with its label.
struct TEventSequence {
  1: required string name
  2: required list<i64> timestamps
  3: required list<string> labels
}

// What several instances have counted. Units are those of TCounter.
struct TSummaryStatsCounter {
  1: required string name
  2: required i32 unit
  3: required i64 sum
  4: required i64 total_num_values
  5: required i64 min_value
  6: required i64 max_value
}

// What a node is about; in Impala a union, which looks the same on the wire.
struct TRuntimeProfileNodeMetadata {
  1: optional i32 plan_node_id
  2: optional i32 data_sink_id
}

struct TRuntimeProfileNode {
  1: required string name
  2: required i32 num_children
  3: required list<TCounter> counters
  4: required i64 metadata
  5: required bool indent
  6: required map<string, string> info_strings (pilota.rust_type = "btree")
  7: required list<string> info_strings_display_order
  // By the name of a counter those that it consists of; "" has those that are part of no other.
  8: required map<string, set<string>> child_counters_map (pilota.rust_type = "btree")
  9: optional list<TEventSequence> event_sequences
  11: optional list<TSummaryStatsCounter> summary_stats_counters
  12: optional TRuntimeProfileNodeMetadata node_metadata
}

// The nodes of a tree, each before its children.
struct TRuntimeProfileTree {
  1: required list<TRuntimeProfileNode> nodes
  3: optional i32 profile_version
}
