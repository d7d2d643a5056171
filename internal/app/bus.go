package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/limit"
	"github.com/nova-chat/nova/internal/obs"
)

// openBus decides what carries events and deliveries: this process's memory, or
// Redis and Kafka. Neither is waited for: what cannot be reached makes the
// process degraded, not unready.
func (a *App) openBus(ctx context.Context) error {
	memory := bus.NewMemory(a.obs, a.group)
	a.fanout, a.events = memory.Fanout(), memory.Events()
	if !a.cfg.Redis.Empty() {
		if err := a.openRedis(ctx); err != nil {
			return err
		}
	}
	if len(a.cfg.Kafka) > 0 {
		return a.openKafka(ctx)
	}
	return nil
}

func (a *App) openRedis(ctx context.Context) error {
	trust, err := trusted(a.cfg.CAFile)
	if err != nil {
		return err
	}
	if err := a.openControl(ctx, trust); err != nil || !a.cfg.Local(obs.Messaging) {
		return err
	}
	r, err := bus.NewRedis(ctx, a.obs, a.group, bus.RedisConfig{URL: a.cfg.Redis, TLS: trust, Stream: a.cfg.Prefix, Epoch: a.epoch})
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	a.fanout = r.Fanout()
	a.degraded = append(a.degraded, r.Degraded)
	return nil
}

// controlLength is about how many entries the stream of control keeps.
const controlLength = 10_000

// openControl opens a stream of its own for what all processes tell each other:
// those without messaging should not have to read every delivery.
func (a *App) openControl(ctx context.Context, trust *tls.Config) (err error) {
	a.control, err = bus.NewRedis(ctx, a.obs, a.group, bus.RedisConfig{URL: a.cfg.Redis, TLS: trust, Stream: a.cfg.Prefix, Name: "control", Length: controlLength})
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	a.hearing.redis = a.control.Degraded
	a.degraded = append(a.degraded, a.control.Degraded)
	a.peers = limit.NewPeers(limit.PeersConfig{Nodes: a.cfg.Nodes, Publish: a.tellSpent, Away: func() bool { return a.control.Degraded() != "" }})
	cancel := a.control.Fanout().Subscribe("app.control", a.hear)
	a.group.OnStop("app.control", time.Second, func(context.Context) error { cancel(); return nil })
	return nil
}

// typeSpent is the type of what processes tell each other of their limits.
const typeSpent = "limits.spent"

// tellSpent tells the others what limits let through here.
func (a *App) tellSpent(ctx context.Context, payload []byte) error {
	return a.control.Fanout().Publish(ctx, []bus.Envelope{{ID: id.New(), Type: typeSpent, At: time.Now(), Correlation: obs.NewCorrelation(), Payload: payload}})
}

// hear takes what other processes tell.
func (a *App) hear(ctx context.Context, batch []bus.Envelope) {
	for i := range batch {
		switch batch[i].Type {
		case typeEnded:
			a.hearEnded(ctx, &batch[i])
		case typeSpent:
			if err := a.peers.Hear(batch[i].Payload); err != nil {
				a.unreadable(ctx, &batch[i], err)
			}
		case bus.TypeGap:
			a.wordLost()
		}
	}
}

// epoch is that of the store whose positions travel; "" before it is known.
func (a *App) epoch() string {
	if a.messaging == nil {
		return ""
	}
	return a.messaging.Epoch()
}

func (a *App) openKafka(ctx context.Context) error {
	cfg, err := kafkaConfig(a.cfg)
	if err != nil {
		return err
	}
	k, err := bus.NewKafka(ctx, a.obs, a.group, cfg)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	a.events = k.Events()
	a.degraded = append(a.degraded, k.Degraded)
	return nil
}

// unreadable counts what another process told and nobody can read.
func (a *App) unreadable(ctx context.Context, e *bus.Envelope, err error) {
	a.obs.Metrics.EventFailures.Inc(obs.BusMalformed)
	a.obs.Log(obs.Process).LogAttrs(obs.WithCorrelation(ctx, e.Correlation), slog.LevelError, "what another process told cannot be read",
		slog.String("type", e.Type), slog.String("reason", obs.BusMalformed.String()), obs.Cause(err))
}

func kafkaConfig(cfg config.Config) (bus.KafkaConfig, error) {
	k := bus.KafkaConfig{Brokers: cfg.Kafka, Prefix: cfg.Prefix, SASL: cfg.KafkaSASL, User: cfg.KafkaUser, Pass: cfg.KafkaPass, Replication: cfg.KafkaCopies}
	if !cfg.KafkaTLS {
		return k, nil
	}
	var err error
	if k.TLS, err = trusted(cfg.CAFile); k.TLS == nil {
		k.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return k, err
}

// trusted is TLS with the authorities of a file, nil without one.
func trusted(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, problem("ca_file", "cannot be read")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, problem("ca_file", "holds no certificate in PEM")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
