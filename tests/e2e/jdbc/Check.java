// What a BI tool does with the stock JDBC driver; one line "name<TAB>value" for each answer, "!code message" for an error.

import java.math.BigDecimal;
import java.math.BigInteger;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

public class Check {
  private static final String HEAVY = "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(sipHash64(number))";

  private interface Step {
    Object run() throws Exception;
  }

  private static void tell(String name, Step step) {
    String value;
    try {
      value = String.valueOf(step.run());
    } catch (SQLException error) {
      value = "!" + error.getErrorCode() + " " + error.getMessage();
    } catch (Exception error) {
      value = "!" + error;
    }
    System.out.println(name + "\t" + value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t"));
  }

  private static List<String> column(ResultSet found, String name) throws SQLException {
    List<String> values = new ArrayList<>();
    try (found) {
      while (found.next()) {
        values.add(found.getString(name));
      }
    }
    return values;
  }

  private static String row(ResultSet found) throws SQLException {
    found.next();
    StringBuilder line = new StringBuilder();
    for (int index = 1; index <= found.getMetaData().getColumnCount(); index++) {
      Object value = found.getObject(index);
      String kind = value == null ? "null" : value.getClass().getSimpleName();
      line.append(index > 1 ? "|" : "").append(kind).append(":").append(found.getString(index));
    }
    return line.toString();
  }

  private static Object query(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet found = statement.executeQuery(sql)) {
      return row(found);
    }
  }

  private static Object write(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      return statement.executeUpdate(sql);
    }
  }

  private static void metadata(DatabaseMetaData about) {
    tell("product", () -> about.getDatabaseProductName() + " " + about.getDriverVersion());
    tell("catalogs", () -> column(about.getCatalogs(), "TABLE_CAT"));
    tell("schemas", () -> column(about.getSchemas(), "TABLE_SCHEM"));
    tell("tables", () -> column(about.getTables(null, "headwater", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME"));
    tell("columns", () -> column(about.getColumns(null, "headwater", "events", "%"), "COLUMN_NAME"));
    tell("types", () -> column(about.getTypeInfo(), "TYPE_NAME"));
    tell("keys", () -> column(about.getPrimaryKeys(null, "headwater", "events"), "COLUMN_NAME"));
  }

  private static Object prepared(Connection connection) throws SQLException {
    String sql = "SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e, ? AS f, ? AS g, ? AS h, ? AS i, ? AS j, ? AS k";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setString(1, "it's \\ \"q\" ? \u00fc");
      statement.setInt(2, -5);
      statement.setLong(3, 1L << 40);
      statement.setDouble(4, 1.25);
      statement.setBoolean(5, true);
      statement.setBigDecimal(6, new BigDecimal("12.34"));
      statement.setDate(7, java.sql.Date.valueOf("2026-01-02"));
      statement.setTimestamp(8, Timestamp.valueOf("2026-01-02 03:04:05.678"));
      statement.setNull(9, Types.VARCHAR);
      statement.setObject(10, new BigInteger("18446744073709551615"));
      statement.setObject(11, UUID.fromString("61f0c404-5cb3-11e7-907b-a6006ad3dba0"));
      StringBuilder line = new StringBuilder();
      try (ResultSet found = statement.executeQuery()) {
        found.next();
        for (int index = 1; index <= 11; index++) {
          line.append(index > 1 ? "|" : "").append(found.getString(index));
        }
      }
      return line;
    }
  }

  private static Object filtered(Connection connection) throws SQLException {
    String sql = "SELECT count() FROM headwater.events WHERE user_id = ? AND timestamp > ? AND timestamp < ?";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setString(1, "jdbc-user");
      statement.setTimestamp(2, Timestamp.valueOf("2020-01-01 00:00:00.123"));
      statement.setTimestamp(3, Timestamp.valueOf("2099-01-01 00:00:00"));
      try (ResultSet found = statement.executeQuery()) {
        return row(found);
      }
    }
  }

  private static Object streamed(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet found = statement.executeQuery(sql)) {
      long rows = 0;
      long sum = 0;
      while (found.next()) {
        sum += found.getLong(1);
        rows++;
      }
      return rows + " " + sum;
    }
  }

  private static Object cancelled(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      Thread other = new Thread(() -> tell("cancel", () -> {
        Thread.sleep(700);
        statement.cancel();
        return "sent";
      }));
      other.start();
      try {
        return statement.executeQuery(HEAVY);
      } finally {
        other.join();
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    String limits = "?clickhouse_setting_max_execution_time=1&retry=0";
    try (Connection connection = DriverManager.getConnection(arguments[0], "default", "")) {
      metadata(connection.getMetaData());
      tell("values", () -> query(connection, arguments[1]));
      tell("event", () -> query(connection, "SELECT properties, context_ip, flags FROM headwater.events WHERE user_id = 'jdbc-user'"));
      tell("prepared", () -> prepared(connection));
      tell("filtered", () -> filtered(connection));
      tell("large", () -> streamed(connection, "SELECT number, toString(number) FROM numbers(1000000)"));
      tell("broken", () -> streamed(connection, "SELECT number, throwIf(number = 1900000) FROM numbers(2000000)"));
      tell("wrong", () -> query(connection, "SELECT nope"));
      tell("insert", () -> write(connection, "INSERT INTO headwater.events (message_id) VALUES ('a')"));
      tell("drop", () -> write(connection, "DROP TABLE headwater.events"));
      tell("outward", () -> query(connection, "SELECT * FROM url('http://127.0.0.1:1', 'CSV', 'a Int8')"));
      tell("cancelled", () -> cancelled(connection));
      tell("after", () -> query(connection, "SELECT 1"));
    }
    try (Connection connection = DriverManager.getConnection(arguments[0] + limits, "default", "")) {
      tell("limited", () -> query(connection, HEAVY));
    }
  }
}
