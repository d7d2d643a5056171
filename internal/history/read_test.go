package history_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/history"
)

const head = `{"op":"history","version":1,"run":"R"}` + "\n"

func read(t testing.TB, texts ...string) ([]*history.History, error) {
	t.Helper()
	var sources []history.Source
	for i, text := range texts {
		sources = append(sources, history.Source{Name: "f" + string(rune('0'+i)), Reader: strings.NewReader(text)})
	}
	return history.Read(t.Context(), sources...)
}

func TestWhatIsNoHistoryIsRefused(t *testing.T) {
	const world = head + `{"op":"device","dev":"a","user":"A","device":"x"}` + "\n" + `{"op":"conv","conv":"K","base":0}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":                {"", "f0:1 is no header"},
		"no header":            {`{"op":"conv","conv":"K","base":0}` + "\n", "f0:1 is no header"},
		"another version":      {`{"op":"history","version":2,"run":"R"}` + "\n", "f0:1 says version 2"},
		"no run":               {`{"op":"history","version":1}` + "\n", `lacks the field "run"`},
		"second header":        {head + head, "f0:2 is a second header"},
		"cut off":              {head + `{"op":"conv","co`, "f0:2 has no end"},
		"empty line":           {head + "\n", "f0:2 is no flat JSON object"},
		"no JSON":              {head + "boo\n", "f0:2 is no flat JSON object"},
		"an array":             {head + "[]\n", "is no flat JSON object"},
		"more behind it":       {head + `{"op":"conv","conv":"K","base":0} x` + "\n", "is no flat JSON object"},
		"no op":                {head + "{}\n", `lacks the field "op"`},
		"unknown op":           {head + `{"op":"boo"}` + "\n", "unknown op"},
		"unknown field":        {head + `{"op":"conv","boo":1}` + "\n", `unknown field "boo"`},
		"field twice":          {head + `{"op":"conv","base":0,"base":0}` + "\n", `"base" twice`},
		"field lacks":          {head + `{"op":"conv","conv":"K"}` + "\n", `lacks the field "base"`},
		"field too many":       {head + `{"op":"conv","conv":"K","base":0,"seq":1}` + "\n", `has no field "seq"`},
		"number as text":       {head + `{"op":"conv","conv":"K","base":"0"}` + "\n", `field "base": should be a whole number`},
		"fraction":             {head + `{"op":"conv","conv":"K","base":0.5}` + "\n", "is no flat JSON object"},
		"huge number":          {head + `{"op":"conv","conv":"K","base":1234567890123456789}` + "\n", "whole number"},
		"leading zero":         {head + `{"op":"conv","conv":"K","base":01}` + "\n", "whole number"},
		"text as number":       {head + `{"op":"conv","conv":1,"base":0}` + "\n", `field "conv": should be a text`},
		"text without end":     {head + `{"op":"conv` + "\n", "should be a text"},
		"bad escape":           {head + `{"op":"conv","conv":"\x","base":0}` + "\n", "should be a text"},
		"no flag":              {world + `{"op":"send","dev":"a","conv":"K","cmid":"c","hash":"h","t":1,"again":1}` + "\n", "true or false"},
		"negative base":        {head + `{"op":"conv","conv":"K","base":-1}` + "\n", "negative base"},
		"another base":         {world + `{"op":"conv","conv":"K","base":1}` + "\n", "another base"},
		"label twice":          {world + `{"op":"device","dev":"a","user":"B","device":"x"}` + "\n", "second device"},
		"unknown device":       {world + `{"op":"ack","dev":"b","cmid":"c","msg":"M","seq":1,"t":1}` + "\n", `device "b"`},
		"unknown conversation": {world + `{"op":"send","dev":"a","conv":"L","cmid":"c","hash":"h","t":1}` + "\n", `conversation "L"`},
		"unknown socket":       {world + `{"op":"close","sock":"s","t":1}` + "\n", `socket "s"`},
		"socket twice":         {world + strings.Repeat(`{"op":"open","dev":"a","sock":"s","t":1}`+"\n", 2), "a second time"},
		"resumes the unknown":  {world + `{"op":"open","dev":"a","sock":"s","t":1,"from":{"L":1}}` + "\n", `conversation "L"`},
		"wrong kind":           {world + `{"op":"fail","dev":"a","cmid":"c","kind":"maybe","t":1}` + "\n", "definite or indeterminate"},
		"wrong source":         {world + `{"op":"recv","dev":"a","conv":"K","seq":1,"msg":"M","cmid":"c","by":"a","hash":"h","src":"dream","t":1}` + "\n", "live, resume or history"},
		"seq below 1":          {world + `{"op":"ack","dev":"a","cmid":"c","msg":"M","seq":0,"t":1}` + "\n", "below 1"},
		"half an event":        {world + `{"op":"event","topic":"t","partition":0,"offset":0,"id":"e","type":"x","seq":1}` + "\n", "lacks the field"},
		"heals nothing":        {world + `{"op":"heal","name":"x","t":1}` + "\n", "heals a fault"},
		"too long":             {head + `{"op":"conv","base":0,"conv":"` + strings.Repeat("x", 1<<20) + "\"}\n", "f0:2 is longer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, c.text)
			if _, ok := errors.AsType[*history.UnreadableError](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestEscapesSpacesAndNotes(t *testing.T) {
	all, err := read(t, head+` { "op" : "conv" , "conv" : "\u004b" , "base" : 0, "note":"a \"note\"" }`+"\r\n"+`{"op":"member","conv":"K","user":"A","kind":"add","seq":0,"t":-5}`+"\n")
	if err != nil || all[0].Lines != 3 {
		t.Errorf("got %v", err)
	}
}

// TestFilesOfOneRunAreOneHistory splits the good history in two at each line
// that may begin a file: where servers are asked.
func TestFilesOfOneRunAreOneHistory(t *testing.T) {
	s := good()
	at := s.find(t, 0, row{"op": "log"})
	second := append(script{s[0]}, s[1:4]...) // labels hold within one file
	second = append(second, s[at:]...)
	other := strings.Replace(good().String(), `"run":"R"`, `"run":"other"`, 1)
	all, err := read(t, s[:at].String(), other, second.String())
	if err != nil || len(all) != 2 || all[0].Run != "R" || all[1].Run != "other" {
		t.Fatalf("got %v, %v", all, err)
	}
	for _, h := range all {
		if r := h.Report(1); len(r.Broken())+len(r.Undecided()) > 0 {
			t.Errorf("run %s: broken %v, not judged %v", h.Run, r.Broken(), r.Undecided())
		}
	}
	bad := second.set(t, 0, row{"op": "shutdown"}, row{"exit": 1})
	all, err = read(t, s[:at].String(), bad.String())
	if err != nil {
		t.Fatal(err)
	}
	r := all[0].Report(1)
	want := fmt.Sprintf("f1:%d", bad.find(t, 0, row{"op": "shutdown"})+1)
	if e := r.Verdicts[indexOf(r.Verdicts, "I17")].Evidence; len(e) != 1 || e[0].Lines[0] != want {
		t.Errorf("evidence %+v, want the line %s", e, want)
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	text := head + strings.Repeat(`{"op":"conv","conv":"K","base":0}`+"\n", 1<<17)
	if _, err := history.Read(ctx, history.Source{Name: "f", Reader: strings.NewReader(text)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNothingToJudge(t *testing.T) {
	all, err := read(t, head)
	if err != nil {
		t.Fatal(err)
	}
	r := all[0].Report(5)
	if diff := cmp.Diff(history.Names(), r.Undecided()); diff != "" || len(r.Broken()) > 0 {
		t.Errorf("not judged (-want +got):\n%s", diff)
	}
	var b strings.Builder
	if err := r.Print(&b); err != nil || strings.Contains(b.String(), "all that was judged") || strings.Count(b.String(), "not judged") != 17 {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// TestWatchedTooShort: what is missing right after its answer may still come.
func TestWatchedTooShort(t *testing.T) {
	s := good().drop(t, 0, row{"op": "recv", "cmid": "m7"})
	s = s.each(row{"op": "caught_up"}, func(r row) bool { r["t"] = 16_000 * ms; return true })
	r := check(t, s)
	if diff := cmp.Diff([]string{"I9"}, r.Undecided()); diff != "" || len(r.Broken()) > 0 {
		t.Errorf("broken %v, not judged (-want +got):\n%s", r.Broken(), diff)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	s := good().each(row{"op": "recv"}, func(r row) bool { r["hash"] = "other"; return true })
	v := check(t, s).Verdicts[1]
	if len(v.Evidence) != 5 || v.Broken != 12 {
		t.Errorf("%d shown of %d", len(v.Evidence), v.Broken)
	}
}

func TestNames(t *testing.T) {
	got, err := history.ParseNames([]string{"I1-I3", "i5", "13", "I14-I16"})
	if want := []string{"I1", "I2", "I3", "I5", "I13", "I15", "I16"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "I", "I14", "I99", "x", "I0", "I-1", "I3-x", "I100000000000"} {
		if _, err := history.ParseNames([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// FuzzRead: nothing that is read or judged panics or hangs, and what is refused
// is refused with a line.
func FuzzRead(f *testing.F) {
	f.Add(good().String())
	for _, line := range strings.SplitAfter(good().String(), "\n") {
		f.Add(head + line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := history.Read(t.Context(), history.Source{Name: "f", Reader: strings.NewReader(text)})
		if err != nil {
			if _, ok := errors.AsType[*history.UnreadableError](err); !ok {
				t.Fatalf("got %v", err)
			}
			return
		}
		for _, h := range all {
			if err := h.Report(2).Print(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	})
}
