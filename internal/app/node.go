package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// nodeFile holds the id of a node, in its data folder.
const nodeFile = "node"

// nodeID is the same over all restarts, and unlike that of any other node. It is
// made at the first start. The folder is locked.
func nodeID(dir string) (string, error) {
	path := filepath.Join(dir, nodeFile)
	text, err := os.ReadFile(path)
	node := strings.TrimSpace(string(text))
	switch {
	case err == nil && id.Valid(node):
		return node, nil
	case err == nil && node != "": // nothing is in it after a crash in the middle
		return "", problem("data_dir", "has a file "+nodeFile+" that holds no id of a node: delete it")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("id of the node: %w", err)
	}
	node = id.New()
	if err := os.WriteFile(path, []byte(node+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("id of the node: %w", err)
	}
	return node, nil
}

// leftTime is longer than the database keeps the id of a node that was cut off
// from it or stopped. One that died has left it at once.
const leftTime = 10 * time.Second

// claimNode keeps out a process that was started on the copy of a node's folder.
// Where the database is this process's alone, the lock of the folder does; one
// without a database has nothing that two could spoil.
func (a *App) claimNode(ctx context.Context) error {
	if !a.cfg.Shared() || a.first() == nil {
		return nil
	}
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	node, err := nodeID(a.cfg.DataDir)
	if err != nil {
		return err
	}
	twice := problem("data_dir", "holds the id of a node that runs already, "+node+": give each node a folder of its own; from a copied one delete the file "+nodeFile)
	a.ready.set("claiming the id of the node")
	err = a.first().Claim(ctx, a.group, sqldb.Claim{Name: "node " + node, Wait: leftTime, Lost: func() { a.ask(twice) }})
	switch {
	case errors.Is(err, sqldb.ErrClaimed):
		return twice
	case err != nil:
		return err
	}
	a.ready.set("starting")
	a.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelInfo, "node", slog.String("node_id", node))
	return nil
}

// first is the database in which a node has its claim, nil if it has none.
func (a *App) first() *sqldb.DB {
	for _, st := range stores {
		if db := a.dbs[st.service]; db != nil {
			return db
		}
	}
	return nil
}
