// Command cmd starts one PostgreSQL, one Redis and one Kafka for all tests of a
// run, writes the variables that name them to a file, and ends them when its
// standard input ends.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/nova-chat/nova/test/servers"
)

func main() {
	env := flag.String("env", "", "the `file` to write lines like export NAME=value to")
	flag.Parse()
	if err := serve(*env); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(env string) error {
	if env == "" {
		return errors.New("-env names the file for the variables")
	}
	all, err := servers.All(os.Stderr)
	if err != nil {
		return err
	}
	err = all.WriteFile(env)
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	return errors.Join(err, all.Close())
}
