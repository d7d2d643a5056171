package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nova-chat/nova"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Name       string
	Doc        string
	GoFiles    []string
	Imports    []string
}

// short is the path within the module.
func (p *pkg) short() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,Doc,GoFiles,Imports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

var (
	base     = []string{"internal/fault", "internal/id", "internal/obs"}
	ground   = append(slices.Clone(base), "internal/run", "internal/token", "internal/limit")
	edges    = append(slices.Clone(ground), "internal/web", "internal/rpc", "internal/ws", "internal/bus", "internal/sqldb", "internal/outbox", "internal/blob")
	protobuf = []string{"internal/auth/authpb", "internal/user/userpb"}
	services = []string{"internal/auth", "internal/user", "internal/messaging", "internal/notification", "internal/media"}
)

func with(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

// allowed says which packages of this module a package may import.
var allowed = map[string]struct {
	list   []string
	reason string
}{
	"internal/fault":             {nil, "fault is the bottom: standard library only"},
	"internal/id":                {nil, "id is the bottom: standard library only"},
	"internal/mutant":            {nil, "a mutant is a name"},
	"internal/obs":               {[]string{"internal/fault", "internal/id"}, "everything stands on obs, so it stands on almost nothing"},
	"internal/run":               {base, "goroutines know obs, nothing above"},
	"internal/token":             {base, "identities are judged locally, without asking anybody"},
	"internal/limit":             {base, "a limit is counted in obs and knows nothing else"},
	"internal/config":            {[]string{"internal/obs"}, "configuration is data: it needs Secret and the names of the services"},
	"internal/web":               {ground, "an edge does not know other edges or services"},
	"internal/certs":             {with(base, "internal/run"), "certificates are files and names: what connects with them is above"},
	"internal/rpc":               {with(ground, "internal/certs"), "an edge does not know other edges or services; certificates are how its two ends know each other"},
	"internal/ws":                {ground, "an edge does not know other edges or services"},
	"internal/bus":               {ground, "an edge does not know other edges or services"},
	"internal/sqldb":             {ground, "an edge does not know other edges or services"},
	"internal/blob":              {ground, "an edge does not know other edges or services"},
	"internal/outbox":            {with(ground, "internal/sqldb", "internal/bus"), "the outbox is what lies between the database and the bus"},
	"internal/sqldb/sqltest":     {with(ground, "internal/sqldb", "test/servers"), "a conformance suite knows its edge, and starts the server of an engine"},
	"internal/bus/bustest":       {with(ground, "internal/bus"), "a conformance suite knows its edge"},
	"internal/blob/blobtest":     {with(ground, "internal/blob"), "a conformance suite knows its edge"},
	"internal/auth/authpb":       {nil, "generated code of a service's interface"},
	"internal/user/userpb":       {nil, "generated code of a service's interface"},
	"internal/auth":              {with(edges, protobuf...), "a service imports edges, never another service"},
	"internal/user":              {with(edges, protobuf...), "a service imports edges, never another service"},
	"internal/messaging":         {with(edges, append(slices.Clone(protobuf), "internal/messaging/inbound")...), "a service imports edges and its own parts, never another service"},
	"internal/messaging/inbound": {base, "what strangers send is read without knowing what becomes of it"},
	"internal/notification":      {with(edges, protobuf...), "a service imports edges, never another service"},
	"internal/media":             {with(edges, protobuf...), "a service imports edges, never another service"},
	"internal/load":              {with(base, "internal/run", "internal/ws", "internal/web"), "the generator is a client: it may not look inside the server"},
	"internal/history":           {nil, "who judges what Nova did shares no line with it"},
	"internal/audit":             {with(base, "internal/run", "internal/ws", "internal/web", "internal/load", "deploy"), "the audit works on any deployment from outside, so it imports no service"},
	"internal/rules":             {nil, "rules are tests"},
	"internal/app":               {with(edges, append(with(services, protobuf...), "internal/certs", "internal/config", "client", "deploy")...), "app wires everything below it"},
	"client":                     {nil, "embedded files"},
	"deploy":                     {nil, "embedded files"},
	"cmd/nova":                   {[]string{"internal/app", "internal/audit", "internal/config", "internal/history", "internal/load", "internal/obs", "internal/run", "internal/fault", "internal/certs"}, "a command parses flags and calls one object"},
	"test/e2e":                   {nil, "tests"},
	"test/servers":               {nil, "the servers of the tests know nothing of Nova"},
	"test/servers/cmd":           {[]string{"test/servers"}, "one of each server for a whole run of tests"},
	"test/process":               {[]string{"test/servers"}, "a process of the binary is known by its ports, its signals and what it says"},
	"test/rounds":                {[]string{"internal/load", "internal/obs", "internal/run", "test/process", "test/servers"}, "the rounds drive the binary and judge by the generator's ledger"},
	"test/mutants":               {[]string{"internal/history"}, "mutants are built and played as commands; the invariants have names"},
	"test/campaign":              {with(base, "internal/run", "internal/load", "internal/history", "internal/web", "internal/ws", "test/process", "test/servers"), "the campaign drives the binary and judges by its clients' histories"},
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range packages(t) {
		rule, ok := allowed[p.short()]
		if !ok {
			t.Errorf("%s is not in the import table: say there what it may import, and why", p.short())
			continue
		}
		for _, imp := range p.Imports {
			in, ours := strings.CutPrefix(imp, module+"/")
			if in == "internal/mutant" {
				continue // TestMutantsAreInFewPlaces says where
			}
			if ours && !slices.Contains(rule.list, in) {
				t.Errorf("%s imports %s: %s", p.short(), in, rule.reason)
			}
		}
	}
}

// owners says which package alone may import something from outside.
var owners = []struct {
	imported string // prefix of the import path
	by       []string
	reason   string
}{
	{"github.com/prometheus/client_golang", []string{"internal/obs"}, "every metric is a field of the catalogue"},
	{"github.com/prometheus/client_model", []string{"internal/obs"}, "every metric is a field of the catalogue"},
	{"github.com/danielgtaylor/huma", []string{"internal/web"}, "services do not know the HTTP library"},
	{"github.com/gobwas", []string{"internal/ws"}, "sockets are opened and written in one place"},
	{"modernc.org/sqlite", []string{"internal/sqldb"}, "services do not know the database driver"},
	{"github.com/jackc/pgx", []string{"internal/sqldb", "test/servers"}, "services do not know the database driver; the test servers ask whether a server answers"},
	{"github.com/redis", []string{"internal/bus", "test/servers"}, "everything between nodes passes the instrumented edge; the test servers ask whether a server answers"},
	{"github.com/twmb/franz-go", []string{"internal/bus", "test/servers"}, "everything between nodes passes the instrumented edge; the test servers ask whether a server answers"},
	{"github.com/Shopify/toxiproxy", []string{"test/servers"}, "faults are for tests"},
	{"database/sql", []string{"internal/sqldb"}, "all SQL passes the instrumented edge"},
	{"github.com/pressly/goose", []string{"internal/sqldb"}, "all SQL passes the instrumented edge"},
	{"github.com/golang-jwt", []string{"internal/token"}, "one place decides which signatures hold"},
	{"golang.org/x/crypto/argon2", []string{"internal/auth"}, "hashing is behind one semaphore"},
	{"github.com/alecthomas/kong", []string{"cmd/nova"}, "flags belong to the command"},
	{"github.com/HdrHistogram", []string{"internal/load", "internal/audit"}, "the generator measures with its own instrument"},
	{"github.com/fullstorydev", []string{"internal/rpc"}, "calls pass the instrumented edge"},
	{"os/signal", []string{"cmd/nova"}, "signals belong to main"},
	{"log", nil, "the slog chain redacts and correlates; package log does neither"},
	{"expvar", nil, "expvar publishes the command line"},
	{"net/http/pprof", []string{"internal/app"}, "profiles are served on the admin listener alone"},
}

func TestLibrariesHaveOneOwner(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			for _, o := range owners {
				hit := imp == o.imported || strings.HasPrefix(imp, o.imported+"/")
				if o.imported == "log" {
					hit = imp == "log"
				}
				if hit && !slices.Contains(o.by, p.short()) {
					t.Errorf("%s imports %s: %s", p.short(), imp, o.reason)
				}
			}
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 20 && p.Name != "main" && !strings.HasSuffix(p.Name, "pb") {
			t.Errorf("%s has no package doc: say what it guarantees and what it does not", p.short())
		}
	}
}

// maxChain is the longest allowed chain of imports within the module.
const maxChain = 9

func TestImportChainIsShort(t *testing.T) {
	imports := map[string][]string{}
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if in, ours := strings.CutPrefix(imp, module+"/"); ours {
				imports[p.short()] = append(imports[p.short()], in)
			}
		}
	}
	depth := map[string]int{}
	var measure func(string) int
	measure = func(p string) int {
		if d, ok := depth[p]; ok {
			return d
		}
		d := 1
		for _, imp := range imports[p] {
			d = max(d, 1+measure(imp))
		}
		depth[p] = d
		return d
	}
	for p := range imports {
		if d := measure(p); d > maxChain {
			t.Errorf("the import chain below %s is %d long, at most %d are allowed: a change at the bottom reaches too far", p, d, maxChain)
		}
	}
}
