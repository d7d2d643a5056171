package rpc

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

const (
	mostAttempts = 3
	firstPause   = 50 * time.Millisecond // before the second attempt; doubled before the next
	budgetMost   = 10.0                  // attempts beyond the first that a connection may make at once
	budgetGain   = 0.1                   // what each call that went well adds
)

// repeatable says whether a method may be called twice for one purpose: its
// description says so, with the option idempotency_level.
func repeatable(method string) bool {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return false
	}
	opts, ok := found.Options().(*descriptorpb.MethodOptions)
	return ok && opts.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// budget bounds the repeats of a connection: when much fails, repeating it all
// would make a load of three out of one.
type budget struct {
	mu    sync.Mutex
	spent float64 // 0 = all of it is there
}

// earn notes a call that went well.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(0, b.spent-budgetGain)
}

// spend takes one repeat, if there is one.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent+1 > budgetMost {
		return false
	}
	b.spent++
	return true
}

// pause waits before the next attempt; false = there is no time for one.
func pause(ctx context.Context, attempt int) bool {
	longest := firstPause << (attempt - 1)
	wait := longest/2 + rand.N(longest/2)
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait {
		return false
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
