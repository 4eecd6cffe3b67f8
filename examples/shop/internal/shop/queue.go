package shop

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// list is the Redis list of the ids of new orders.
const list = "orders"

// Queue tells workers of new orders. It is safe for concurrent use.
type Queue struct{ client *redis.Client }

// OpenQueue prepares connections to Redis; they are made when needed.
func OpenQueue(url string) (*Queue, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("cannot use REDIS_URL: %w", err)
	}
	options.ContextTimeoutEnabled = true
	return &Queue{redis.NewClient(options)}, nil
}

// Close ends all connections.
func (q *Queue) Close() error { return q.client.Close() }

// Ping asks whether Redis answers.
func (q *Queue) Ping(ctx context.Context) error { return q.client.Ping(ctx).Err() }

// Push tells of an order.
func (q *Queue) Push(ctx context.Context, id int64) error { return q.client.LPush(ctx, list, id).Err() }

// Pop waits for an order; ok is false when none came in time.
func (q *Queue) Pop(ctx context.Context, wait time.Duration) (id int64, ok bool, err error) {
	got, err := q.client.BRPop(ctx, wait, list).Result()
	if errors.Is(err, redis.Nil) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	id, err = strconv.ParseInt(got[1], 10, 64)
	return id, err == nil, err
}
