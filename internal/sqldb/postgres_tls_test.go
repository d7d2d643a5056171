package sqldb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/test/servers"
)

// certificate makes a self-signed one for a name and gives it and its key.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	raw, err2 := x509.MarshalPKCS8PrivateKey(private)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func TestEncryptedAndVerified(t *testing.T) {
	cert, key := certificate(t, "localhost")
	server := servers.StartPostgres(t, servers.PostgresOptions{
		Settings: []string{"ssl=on", "ssl_cert_file=own.crt", "ssl_key_file=own.key"},
		Files:    map[string]string{"own.crt": cert, "own.key": key},
	})
	other, _ := certificate(t, "localhost")
	root := func(name, text string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	address := func(host, root string) string {
		u, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.Host = net.JoinHostPort(host, u.Port())
		u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {root}}.Encode()
		return u.String()
	}
	db, _, _ := start(t, address("localhost", root("right.crt", cert)), nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), "test", put(1)); err != nil {
		t.Error(err)
	}
	if got := admin(t, server.URL, `SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'nova messaging'`); got != "t" {
		t.Errorf("encrypted: %s", got)
	}
	if err := errors.Join(server.Stop(), server.Start()); err != nil { // connections that died idle are noticed below the encryption
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), "test", put(2)); err != nil {
		t.Error(err)
	}
	for name, a := range map[string]string{"another authority": address("localhost", root("wrong.crt", other)), "another name": address("127.0.0.1", root("right.crt", cert))} {
		if _, err := tryOpen(t, a); err == nil || !strings.Contains(err.Error(), "cannot be encrypted as asked") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheHostThatCanWriteIsFound(t *testing.T) {
	address := servers.Postgres(t)
	closed, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	several := strings.Replace(address, u.Host, fmt.Sprintf("127.0.0.1:%d,%s", closed, u.Host), 1) + "&target_session_attrs=read-write"
	db, _, _ := start(t, several, nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), "test", put(1)); err != nil {
		t.Error(err)
	}
}
