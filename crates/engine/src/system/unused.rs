//! What PostgreSQL has and Forebay has not: indexes, constraints, triggers, publications, …
//!
//! Clients ask for them all the same, so they are there, without rows.

use super::Relations;
use super::relation::empty_relation;

/// The relations of `pg_catalog` that never have a row.
pub(super) fn all(relations: &mut Relations) {
    for (name, columns) in UNUSED {
        relations.add(name, empty_relation(columns));
    }
}

/// Whether `pg_catalog.name` never has a row.
pub(crate) fn is_unused(name: &str) -> bool {
    UNUSED.binary_search_by_key(&name, |(name, _)| name).is_ok()
}

/// Names and columns, in the order of the names.
const UNUSED: [(&str, &str); 60] = [
    (
        "pg_attrdef",
        "oid oid, adrelid oid, adnum int2, adbin pg_node_tree",
    ),
    (
        "pg_auth_members",
        "roleid oid, member oid, grantor oid, admin_option bool",
    ),
    (
        "pg_available_extension_versions",
        "name name, version text, installed bool, superuser bool, trusted bool, relocatable \
         bool, schema name, requires name[], comment text",
    ),
    (
        "pg_available_extensions",
        "name name, default_version text, installed_version text, comment text",
    ),
    (
        "pg_constraint",
        "oid oid, conname name, connamespace oid, contype char, condeferrable bool, \
         condeferred bool, convalidated bool, conrelid oid, contypid oid, conindid oid, \
         conparentid oid, confrelid oid, confupdtype char, confdeltype char, confmatchtype \
         char, conislocal bool, coninhcount int4, connoinherit bool, conkey int2[], confkey \
         int2[], conpfeqop oid[], conppeqop oid[], conffeqop oid[], confdelsetcols int2[], \
         conexclop oid[], conbin pg_node_tree",
    ),
    (
        "pg_default_acl",
        "oid oid, defaclrole oid, defaclnamespace oid, defaclobjtype char, defaclacl \
         aclitem[]",
    ),
    (
        "pg_depend",
        "classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, refobjsubid \
         int4, deptype char",
    ),
    (
        "pg_enum",
        "oid oid, enumtypid oid, enumsortorder float4, enumlabel name",
    ),
    (
        "pg_event_trigger",
        "oid oid, evtname name, evtevent name, evtowner oid, evtfoid oid, evtenabled char, \
         evttags text[]",
    ),
    (
        "pg_extension",
        "oid oid, extname name, extowner oid, extnamespace oid, extrelocatable bool, \
         extversion text, extconfig oid[], extcondition text[]",
    ),
    (
        "pg_foreign_data_wrapper",
        "oid oid, fdwname name, fdwowner oid, fdwhandler oid, fdwvalidator oid, fdwacl \
         aclitem[], fdwoptions text[]",
    ),
    (
        "pg_foreign_server",
        "oid oid, srvname name, srvowner oid, srvfdw oid, srvtype text, srvversion text, \
         srvacl aclitem[], srvoptions text[]",
    ),
    (
        "pg_foreign_table",
        "ftrelid oid, ftserver oid, ftoptions text[]",
    ),
    (
        "pg_index",
        "indexrelid oid, indrelid oid, indnatts int2, indnkeyatts int2, indisunique bool, \
         indnullsnotdistinct bool, indisprimary bool, indisexclusion bool, indimmediate bool, \
         indisclustered bool, indisvalid bool, indcheckxmin bool, indisready bool, indislive \
         bool, indisreplident bool, indkey int2[], indcollation oid[], indclass oid[], \
         indoption int2[], indexprs pg_node_tree, indpred pg_node_tree",
    ),
    (
        "pg_indexes",
        "schemaname name, tablename name, indexname name, tablespace name, indexdef text",
    ),
    (
        "pg_inherits",
        "inhrelid oid, inhparent oid, inhseqno int4, inhdetachpending bool",
    ),
    (
        "pg_init_privs",
        "objoid oid, classoid oid, objsubid int4, privtype char, initprivs aclitem[]",
    ),
    ("pg_largeobject", "loid oid, pageno int4, data text"),
    (
        "pg_largeobject_metadata",
        "oid oid, lomowner oid, lomacl aclitem[]",
    ),
    (
        "pg_matviews",
        "schemaname name, matviewname name, matviewowner name, tablespace name, hasindexes \
         bool, ispopulated bool, definition text",
    ),
    (
        "pg_parameter_acl",
        "oid oid, parname text, paracl aclitem[]",
    ),
    (
        "pg_partitioned_table",
        "partrelid oid, partstrat char, partnatts int2, partdefid oid, partattrs int2[], \
         partclass oid[], partcollation oid[], partexprs pg_node_tree",
    ),
    (
        "pg_policies",
        "schemaname name, tablename name, policyname name, permissive text, roles name[], cmd \
         text, qual text, with_check text",
    ),
    (
        "pg_policy",
        "oid oid, polname name, polrelid oid, polcmd char, polpermissive bool, polroles \
         oid[], polqual pg_node_tree, polwithcheck pg_node_tree",
    ),
    (
        "pg_prepared_xacts",
        "transaction xid, gid text, prepared timestamptz, owner name, database name",
    ),
    (
        "pg_publication",
        "oid oid, pubname name, pubowner oid, puballtables bool, pubinsert bool, pubupdate \
         bool, pubdelete bool, pubtruncate bool, pubviaroot bool",
    ),
    (
        "pg_publication_namespace",
        "oid oid, pnpubid oid, pnnspid oid",
    ),
    (
        "pg_publication_rel",
        "oid oid, prpubid oid, prrelid oid, prqual pg_node_tree, prattrs int2[]",
    ),
    (
        "pg_publication_tables",
        "pubname name, schemaname name, tablename name, attnames name[], rowfilter text",
    ),
    ("pg_replication_origin", "roident oid, roname text"),
    (
        "pg_replication_slots",
        "slot_name name, plugin name, slot_type text, datoid oid, database name, temporary \
         bool, active bool, active_pid int4, xmin xid, catalog_xmin xid, restart_lsn text, \
         confirmed_flush_lsn text, wal_status text, safe_wal_size int8, two_phase bool",
    ),
    (
        "pg_rewrite",
        "oid oid, rulename name, ev_class oid, ev_type char, ev_enabled char, is_instead \
         bool, ev_qual pg_node_tree, ev_action pg_node_tree",
    ),
    (
        "pg_rules",
        "schemaname name, tablename name, rulename name, definition text",
    ),
    (
        "pg_seclabel",
        "objoid oid, classoid oid, objsubid int4, provider text, label text",
    ),
    (
        "pg_seclabels",
        "objoid oid, classoid oid, objsubid int4, objtype text, objnamespace oid, objname \
         text, provider text, label text",
    ),
    (
        "pg_sequence",
        "seqrelid oid, seqtypid oid, seqstart int8, seqincrement int8, seqmax int8, seqmin \
         int8, seqcache int8, seqcycle bool",
    ),
    (
        "pg_sequences",
        "schemaname name, sequencename name, sequenceowner name, data_type text, start_value \
         int8, min_value int8, max_value int8, increment_by int8, cycle bool, cache_size \
         int8, last_value int8",
    ),
    (
        "pg_shdepend",
        "dbid oid, classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, \
         deptype char",
    ),
    (
        "pg_shseclabel",
        "objoid oid, classoid oid, provider text, label text",
    ),
    (
        "pg_stat_all_tables",
        "relid oid, schemaname name, relname name, seq_scan int8, seq_tup_read int8, idx_scan \
         int8, idx_tup_fetch int8, n_tup_ins int8, n_tup_upd int8, n_tup_del int8, \
         n_tup_hot_upd int8, n_live_tup int8, n_dead_tup int8, n_mod_since_analyze int8, \
         n_ins_since_vacuum int8, last_vacuum timestamptz, last_autovacuum timestamptz, \
         last_analyze timestamptz, last_autoanalyze timestamptz, vacuum_count int8, \
         autovacuum_count int8, analyze_count int8, autoanalyze_count int8",
    ),
    (
        "pg_stat_gssapi",
        "pid int4, gss_authenticated bool, principal text, encrypted bool",
    ),
    (
        "pg_stat_replication",
        "pid int4, usesysid oid, usename name, application_name text, client_addr inet, \
         client_hostname text, client_port int4, backend_start timestamptz, backend_xmin xid, \
         state text, sent_lsn text, write_lsn text, flush_lsn text, replay_lsn text, \
         write_lag interval, flush_lag interval, replay_lag interval, sync_priority int4, \
         sync_state text, reply_time timestamptz",
    ),
    (
        "pg_stat_ssl",
        "pid int4, ssl bool, version text, cipher text, bits int4, client_dn text, \
         client_serial float8, issuer_dn text",
    ),
    (
        "pg_stat_subscription",
        "subid oid, subname name, pid int4, relid oid, received_lsn text, last_msg_send_time \
         timestamptz, last_msg_receipt_time timestamptz, latest_end_lsn text, latest_end_time \
         timestamptz",
    ),
    (
        "pg_stat_user_functions",
        "funcid oid, schemaname name, funcname name, calls int8, total_time float8, self_time \
         float8",
    ),
    (
        "pg_stat_user_indexes",
        "relid oid, indexrelid oid, schemaname name, relname name, indexrelname name, \
         idx_scan int8, idx_tup_read int8, idx_tup_fetch int8",
    ),
    (
        "pg_stat_user_tables",
        "relid oid, schemaname name, relname name, seq_scan int8, seq_tup_read int8, idx_scan \
         int8, idx_tup_fetch int8, n_tup_ins int8, n_tup_upd int8, n_tup_del int8, \
         n_tup_hot_upd int8, n_live_tup int8, n_dead_tup int8, n_mod_since_analyze int8, \
         n_ins_since_vacuum int8, last_vacuum timestamptz, last_autovacuum timestamptz, \
         last_analyze timestamptz, last_autoanalyze timestamptz, vacuum_count int8, \
         autovacuum_count int8, analyze_count int8, autoanalyze_count int8",
    ),
    (
        "pg_statio_user_indexes",
        "relid oid, indexrelid oid, schemaname name, relname name, indexrelname name, \
         idx_blks_read int8, idx_blks_hit int8",
    ),
    (
        "pg_statio_user_tables",
        "relid oid, schemaname name, relname name, heap_blks_read int8, heap_blks_hit int8, \
         idx_blks_read int8, idx_blks_hit int8, toast_blks_read int8, toast_blks_hit int8, \
         tidx_blks_read int8, tidx_blks_hit int8",
    ),
    (
        "pg_statistic",
        "starelid oid, staattnum int2, stainherit bool, stanullfrac float4, stawidth int4, \
         stadistinct float4, stakind1 int2, stakind2 int2, stakind3 int2, stakind4 int2, \
         stakind5 int2, staop1 oid, staop2 oid, staop3 oid, staop4 oid, staop5 oid, stacoll1 \
         oid, stacoll2 oid, stacoll3 oid, stacoll4 oid, stacoll5 oid, stanumbers1 float4[], \
         stanumbers2 float4[], stanumbers3 float4[], stanumbers4 float4[], stanumbers5 \
         float4[], stavalues1 text, stavalues2 text, stavalues3 text, stavalues4 text, \
         stavalues5 text",
    ),
    (
        "pg_statistic_ext",
        "oid oid, stxrelid oid, stxname name, stxnamespace oid, stxowner oid, stxstattarget \
         int4, stxkeys int2[], stxkind char[], stxexprs pg_node_tree",
    ),
    (
        "pg_statistic_ext_data",
        "stxoid oid, stxdinherit bool, stxdndistinct text, stxddependencies \
         text, stxdmcv text, stxdexpr text",
    ),
    (
        "pg_stats",
        "schemaname name, tablename name, attname name, inherited bool, null_frac float4, \
         avg_width int4, n_distinct float4, most_common_vals text, most_common_freqs \
         float4[], histogram_bounds text, correlation float4, most_common_elems text, \
         most_common_elem_freqs float4[], elem_count_histogram float4[]",
    ),
    (
        "pg_subscription",
        "oid oid, subdbid oid, subskiplsn text, subname name, subowner oid, subenabled bool, \
         subbinary bool, substream bool, subtwophasestate char, subdisableonerr bool, \
         subconninfo text, subslotname name, subsynccommit text, subpublications text[]",
    ),
    (
        "pg_subscription_rel",
        "srsubid oid, srrelid oid, srsubstate char, srsublsn text",
    ),
    (
        "pg_transform",
        "oid oid, trftype oid, trflang oid, trffromsql regproc, trftosql regproc",
    ),
    (
        "pg_trigger",
        "oid oid, tgrelid oid, tgparentid oid, tgname name, tgfoid oid, tgtype int2, \
         tgenabled char, tgisinternal bool, tgconstrrelid oid, tgconstrindid oid, \
         tgconstraint oid, tgdeferrable bool, tginitdeferred bool, tgnargs int2, tgattr \
         int2[], tgargs text, tgqual pg_node_tree, tgoldtable name, tgnewtable name",
    ),
    (
        "pg_ts_config_map",
        "mapcfg oid, maptokentype int4, mapseqno int4, mapdict oid",
    ),
    (
        "pg_user_mapping",
        "oid oid, umuser oid, umserver oid, umoptions text[]",
    ),
    (
        "pg_user_mappings",
        "umid oid, srvid oid, srvname name, umuser oid, usename name, umoptions text[]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order() {
        assert!(UNUSED.is_sorted_by_key(|(name, _)| name));
        assert!(is_unused("pg_trigger") && !is_unused("pg_class"));
    }
}
