package messaging

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/token"
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
				p := newPost(cause(), rooms[i], senders[i], Draft{rooms[i].id, id.New(), body}, "")
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
