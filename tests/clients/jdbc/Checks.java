import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Checks of what a program sees through JDBC: {@code java Checks NAME URL}. */
public final class Checks {
    public static void main(String[] arguments) throws Exception {
        String name = arguments[0];
        try (Connection db = DriverManager.getConnection(arguments[1])) {
            switch (name) {
                case "connection" -> connection(db);
                case "numbers" -> numbers(db);
                case "texts" -> texts(db);
                case "dates" -> dates(db);
                case "unknowns" -> unknowns(db);
                case "columns" -> columns(db);
                case "parameters" -> parameters(db);
                case "batch" -> batch(db);
                case "prepared" -> prepared(db);
                case "streaming" -> streaming(db);
                case "maxrows" -> maxrows(db);
                case "timeout" -> timeout(db);
                case "cancel" -> cancel(db);
                case "transactions" -> transactions(db);
                case "errors" -> errors(db);
                case "metadata" -> metadata(db);
                case "catalog" -> catalog(db);
                case "keys" -> keys(db);
                case "types" -> types(db);
                case "functions" -> functions(db);
                case "tpch" -> tpch(db, Path.of(arguments[2]));
                default -> throw new IllegalArgumentException(name);
            }
        }
        if (!name.equals("tpch")) {
            System.out.println(name + ": as expected");
        }
    }

    private static void connection(Connection db) throws SQLException {
        DatabaseMetaData about = db.getMetaData();
        same("PostgreSQL", about.getDatabaseProductName());
        check(about.getDatabaseMajorVersion() >= 15, "version " + about.getDatabaseProductVersion());
        same("forebay", db.getCatalog());
        same("public", db.getSchema());
        check(db.isValid(0), "the connection is valid");
        check(!db.isReadOnly(), "the connection is not read-only");
        same(Connection.TRANSACTION_READ_COMMITTED, db.getTransactionIsolation());
        db.setClientInfo("ApplicationName", "checks");
        same("checks", one(db, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"));
        db.setSchema("public");
        same("public", db.getSchema());
        same(about.getUserName(), one(db, "SELECT current_user"));
        for (String setting : List.of("TRANSACTION ISOLATION LEVEL", "server_version", "standard_conforming_strings")) {
            check(one(db, "SHOW " + setting) != null, setting);
        }
        db.setReadOnly(true);
        db.setReadOnly(false);
    }

    private static void numbers(Connection db) throws SQLException {
        String text = "SELECT ?::int2, ?::int4, ?::int8, ?::float4, ?::float8, ?::numeric, ?::numeric(12, 3), ?::bool";
        try (PreparedStatement statement = db.prepareStatement(text)) {
            statement.setShort(1, (short) -5);
            statement.setInt(2, Integer.MIN_VALUE);
            statement.setLong(3, Long.MAX_VALUE);
            statement.setFloat(4, 1.25f);
            statement.setDouble(5, 0.1);
            statement.setBigDecimal(6, new BigDecimal("12345678.90125"));
            statement.setBigDecimal(7, new BigDecimal("-0.5"));
            statement.setBoolean(8, true);
            // More often than the driver's prepareThreshold.
            for (int i = 0; i < 7; i++) {
                ResultSet row = first(statement.executeQuery());
                same((short) -5, row.getShort(1));
                same(Integer.MIN_VALUE, row.getInt(2));
                same(Long.MAX_VALUE, row.getLong(3));
                same(1.25f, row.getFloat(4));
                same(0.1, row.getDouble(5));
                check(row.getBigDecimal(6).compareTo(new BigDecimal("12345678.90125")) == 0, row.getString(6));
                same(new BigDecimal("-0.500"), row.getBigDecimal(7));
                same(true, row.getBoolean(8));
            }
        }
    }

    private static void texts(Connection db) throws SQLException {
        String odd = "quote ' back \\ slash \"double\" \u6f22\u5b57 \ud83d\udc18 ? $1";
        try (PreparedStatement statement = db.prepareStatement("SELECT ?::text, ?::varchar, ?::bytea, ?::text, ?::int4[], ?::text[]")) {
            statement.setString(1, odd);
            statement.setString(2, "");
            statement.setBytes(3, new byte[] {0, 1, -1, 92});
            statement.setString(4, "x".repeat(100_000));
            statement.setArray(5, db.createArrayOf("int4", new Integer[] {1, null, 3}));
            statement.setArray(6, db.createArrayOf("text", new String[] {"a", "b \"c\",d", ""}));
            for (int i = 0; i < 7; i++) {
                ResultSet row = first(statement.executeQuery());
                same(odd, row.getString(1));
                same("", row.getString(2));
                check(Arrays.equals(new byte[] {0, 1, -1, 92}, row.getBytes(3)), "bytes");
                same(100_000, row.getString(4).length());
                same("[1, null, 3]", elements(row.getArray(5)));
                same("[a, b \"c\",d, ]", elements(row.getArray(6)));
            }
        }
    }

    private static void dates(Connection db) throws SQLException {
        LocalDateTime moment = LocalDateTime.of(2024, 2, 29, 12, 34, 56, 789_012_000);
        OffsetDateTime instant = OffsetDateTime.of(2024, 7, 1, 12, 0, 0, 5_000, ZoneOffset.ofHours(2));
        String text = "SELECT ?::date, ?::timestamp, ?::date, ?::time, ?::timestamp, ?::timestamptz";
        try (PreparedStatement statement = db.prepareStatement(text)) {
            statement.setDate(1, Date.valueOf("1995-03-15"));
            statement.setTimestamp(2, Timestamp.valueOf(moment));
            statement.setObject(3, LocalDate.of(2024, 2, 29));
            statement.setObject(4, LocalTime.of(23, 59, 59));
            statement.setObject(5, moment);
            statement.setObject(6, instant);
            for (int i = 0; i < 7; i++) {
                ResultSet row = first(statement.executeQuery());
                same(Date.valueOf("1995-03-15"), row.getDate(1));
                same(Timestamp.valueOf(moment), row.getTimestamp(2));
                same(LocalDate.of(2024, 2, 29), row.getObject(3, LocalDate.class));
                same(Time.valueOf("23:59:59"), row.getTime(4));
                same(moment, row.getObject(5, LocalDateTime.class));
                check(instant.isEqual(row.getObject(6, OffsetDateTime.class)), row.getString(6));
            }
        }
        String found = "SELECT count(*) FROM orders WHERE o_orderdate >= ? AND o_orderdate < ? AND o_totalprice > ?"
            + " AND o_orderstatus = ? AND o_custkey > ?";
        try (PreparedStatement statement = db.prepareStatement(found)) {
            statement.setDate(1, Date.valueOf("1993-07-01"));
            statement.setDate(2, Date.valueOf("1993-10-01"));
            statement.setBigDecimal(3, new BigDecimal("1000.00"));
            statement.setString(4, "F");
            statement.setInt(5, 0);
            String literal = "SELECT count(*) FROM orders WHERE o_orderdate >= DATE '1993-07-01'"
                + " AND o_orderdate < DATE '1993-10-01' AND o_totalprice > 1000.00 AND o_orderstatus = 'F' AND o_custkey > 0";
            for (int i = 0; i < 7; i++) {
                same(one(db, literal), first(statement.executeQuery()).getString(1));
            }
        }
    }

    private static void unknowns(Connection db) throws SQLException {
        String text = "SELECT ?::int4, ?::text, ?::date, ?::numeric, ?::timestamp, ?::bool";
        try (PreparedStatement statement = db.prepareStatement(text)) {
            int[] types = {Types.INTEGER, Types.VARCHAR, Types.DATE, Types.NUMERIC, Types.TIMESTAMP, Types.BOOLEAN};
            for (int i = 0; i < types.length; i++) {
                statement.setNull(i + 1, types[i]);
            }
            for (int i = 0; i < 7; i++) {
                ResultSet row = first(statement.executeQuery());
                same(0, row.getInt(1));
                check(row.wasNull(), "the number is NULL");
                for (int column = 1; column <= types.length; column++) {
                    same(null, row.getObject(column));
                }
            }
        }
    }

    private static void columns(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            ResultSetMetaData about = statement.executeQuery(
                "SELECT l_orderkey, l_linenumber, l_extendedprice, l_shipdate, l_comment AS remark, count(*) AS n"
                    + " FROM lineitem GROUP BY 1, 2, 3, 4, 5 LIMIT 1").getMetaData();
            same("l_orderkey", about.getColumnLabel(1));
            same(Types.BIGINT, about.getColumnType(1));
            same(Types.INTEGER, about.getColumnType(2));
            same(Types.NUMERIC, about.getColumnType(3));
            same(15, about.getPrecision(3));
            same(2, about.getScale(3));
            same(Types.DATE, about.getColumnType(4));
            same("remark", about.getColumnLabel(5));
            same(Types.VARCHAR, about.getColumnType(5));
            same(Types.BIGINT, about.getColumnType(6));
        }
    }

    private static void parameters(Connection db) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(
            "SELECT n_name FROM nation WHERE n_nationkey = ? AND n_name <> ?")) {
            ParameterMetaData about = statement.getParameterMetaData();
            same(2, about.getParameterCount());
            same(Types.BIGINT, about.getParameterType(1));
            same(Types.VARCHAR, about.getParameterType(2));
            same("n_name", statement.getMetaData().getColumnLabel(1));
        }
        // An int for a bigint, and LIMIT and LIKE with parameters.
        try (PreparedStatement statement = db.prepareStatement(
            "SELECT n_name FROM nation WHERE n_nationkey >= ? AND n_name LIKE ? ORDER BY 1 LIMIT ?")) {
            statement.setInt(1, 1);
            statement.setString(2, "A%");
            statement.setInt(3, 5);
            for (int i = 0; i < 7; i++) {
                same("ARGENTINA", first(statement.executeQuery()).getString(1));
            }
        }
        // Types that change between executions of one statement.
        try (PreparedStatement statement = db.prepareStatement("SELECT n_name FROM nation WHERE n_nationkey = ?")) {
            for (int i = 0; i < 7; i++) {
                statement.setInt(1, 3);
                same("CANADA", first(statement.executeQuery()).getString(1));
                statement.setLong(1, 4L);
                same("EGYPT", first(statement.executeQuery()).getString(1));
                statement.setBigDecimal(1, new BigDecimal("5"));
                same("ETHIOPIA", first(statement.executeQuery()).getString(1));
            }
        }
    }

    private static void batch(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            statement.addBatch("CREATE VIEW batch_one AS SELECT 1 AS one");
            statement.addBatch("CREATE VIEW batch_two AS SELECT one + 1 AS two FROM batch_one");
            same(2, statement.executeBatch().length);
            same("2", one(db, "SELECT two FROM batch_two"));
            statement.addBatch("DROP VIEW batch_two");
            statement.addBatch("DROP VIEW batch_one");
            statement.executeBatch();
            check(statement.execute("SELECT 1; SELECT 2"), "the first is a result");
            check(statement.getMoreResults(), "there are two results");
            same(2, first(statement.getResultSet()).getInt(1));
        }
    }

    private static void prepared(Connection db) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement("SELECT count(*) FROM lineitem WHERE l_linenumber = ?")) {
            long total = 0;
            for (int round = 0; round < 3; round++) {
                for (int number = 1; number <= 7; number++) {
                    statement.setInt(1, number);
                    total += first(statement.executeQuery()).getLong(1);
                }
            }
            same(3 * 600_572L, total);
        }
    }

    private static void streaming(Connection db) throws SQLException {
        db.setAutoCommit(false);
        try (Statement statement = db.createStatement()) {
            statement.setFetchSize(1000);
            long rows = 0;
            try (ResultSet result = statement.executeQuery("SELECT l_orderkey, l_comment FROM lineitem")) {
                while (result.next()) {
                    rows++;
                }
            }
            same(600_572L, rows);
            try (ResultSet result = statement.executeQuery("SELECT * FROM lineitem")) {
                check(result.next(), "left after its first row");
            }
            // Two portals of one transaction, read in turns.
            try (Statement other = db.createStatement()) {
                statement.setFetchSize(2);
                other.setFetchSize(3);
                ResultSet up = statement.executeQuery("SELECT n_nationkey FROM nation ORDER BY 1");
                ResultSet down = other.executeQuery("SELECT n_nationkey FROM nation ORDER BY 1 DESC");
                for (int key = 0; key < 25; key++) {
                    check(up.next() && down.next(), "row " + key);
                    same(key, up.getInt(1));
                    same(24 - key, down.getInt(1));
                }
            }
        }
        db.commit();
    }

    private static void maxrows(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            statement.setMaxRows(10);
            ResultSet result = statement.executeQuery("SELECT l_orderkey FROM lineitem");
            int rows = 0;
            while (result.next()) {
                rows++;
            }
            same(10, rows);
        }
    }

    private static void timeout(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.executeQuery("SELECT pg_sleep(600)"));
        }
        same("1", one(db, "SELECT 1"));
    }

    private static void cancel(Connection db) throws Exception {
        try (Statement statement = db.createStatement();
            Connection other = DriverManager.getConnection(db.getMetaData().getURL())) {
            String pid = one(db, "SELECT pg_backend_pid()");
            Thread canceller = new Thread(() -> {
                try {
                    String waiting = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(601)' AND pid = "
                        + pid;
                    while (one(other, waiting).equals("0")) {
                        Thread.onSpinWait();
                    }
                    statement.cancel();
                } catch (SQLException error) {
                    throw new IllegalStateException(error);
                }
            });
            canceller.start();
            fails("57014", () -> statement.executeQuery("SELECT pg_sleep(601)"));
            canceller.join();
        }
        same("1", one(db, "SELECT 1"));
    }

    private static void transactions(Connection db) throws SQLException {
        db.setAutoCommit(false);
        try (Statement statement = db.createStatement()) {
            statement.execute("CREATE VIEW undone AS SELECT 1 AS one");
            same("1", one(db, "SELECT one FROM undone"));
            db.rollback();
            fails("42P01", () -> statement.executeQuery("SELECT one FROM undone"));
            fails("25P02", () -> statement.executeQuery("SELECT 1"));
            db.rollback();

            Savepoint savepoint = db.setSavepoint("here");
            fails("22012", () -> statement.executeQuery("SELECT 1 / 0"));
            db.rollback(savepoint);
            same("1", one(db, "SELECT 1"));
            db.releaseSavepoint(savepoint);
            db.commit();

            statement.execute("CREATE VIEW kept AS SELECT 1 AS one");
            db.commit();
            db.rollback();
            same("1", one(db, "SELECT one FROM kept"));
            statement.execute("DROP VIEW kept");
            db.commit();
        }
        db.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        same(Connection.TRANSACTION_REPEATABLE_READ, db.getTransactionIsolation());
        db.setAutoCommit(true);
    }

    private static void errors(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            fails("42703", () -> statement.executeQuery("SELECT nope FROM nation"));
            fails("42P01", () -> statement.executeQuery("SELECT * FROM nowhere"));
            fails("42601", () -> statement.executeQuery("SELEC 1"));
            fails("22012", () -> statement.executeQuery("SELECT 1 / 0"));
            fails("22P02", () -> statement.executeQuery("SELECT 'abc'::int"));
            statement.execute("DROP VIEW IF EXISTS no_such_view");
            SQLWarning warning = statement.getWarnings();
            check(warning != null, "a notice is a warning");
            same("view \"no_such_view\" does not exist, skipping", warning.getMessage());
        }
        try (PreparedStatement statement = db.prepareStatement("SELECT 1 / ?::int")) {
            for (int i = 0; i < 7; i++) {
                statement.setInt(1, i % 2);
                if (i % 2 == 0) {
                    fails("22012", statement::executeQuery);
                } else {
                    same(1, first(statement.executeQuery()).getInt(1));
                }
            }
        }
    }

    private static void metadata(Connection db) throws SQLException {
        DatabaseMetaData about = db.getMetaData();
        same(
            List.of("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"),
            names(about.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME"));
        same(List.of("nation"), names(about.getTables(null, null, "nation", null), "TABLE_NAME"));
        try (ResultSet table = first(about.getTables(db.getCatalog(), "public", "region", null))) {
            same("TABLE", table.getString("TABLE_TYPE"));
            same("public", table.getString("TABLE_SCHEM"));
        }
        same(
            List.of("r_regionkey", "r_name", "r_comment"),
            names(about.getColumns(null, "public", "region", "%"), "COLUMN_NAME"));
        try (ResultSet column = first(about.getColumns(null, "public", "lineitem", "l_extendedprice"))) {
            same(Types.NUMERIC, column.getInt("DATA_TYPE"));
            same("numeric", column.getString("TYPE_NAME"));
            same(15, column.getInt("COLUMN_SIZE"));
            same(2, column.getInt("DECIMAL_DIGITS"));
            same("NO", column.getString("IS_NULLABLE"));
            same(6, column.getInt("ORDINAL_POSITION"));
        }
        try (ResultSet column = first(about.getColumns(null, "public", "lineitem", "l_shipdate"))) {
            same(Types.DATE, column.getInt("DATA_TYPE"));
        }
        try (Statement statement = db.createStatement()) {
            statement.execute("CREATE VIEW seen AS SELECT 1.5::float8 AS half, 'x' AS \"Text\"");
            try {
                same(List.of("seen"), names(about.getTables(null, "public", "%", new String[] {"VIEW"}), "TABLE_NAME"));
                same(List.of("half", "Text"), names(about.getColumns(null, null, "seen", null), "COLUMN_NAME"));
            } finally {
                statement.execute("DROP VIEW seen");
            }
        }
    }

    private static void catalog(Connection db) throws SQLException {
        DatabaseMetaData about = db.getMetaData();
        List<String> schemas = names(about.getSchemas(), "TABLE_SCHEM");
        check(schemas.containsAll(List.of("information_schema", "pg_catalog", "public")), schemas.toString());
        same(List.of("public"), names(about.getSchemas(null, "pub%"), "TABLE_SCHEM"));
        check(names(about.getCatalogs(), "TABLE_CAT").contains("forebay"), "the database is listed");
        check(names(about.getTableTypes(), "TABLE_TYPE").contains("TABLE"), "tables are a type");
        check(names(about.getTables(null, "pg_catalog", "pg_cl%", null), "TABLE_NAME").contains("pg_class"), "pg_class is listed");
        same(List.of(), names(about.getTables(null, null, "nowhere", null), "TABLE_NAME"));
        for (String keyword : about.getSQLKeywords().split(",")) {
            check(!keyword.isBlank(), "keywords");
        }
        check(about.getMaxConnections() >= 0, "the limit of connections");
    }

    private static void keys(Connection db) throws SQLException {
        DatabaseMetaData about = db.getMetaData();
        same(List.of(), names(about.getPrimaryKeys(null, "public", "nation"), "COLUMN_NAME"));
        same(List.of(), names(about.getImportedKeys(null, "public", "nation"), "FKCOLUMN_NAME"));
        same(List.of(), names(about.getExportedKeys(null, "public", "nation"), "FKCOLUMN_NAME"));
        same(List.of(), names(about.getIndexInfo(null, "public", "nation", false, true), "INDEX_NAME"));
        same(List.of(), names(about.getBestRowIdentifier(null, "public", "nation", 0, true), "COLUMN_NAME"));
        names(about.getTablePrivileges(null, "public", "nation"), "PRIVILEGE");
        names(about.getColumnPrivileges(null, "public", "nation", "%"), "PRIVILEGE");
    }

    private static void types(Connection db) throws SQLException {
        List<String> types = names(db.getMetaData().getTypeInfo(), "TYPE_NAME");
        List<String> wanted = List.of("bool", "bytea", "date", "float4", "float8", "int2", "int4", "int8", "interval",
            "numeric", "text", "time", "timestamp", "timestamptz", "varchar");
        check(types.containsAll(wanted), types.toString());
        names(db.getMetaData().getUDTs(null, "public", "%", null), "TYPE_NAME");
    }

    private static void functions(Connection db) throws SQLException {
        DatabaseMetaData about = db.getMetaData();
        check(names(about.getFunctions(null, "pg_catalog", "pg_sl%"), "FUNCTION_NAME").contains("pg_sleep"), "pg_sleep is listed");
        names(about.getFunctionColumns(null, "pg_catalog", "pg_sleep", "%"), "COLUMN_NAME");
        names(about.getProcedures(null, null, "%"), "PROCEDURE_NAME");
    }

    /** Prints the first row of each query in {@code folder}, as text. */
    private static void tpch(Connection db, Path folder) throws Exception {
        List<Path> files;
        try (var all = Files.list(folder)) {
            files = all.filter(file -> file.toString().endsWith(".sql")).sorted().toList();
        }
        for (Path file : files) {
            try (PreparedStatement statement = db.prepareStatement(Files.readString(file))) {
                ResultSet row = first(statement.executeQuery());
                StringBuilder line = new StringBuilder(file.getFileName().toString().replace(".sql", ""));
                for (int column = 1; column <= row.getMetaData().getColumnCount(); column++) {
                    line.append('\t').append(row.getString(column));
                }
                System.out.println(line);
            }
        }
    }

    private interface Action {
        void run() throws SQLException;
    }

    private static void fails(String state, Action action) throws SQLException {
        try {
            action.run();
        } catch (SQLException error) {
            same(state, error.getSQLState());
            return;
        }
        throw new AssertionError("expected SQLSTATE " + state);
    }

    private static ResultSet first(ResultSet result) throws SQLException {
        check(result.next(), "there is a row");
        return result;
    }

    private static String one(Connection db, String query) throws SQLException {
        try (Statement statement = db.createStatement()) {
            return first(statement.executeQuery(query)).getString(1);
        }
    }

    private static List<String> names(ResultSet result, String column) throws SQLException {
        List<String> names = new ArrayList<>();
        try (result) {
            while (result.next()) {
                names.add(result.getString(column));
            }
        }
        return names;
    }

    private static String elements(Array array) throws SQLException {
        return Arrays.toString((Object[]) array.getArray());
    }

    private static void same(Object expected, Object found) {
        check(expected == null ? found == null : expected.equals(found), "expected " + expected + ", found " + found);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
