// Package shop holds what the verbs of the command do.
package shop

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Order is an order as it is stored and shown.
type Order struct {
	ID          int64      `json:"id"`
	Item        string     `json:"item"`
	Quantity    int        `json:"quantity"`
	CreatedAt   time.Time  `json:"created_at"`
	ProcessedAt *time.Time `json:"processed_at,omitempty"`
	ProcessedBy *string    `json:"processed_by,omitempty"`
}

// Stats counts orders.
type Stats struct {
	Stored    int64 `json:"stored"`
	Processed int64 `json:"processed"`
}

// Store is the orders in PostgreSQL. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// OpenStore prepares connections to the database; they are made when needed.
func OpenStore(ctx context.Context, url string) (*Store, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("cannot use DATABASE_URL: %w", err)
	}
	return &Store{pool}, nil
}

// Close ends all connections.
func (s *Store) Close() { s.pool.Close() }

// Ping asks whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Add stores an order and gives its id.
func (s *Store) Add(ctx context.Context, item string, quantity int) (id int64, err error) {
	err = s.pool.QueryRow(ctx, "insert into orders (item, quantity) values ($1, $2) returning id", item, quantity).Scan(&id)
	return id, err
}

// List gives the newest hundred orders.
func (s *Store) List(ctx context.Context) ([]Order, error) {
	rows, err := s.pool.Query(ctx, "select id, item, quantity, created_at, processed_at, processed_by from orders order by id desc limit 100")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Order])
}

// Stats counts the orders.
func (s *Store) Stats(ctx context.Context) (st Stats, err error) {
	err = s.pool.QueryRow(ctx, "select count(*), count(processed_at) from orders").Scan(&st.Stored, &st.Processed)
	return st, err
}

// Process marks an order as processed; done is false where another worker was first.
func (s *Store) Process(ctx context.Context, id int64, worker string) (done bool, err error) {
	tag, err := s.pool.Exec(ctx, "update orders set processed_at = now(), processed_by = $2 where id = $1 and processed_at is null", id, worker)
	return tag.RowsAffected() == 1, err
}

// Overlooked gives orders that nobody has processed for a while: a worker died over them, or Redis lost their ids.
func (s *Store) Overlooked(ctx context.Context) ([]int64, error) {
	rows, err := s.pool.Query(ctx, "select id from orders where processed_at is null and created_at < now() - interval '3 seconds' order by id limit 100")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// Migrate runs the *.sql files that have not been run yet, in the order of their names: all of them, or none.
func (s *Store) Migrate(ctx context.Context, dir fs.FS) error {
	names, err := fs.Glob(dir, "*.sql")
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		const prepare = `
			select pg_advisory_xact_lock(hashtext('shop migrate'));
			create table if not exists schema_migrations (name text primary key, at timestamptz not null default now());`
		if _, err := tx.Exec(ctx, prepare); err != nil {
			return err
		}
		for _, name := range names {
			if err := migrate(ctx, tx, dir, name); err != nil {
				return fmt.Errorf("migration %s: %w", name, err)
			}
		}
		return nil
	})
}

func migrate(ctx context.Context, tx pgx.Tx, dir fs.FS, name string) error {
	tag, err := tx.Exec(ctx, "insert into schema_migrations (name) values ($1) on conflict do nothing", name)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	sql, err := fs.ReadFile(dir, name)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, string(sql)); err != nil {
		return err
	}
	fmt.Println("migrated", name)
	return nil
}
