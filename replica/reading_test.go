package replica_test

import (
	"path/filepath"
	"testing"

	"github.com/freshet/freshet/replica"
)

func TestOpenToReadChangesNothing(t *testing.T) {
	dsn := "sqlite://" + filepath.Join(t.TempDir(), "copy.db")
	if db, err := replica.OpenToRead(t.Context(), dsn); err == nil {
		db.Close()
		t.Error("opened what is not there")
	}
	store, err := replica.Open(t.Context(), dsn, replica.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	db, err := replica.OpenToRead(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("SELECT count(*) FROM users").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d users, %v", n, err)
	}
	for _, statement := range []string{"DELETE FROM users", "CREATE TABLE x (y)", "INSERT INTO users (tenant_id, user_id, updated_from, versions) VALUES ('a', 'b', '', '')"} {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("%s: done", statement)
		}
	}
}
