package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// Nginx runs nginx for this test with the configuration that conf returns for
// the address to listen on: a whole one, or what stands inside of http {}. It
// must not set daemon or pid.
func Nginx(t testing.TB, conf func(addr string) string) *Server {
	t.Helper()
	allowed(t, "nginx")
	s, err := newWeb("nginx", conf)
	have(t, err)
	adopt(t, s)
	return s
}

// Caddy runs Caddy for this test with the Caddyfile that conf returns for the
// address to listen on.
func Caddy(t testing.TB, conf func(addr string) string) *Server {
	t.Helper()
	allowed(t, "Caddy")
	s, err := newWeb("caddy", conf)
	have(t, err)
	adopt(t, s)
	return s
}

// newWeb starts one of the two with its configuration and its state in a folder.
func newWeb(name string, conf func(addr string) string) (*Server, error) {
	bin, err := webBin(name)
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	dir, err := makeDir(name)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Addr: addrs[0], Dir: dir, name: name, stop: syscall.SIGTERM,
		command: func() *exec.Cmd { return webCommand(name, bin, dir) },
		ready:   func(ctx context.Context) error { return connects(ctx, addrs[0]) },
	}
	text := conf(addrs[0])
	// The workers of nginx run as another user.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if name == "nginx" {
		text = wholeNginx(text, dir)
	}
	err = os.WriteFile(filepath.Join(dir, "conf"), []byte(text), 0o644)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func webBin(name string) (string, error) {
	bin, err := exec.LookPath(name)
	if err == nil {
		return bin, nil
	}
	if name == "nginx" { // Debian keeps it out of the PATH of users
		if bin, err = exec.LookPath("/usr/sbin/nginx"); err == nil {
			return bin, nil
		}
	}
	return "", missing{name, "apt-get install " + name}
}

func webCommand(name, bin, dir string) *exec.Cmd {
	conf := filepath.Join(dir, "conf")
	cmd := exec.Command(bin, "-c", conf, "-p", dir, "-e", "stderr", "-g", "daemon off; pid nginx.pid;")
	if name == "caddy" {
		cmd = exec.Command(bin, "run", "--adapter", "caddyfile", "--config", conf)
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "CADDY_ADMIN=unix/"+filepath.Join(dir, "admin"))
	}
	cmd.Dir = dir
	return cmd
}

var httpBlock = regexp.MustCompile(`(?m)^\s*http\s*\{`)

// wholeNginx completes what stands inside of http {}. Bodies go into the folder:
// the usual one belongs to root.
func wholeNginx(text, dir string) string {
	if httpBlock.MatchString(text) {
		return text
	}
	return fmt.Sprintf(`events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
%[2]s
}
`, dir, text)
}
