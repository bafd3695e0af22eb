// What Grafana's ClickHouse plugin does with clickhouse-go over HTTP; one JSON object of all answers.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

const heavy = "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(sipHash64(number))"

var methods = map[string]clickhouse.CompressionMethod{
	"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "gzip": clickhouse.CompressionGZIP,
}

func main() {
	answers := map[string]map[string]any{}
	for name, method := range methods {
		db := clickhouse.OpenDB(&clickhouse.Options{
			Addr:        []string{os.Args[1]},
			Protocol:    clickhouse.HTTP,
			Auth:        clickhouse.Auth{Database: "headwater", Username: "default"},
			Compression: &clickhouse.Compression{Method: method},
			DialTimeout: 10 * time.Second,
			ReadTimeout: 60 * time.Second,
			Settings:    clickhouse.Settings{"limit": 2000000, "max_execution_time": 30},
		})
		answers[name] = check(db, os.Args[2])
		db.Close()
	}
	json.NewEncoder(os.Stdout).Encode(answers)
}

func check(db *sql.DB, values string) map[string]any {
	ctx := context.Background()
	told := map[string]any{"ping": fmt.Sprint(db.PingContext(ctx))}
	told["version"] = first(ctx, db, "SELECT version()")
	told["databases"] = column(ctx, db, "SELECT name FROM system.databases")
	told["tables"] = column(ctx, db, "SELECT name FROM system.tables WHERE database = 'headwater'")
	told["columns"] = column(ctx, db, "SELECT name FROM system.columns WHERE database = 'headwater' AND table = 'events'")
	told["values"] = first(ctx, db, values)
	told["event"] = first(ctx, db, "SELECT properties.deep.x, context_ip, flags FROM events WHERE user_id = 'go-user'")
	told["whole"] = strings.HasPrefix(first(ctx, db, "SELECT * FROM events WHERE user_id = 'go-user'"), "track|")
	now := time.Now().UnixMilli()
	told["series"] = first(ctx, db, fmt.Sprintf(
		"SELECT count() FROM (SELECT toStartOfInterval(toDateTime(timestamp), INTERVAL 60 second) AS time, count() AS n "+
			"FROM events WHERE user_id = 'go-user' AND timestamp >= fromUnixTimestamp64Milli(%d) "+
			"AND timestamp <= fromUnixTimestamp64Milli(%d) GROUP BY time ORDER BY time)", now-3600000, now+60000))
	told["named"] = first(ctx, db, "SELECT count() FROM events WHERE user_id = {user:String} AND timestamp > {since:DateTime64(3)}",
		clickhouse.Named("user", "go-user"), clickhouse.DateNamed("since", time.Unix(1577836800, 0), clickhouse.MilliSeconds))
	told["positional"] = first(ctx, db, "SELECT count() FROM events WHERE user_id = ? AND timestamp > ?", "go-user", time.Unix(1577836800, 0))
	told["large"] = count(ctx, db, "SELECT number, toString(number) FROM numbers(1000000)")
	told["limit"] = count(ctx, db, "SELECT number FROM numbers(2500000)")
	told["broken"] = count(ctx, db, "SELECT number, throwIf(number = 1900000) FROM numbers(2000000)")
	told["wrong"] = first(ctx, db, "SELECT nope")
	told["insert"] = first(ctx, db, "INSERT INTO events (message_id) VALUES ('a')")
	told["outward"] = first(ctx, db, "SELECT * FROM url('http://127.0.0.1:1', 'CSV', 'a Int8')")
	id := clickhouse.Context(ctx, clickhouse.WithQueryID("go-id"),
		clickhouse.WithSettings(clickhouse.Settings{"max_execution_time": 1}))
	told["slow"] = first(id, db, heavy)
	soon, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	told["deadline"] = first(soon, db, heavy)
	told["after"] = first(ctx, db, "SELECT 1")
	return told
}

func failure(err error) string {
	var exception *clickhouse.Exception
	if errors.As(err, &exception) {
		return fmt.Sprintf("!%d %s", exception.Code, exception.Message)
	}
	return "!" + err.Error()
}

func column(ctx context.Context, db *sql.DB, query string) []string {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return []string{failure(err)}
	}
	defer rows.Close()
	found := []string{}
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return []string{failure(err)}
		}
		found = append(found, value)
	}
	return found
}

func first(ctx context.Context, db *sql.DB, query string, args ...any) string {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return failure(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return failure(err)
	}
	if !rows.Next() {
		return fmt.Sprint("no row: ", rows.Err())
	}
	values := make([]any, len(types))
	for index, kind := range types {
		values[index] = reflect.New(kind.ScanType()).Interface()
	}
	if err := rows.Scan(values...); err != nil {
		return failure(err)
	}
	texts := make([]string, len(values))
	for index, value := range values {
		plain := reflect.Indirect(reflect.ValueOf(value))
		for plain.Kind() == reflect.Pointer && !plain.IsNil() {
			plain = plain.Elem()
		}
		texts[index] = fmt.Sprint(plain)
	}
	return strings.Join(texts, "|")
}

func count(ctx context.Context, db *sql.DB, query string) string {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return failure(err)
	}
	defer rows.Close()
	number := 0
	for rows.Next() {
		number++
	}
	if err := rows.Err(); err != nil {
		return failure(err)
	}
	return fmt.Sprint(number)
}
