// Command nova is all of Nova: the server, and what is needed around it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameSignal is how long after the first signal another one means the same:
// supervisors signal the process and then its group, all at once.
const sameSignal = 500 * time.Millisecond

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		<-signals // the one that ended ctx
		first := time.Now()
		for range signals { // a second one wants no drain
			if time.Since(first) > sameSignal {
				os.Exit(exitSecondSignal)
			}
		}
	})
	code := runCommand(ctx, os.Args[1:])
	signal.Stop(signals)
	stop()
	os.Exit(code)
}
