package shop

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Work processes orders until ctx ends. PostgreSQL holds the truth, and Redis only says that there is something to do: an
// order whose id was lost on the way is found in the pauses. The watchdog is fed by this loop, so that a stuck one is noticed.
func Work(ctx context.Context, store *Store, queue *Queue) error {
	wait := time.Second
	if watchdog, err := daemon.SdWatchdogEnabled(false); err != nil {
		return err
	} else if watchdog > 0 {
		wait = min(wait, watchdog/4)
	}
	if err := store.Ping(ctx); err != nil {
		return err
	}
	if err := queue.Ping(ctx); err != nil {
		return err
	}
	name := fmt.Sprintf("worker %d", os.Getpid())
	log.Printf("%s is waiting for orders", name)
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return err
	}
	for ctx.Err() == nil {
		daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		if err := step(ctx, store, queue, name, wait); err != nil && ctx.Err() == nil {
			log.Printf("trying again: %v", err) // a server is being restarted
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	return nil
}

// step waits for one order and processes it, or looks for overlooked ones.
func step(ctx context.Context, store *Store, queue *Queue, name string, wait time.Duration) error {
	id, ok, err := queue.Pop(ctx, wait)
	if err != nil {
		return err
	}
	ids := []int64{id}
	if !ok {
		if ids, err = store.Overlooked(ctx); err != nil {
			return err
		}
	}
	for _, id := range ids {
		// An order that was taken off the list is finished, also while stopping.
		done, err := store.Process(context.WithoutCancel(ctx), id, name)
		if err != nil {
			return fmt.Errorf("order %d: %w", id, err)
		}
		if done {
			log.Printf("processed order %d", id)
		}
	}
	return nil
}
