import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** Checks of what a program sees through Hive's JDBC driver: {@code java HiveChecks NAME URL USER PASSWORD}. */
public final class HiveChecks {
    public static void main(String[] arguments) throws Exception {
        String name = arguments[0];
        try (Connection db = DriverManager.getConnection(arguments[1], arguments[2], arguments[3])) {
            switch (name) {
                case "connection" -> connection(db, arguments[2]);
                case "types" -> types(db);
                case "unknowns" -> unknowns(db);
                case "columns" -> columns(db);
                case "parameters" -> parameters(db);
                case "rows" -> rows(db);
                case "statements" -> statements(db);
                case "errors" -> errors(db);
                case "cancel" -> cancel(db);
                case "metadata" -> metadata(db);
                default -> throw new IllegalArgumentException(name);
            }
        }
        System.out.println(name + ": as expected");
    }

    private static void connection(Connection db, String user) throws SQLException {
        DatabaseMetaData about = db.getMetaData();
        same("Impala", about.getDatabaseProductName());
        check(about.getDatabaseProductVersion().contains("Forebay"), about.getDatabaseProductVersion());
        check(db.isValid(10), "the connection is valid");
        check(db.getAutoCommit(), "each statement is a transaction");
        same(user, one(db, "select user()"));
        same(42, one(db, "select 40 + 2"));
    }

    private static final String EVERY_TYPE =
            "select true as b, cast(-1 as tinyint) as t, cast(-2 as smallint) as s, -3 as i, 4000000000 as l, "
                    + "cast(1.5 as float) as f, cast(0.1 as double precision) as d, cast(12.30 as decimal(10,2)) as n, "
                    + "'ä€😀' as u, date '2024-02-29' as day, timestamp '2024-02-29 12:34:56.789' as at, "
                    + "cast('x' as bytea) as bin";

    private static void types(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            ResultSet row = first(statement.executeQuery(EVERY_TYPE));
            same(true, row.getBoolean("b"));
            same((byte) -1, row.getByte("t"));
            same((short) -2, row.getShort("s"));
            same(-3, row.getInt("i"));
            same(4_000_000_000L, row.getLong("l"));
            same(1.5f, row.getFloat("f"));
            same(0.1, row.getDouble("d"));
            same(new BigDecimal("12.30"), row.getBigDecimal("n"));
            same("ä€😀", row.getString("u"));
            same(Date.valueOf("2024-02-29"), row.getDate("day"));
            same(Timestamp.valueOf("2024-02-29 12:34:56.789"), row.getTimestamp("at"));
            same("x", new String((byte[]) row.getObject("bin"), StandardCharsets.UTF_8));
            check(!row.next(), "one row");
        }
    }

    private static void unknowns(Connection db) throws SQLException {
        String kinds = "boolean,tinyint,smallint,int,bigint,real,double precision,decimal(10,2),string,date,timestamp,bytea";
        List<String> casts = new ArrayList<>();
        for (String kind : kinds.split(",(?=[a-z])")) {
            casts.add("cast(null as " + kind + ")");
        }
        try (Statement statement = db.createStatement()) {
            ResultSet row = first(statement.executeQuery("select " + String.join(", ", casts)));
            for (int column = 1; column <= casts.size(); column++) {
                same(null, row.getObject(column));
                check(row.wasNull(), casts.get(column - 1));
            }
        }
    }

    private static void columns(Connection db) throws SQLException {
        int[] expected = {
            Types.BOOLEAN, Types.TINYINT, Types.SMALLINT, Types.INTEGER, Types.BIGINT, Types.FLOAT, Types.DOUBLE,
            Types.DECIMAL, Types.VARCHAR, Types.DATE, Types.TIMESTAMP, Types.BINARY,
        };
        try (Statement statement = db.createStatement()) {
            ResultSetMetaData about = statement.executeQuery(EVERY_TYPE).getMetaData();
            same(expected.length, about.getColumnCount());
            for (int column = 1; column <= expected.length; column++) {
                same(expected[column - 1], about.getColumnType(column));
            }
            same("n", about.getColumnName(8));
            same(10, about.getPrecision(8));
            same(2, about.getScale(8));
        }
    }

    private static void parameters(Connection db) throws SQLException {
        String text = "select ? + 1, ?, ?, cast(? as double precision), cast(? as date), cast(? as timestamp), ?";
        try (PreparedStatement statement = db.prepareStatement(text)) {
            for (int i = 0; i < 3; i++) {
                statement.setInt(1, i);
                statement.setString(2, "it's a \"test\" of ? marks");
                statement.setBoolean(3, true);
                statement.setDouble(4, 0.25);
                statement.setDate(5, Date.valueOf("2024-02-29"));
                statement.setTimestamp(6, Timestamp.valueOf("2024-02-29 12:34:56.789"));
                statement.setNull(7, Types.INTEGER);
                ResultSet row = first(statement.executeQuery());
                same(i + 1, row.getInt(1));
                same("it's a \"test\" of ? marks", row.getString(2));
                same(true, row.getBoolean(3));
                same(0.25, row.getDouble(4));
                same(Date.valueOf("2024-02-29"), row.getDate(5));
                same(Timestamp.valueOf("2024-02-29 12:34:56.789"), row.getTimestamp(6));
                same(null, row.getObject(7));
            }
        }
    }

    private static void rows(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            statement.setFetchSize(1000);
            ResultSet keys = statement.executeQuery("select i from generate_series(1, 123456) as g(i)");
            long count = 0;
            long sum = 0;
            while (keys.next()) {
                count++;
                sum += keys.getLong(1);
            }
            same(123_456L, count);
            same(123_456L * 123_457 / 2, sum);
            statement.setMaxRows(5);
            ResultSet few = statement.executeQuery("select i from generate_series(1, 123456) as g(i)");
            int seen = 0;
            while (few.next()) {
                seen++;
            }
            same(5, seen);
        }
    }

    private static void statements(Connection db) throws SQLException {
        try (Statement statement = db.createStatement()) {
            check(statement.execute("show databases"), "rows");
            check(!statement.execute("use default"), "no rows");
            check(!statement.execute("invalidate metadata"), "no rows");
            check(statement.execute("describe nation"), "rows");
            check(statement.execute("explain select 1"), "rows");
            // Two results of one connection are open at the same time.
            try (Statement other = db.createStatement()) {
                ResultSet outer = first(statement.executeQuery("select 1"));
                ResultSet inner = first(other.executeQuery("select 2"));
                same(1, outer.getInt(1));
                same(2, inner.getInt(1));
            }
        }
    }

    private static void errors(Connection db) throws SQLException {
        for (String[] wrong : new String[][] {
            {"select nothing from nation", "AnalysisException"},
            {"selec 1", "ParseException"},
            {"select (select n.n_nationkey from nation n) from nation", "more than one row"},
        }) {
            try (Statement statement = db.createStatement()) {
                ResultSet result = statement.executeQuery(wrong[0]);
                result.next();
                throw new AssertionError(wrong[0] + " is wrong");
            } catch (SQLException error) {
                check(error.getMessage().contains(wrong[1]), error.getMessage());
            }
        }
        same(42, one(db, "select 40 + 2"));
    }

    private static void cancel(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    // Before it has begun there is nothing to cancel.
                    while (!Objects.equals(running(db), 1L)) {
                        Thread.onSpinWait();
                    }
                    statement.cancel();
                } catch (SQLException error) {
                    throw new AssertionError(error);
                }
            });
            canceller.start();
            try {
                statement.executeQuery("select sleep(3600000)");
                throw new AssertionError("it was cancelled");
            } catch (SQLException error) {
                check(error.getMessage().toLowerCase().contains("cancel"), error.getMessage());
            }
            canceller.join();
        }
        same(0L, running(db));
    }

    private static Long running(Connection db) throws SQLException {
        return (Long) one(db, "select count(*) from pg_stat_activity where query like 'select sleep(36%' and state = 'active'");
    }

    private static void metadata(Connection db) throws SQLException {
        DatabaseMetaData about = db.getMetaData();
        check(texts(about.getSchemas(), "TABLE_SCHEM").contains("default"), "default");
        same(List.of("default"), texts(about.getSchemas(null, "def%"), "TABLE_SCHEM"));
        same(List.of("nation", "region"), texts(about.getTables(null, "default", "%ion", null), "TABLE_NAME"));
        same(List.of("nation"), texts(about.getTables(null, "%", "nation", new String[] {"TABLE"}), "TABLE_NAME"));
        same(List.of(), texts(about.getTables(null, "default", "nation", new String[] {"VIEW"}), "TABLE_NAME"));
        same(List.of("TABLE", "VIEW"), texts(about.getTableTypes(), "TABLE_TYPE"));
        same(List.of(), texts(about.getCatalogs(), "TABLE_CAT"));
        same(List.of("n_nationkey", "n_name", "n_regionkey", "n_comment"),
                texts(about.getColumns(null, "default", "nation", "%"), "COLUMN_NAME"));
        ResultSet name = first(about.getColumns(null, "default", "nation", "n_name"));
        same(Types.VARCHAR, name.getInt("DATA_TYPE"));
        same("STRING", name.getString("TYPE_NAME"));
        same(2, name.getInt("ORDINAL_POSITION"));
        List<String> types = texts(about.getTypeInfo(), "TYPE_NAME");
        check(types.containsAll(List.of("BOOLEAN", "INT", "BIGINT", "DOUBLE", "STRING", "TIMESTAMP")), types.toString());
        check(texts(about.getFunctions(null, null, "abs"), "FUNCTION_NAME").contains("abs"), "abs");
    }

    private static List<String> texts(ResultSet rows, String column) throws SQLException {
        List<String> texts = new ArrayList<>();
        while (rows.next()) {
            texts.add(rows.getString(column));
        }
        return texts;
    }

    private static Object one(Connection db, String query) throws SQLException {
        try (Statement statement = db.createStatement()) {
            return first(statement.executeQuery(query)).getObject(1);
        }
    }

    private static ResultSet first(ResultSet rows) throws SQLException {
        check(rows.next(), "there is a row");
        return rows;
    }

    private static void same(Object expected, Object actual) {
        check(Objects.equals(expected, actual), "expected " + expected + ", not " + actual);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private HiveChecks() {}
}
