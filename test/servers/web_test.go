package servers_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nova-chat/nova/test/servers"
)

func TestWebServersPassRequestsOn(t *testing.T) {
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d", r.URL.Path, len(body))
	}))
	defer behind.Close()
	starts := map[string]func(*testing.T) *servers.Server{
		"nginx": func(t *testing.T) *servers.Server {
			return servers.Nginx(t, func(addr string) string {
				return "server { listen " + addr + "; client_max_body_size 1m; location / { proxy_pass " + behind.URL + "; } }"
			})
		},
		"caddy": func(t *testing.T) *servers.Server {
			return servers.Caddy(t, func(addr string) string {
				return "http://" + addr + " {\n\treverse_proxy " + behind.URL + "\n}\n"
			})
		},
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for range 2 {
				if got := post(t, s.Addr); got != "/path 100000" {
					t.Errorf("the answer is %q", got)
				}
				if err := errors.Join(s.Kill(), s.Start()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func post(t *testing.T, addr string) string {
	t.Helper()
	res, err := http.Post("http://"+addr+"/path", "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
