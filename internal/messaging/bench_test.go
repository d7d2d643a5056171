package messaging

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/token"
	"github.com/nova-chat/nova/test/servers"
)

// BenchmarkAppend is what the writer can commit: windows of messages of 200
// bytes from 100 pairs, with nothing else in the way but the disk.
func BenchmarkAppend(b *testing.B) {
	for _, window := range []int{1, 8} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			r := newRig(b, b.TempDir())
			defer r.stop()
			const pairs = 100
			senders := make([]token.Identity, pairs)
			rooms := make([]*room, pairs)
			for i := range senders {
				senders[i] = somebody("laptop")
				var err error
				rooms[i], err = r.s.rooms.get(cause(), r.room(senders[i], somebody("laptop")))
				r.must(err)
			}
			body := strings.Repeat("x", 200)
			free := make(chan int, pairs*window) // whose turn it is
			for i := range pairs * window {
				free <- i % pairs
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				i := <-free
				p := newPost(cause(), rooms[i], by(senders[i]), Draft{rooms[i].id, id.New(), body}, "")
				r.s.appends.Submit(b.Context(), p, func(_ outcome, err error) {
					if err != nil {
						b.Error(err)
					}
					free <- i
				})
			}
			for range cap(free) {
				<-free
			}
		})
	}
}

// BenchmarkRead is what reading costs in a conversation of 5,000 messages whose
// neighbours in the log are those of 20 others.
func BenchmarkRead(b *testing.B) {
	for engine, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(b.TempDir(), "nova.db") },
		"postgres": func() string { return servers.Postgres(b) },
	} {
		b.Run(engine, func(b *testing.B) {
			r := rigAt(b, url())
			defer r.stop()
			me, other := somebody("laptop"), somebody("laptop")
			rooms := fill(r, me, other)
			reads := map[string]func() error{
				"newest": func() error {
					_, _, err := r.s.history(cause(), me.UserID, rooms[0], Span{After: -1, Before: -1, Limit: 50})
					return err
				},
				"middle": func() error {
					_, _, err := r.s.history(cause(), me.UserID, rooms[0], Span{After: 2500, Limit: 50})
					return err
				},
				"list of 21, 1,000 unread each": func() error {
					_, _, err := r.s.list(cause(), me.UserID, "", 50)
					return err
				},
			}
			for name, read := range reads {
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						r.must(read())
					}
				})
			}
		})
	}
}

// fill says 5,000 things in each of 21 conversations, in turns.
func fill(r *rig, me, other token.Identity) (rooms []string) {
	var all []*room
	for range 21 {
		id := r.room(me, other, somebody("laptop"))
		room, err := r.s.rooms.get(cause(), id)
		r.must(err)
		rooms, all = append(rooms, id), append(all, room)
	}
	const each = 5000
	answers := make(chan error, 1024)
	free := make(chan struct{}, 1024)
	go func() {
		for range each {
			for _, room := range all {
				free <- struct{}{}
				r.s.appends.Submit(context.Background(), newPost(cause(), room, by(other), Draft{room.id, id.New(), "hello"}, ""), func(_ outcome, err error) { answers <- err })
			}
		}
	}()
	for range each * len(all) {
		r.must(<-answers)
		<-free
	}
	return rooms
}
