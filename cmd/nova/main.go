// Command nova is all of Nova: the server, and what is needed around it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		<-signals // the one that ended ctx
		<-signals // a second one wants no drain
		os.Exit(exitSecondSignal)
	})
	code := runCommand(ctx, os.Args[1:])
	signal.Stop(signals)
	stop()
	os.Exit(code)
}
