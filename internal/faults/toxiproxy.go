package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"time"

	"github.com/freshet/freshet/internal/redistest"
)

// toxiproxy is a toxiproxy-server with one proxy: it knows nothing of what
// passes, and delays it. It is a process and not a library because the SDK's
// users would inherit what the library needs.
type toxiproxy struct {
	api  string // URL
	addr string // where the proxy listens
}

// toxiproxy starts one in front of addr, without toxics.
func (t *trial) toxiproxy(addr string) *toxiproxy {
	path := t.buildToxiproxy()
	port, err := redistest.FreePort()
	t.must(err)
	cmd := exec.Command(path, "-host", "127.0.0.1", "-port", strconv.Itoa(port), "-seed", strconv.FormatInt(t.rand.Int64(), 10))
	t.must(cmd.Start())
	t.atEnd(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &toxiproxy{api: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	t.until("toxiproxy-server answers", 10*time.Second, func() bool { return p.call(t.ctx, http.MethodGet, "/proxies", nil, nil) == nil })
	var made struct{ Listen string }
	t.must(p.call(t.ctx, http.MethodPost, "/proxies", map[string]any{
		"name": "redis", "listen": "127.0.0.1:0", "upstream": addr, "enabled": true,
	}, &made))
	p.addr = made.Listen
	return p
}

// buildToxiproxy builds toxiproxy-server at the version of tools/toxiproxy.mod,
// which takes time only when it was never built.
func (t *trial) buildToxiproxy() (path string) {
	path = t.file("toxiproxy-server")
	build := exec.CommandContext(t.ctx, "go", "build", "-modfile=tools/toxiproxy.mod", "-o", path, "github.com/Shopify/toxiproxy/v2/cmd/server")
	if out, err := build.CombinedOutput(); err != nil {
		t.must(fmt.Errorf("build toxiproxy-server (in the repository's directory): %w: %s", err, tail(string(out))))
	}
	return path
}

// slow delays what passes by latency, give or take jitter, on each of the two
// ways.
func (p *toxiproxy) slow(t *trial, latency, jitter time.Duration) {
	for _, way := range []string{"upstream", "downstream"} {
		t.must(p.call(t.ctx, http.MethodPost, "/proxies/redis/toxics", map[string]any{
			"type": "latency", "stream": way,
			"attributes": map[string]int64{"latency": latency.Milliseconds(), "jitter": jitter.Milliseconds()},
		}, nil))
	}
}

// heal removes all toxics.
func (p *toxiproxy) heal(t *trial) { t.must(p.call(t.ctx, http.MethodPost, "/reset", nil, nil)) }

func (p *toxiproxy) call(ctx context.Context, method, path string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, p.api+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return fmt.Errorf("toxiproxy: %s %s: status %d", method, path, response.StatusCode)
	}
	if reply == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(reply)
}
