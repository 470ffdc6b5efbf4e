package redisstream_test

import (
	"bufio"
	"context"
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
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
)

func TestOpenNamesTheConnection(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 1)
	if list := server.Do("CLIENT", "LIST").(string); !strings.Contains(list, "name=a-test ") {
		t.Errorf("CLIENT LIST:\n%s", list)
	}
}

func TestOpenSelectsTheDatabaseAndLogsIn(t *testing.T) {
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "ada", "on", ">p@ss/w%rd", "~*", "+@all")
	c := open(t, "redis://ada:p%40ss%2Fw%25rd@"+server.Addr()+"/5")
	add(t, c, s1, 3)
	if info := server.Do("INFO", "keyspace").(string); !strings.Contains(info, "db5:keys=1") {
		t.Errorf("INFO keyspace: %s", info)
	}
}

func TestOpenByUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "redis.sock")
	redistest.Start(t, "--unixsocket", socket)
	add(t, open(t, "unix://"+socket), s1, 1)
}

func TestOpenFailuresAreClassedAndKeepThePassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	free, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]redisstream.Class{
		"redis://:s3cret@" + server.Addr():                redisstream.Auth,
		"redis://s3cret:s3cret@" + server.Addr():          redisstream.Auth,
		"redis://" + server.Addr():                        redisstream.Auth,
		"redis://:s3cret@127.0.0.1:" + strconv.Itoa(free): redisstream.Unreachable,
		"unix://u:s3cret@/nowhere/redis.sock":             redisstream.Unreachable,
	} {
		_, err := redisstream.Open(t.Context(), redisstream.Config{URL: url})
		if got := redisstream.ClassOf(err); err == nil || got != want {
			t.Errorf("%s: class %s, want %s: %v", url, got, want, err)
			continue
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "s3cret") {
			t.Errorf("the error tells the password: %s", text)
		}
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	defer server.Cont()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := redisstream.Open(ctx, redisstream.Config{URL: server.URL()})
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

func TestOpenWaitsWhileTheServerLoads(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024")
	server.Do("DEBUG", "POPULATE", "1000")
	server.Do("CONFIG", "SET", "key-load-delay", "1000") // µs: about a second for all
	reloaded := make(chan any, 1)
	go func() { reloaded <- server.Do("DEBUG", "RELOAD") }()
	eventually(t, "the server is loading", func() bool {
		e, ok := server.Do("PING").(redistest.Error)
		return ok && strings.HasPrefix(string(e), "LOADING")
	})
	add(t, open(t, server.URL()), s1, 1) // fails while the server loads
	<-reloaded
}

// A gateway that does not know a command repeats its arguments in its reply.
func TestNoReplyRepeatsWhatWasSent(t *testing.T) {
	for _, unknown := range []string{"AUTH", "XADD"} {
		t.Run(unknown, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					wg.Go(func() { answerWithout(conn, unknown) })
				}
			})
			t.Cleanup(func() { listener.Close(); wg.Wait() })
			c, err := redisstream.Open(t.Context(), redisstream.Config{URL: "redis://:s3cret@" + listener.Addr().String()})
			if err == nil {
				t.Cleanup(c.Close)
				_, err = c.Add(t.Context(), s1, []events.Field{{Name: "data", Value: "s3cret"}})
			}
			if err == nil || !strings.Contains(err.Error(), "unknown command '"+unknown+"'") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v", err)
			}
			if !redisstream.NotSent(err) {
				t.Error("a refusal is no longer told from a lost reply")
			}
		})
	}
}

// answerWithout is a server that says OK to every command but HELLO and the
// unknown one.
func answerWithout(conn net.Conn, unknown string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	line := func() string {
		s, _ := r.ReadString('\n')
		return strings.TrimRight(s, "\r\n")
	}
	for {
		count, err := strconv.Atoi(strings.TrimPrefix(line(), "*"))
		if err != nil {
			return
		}
		args := make([]string, count)
		for i := range args {
			line()
			args[i] = line()
		}
		reply := "+OK\r\n"
		if args[0] == unknown || args[0] == "HELLO" {
			reply = fmt.Sprintf("-ERR unknown command '%s', with args beginning with: %q\r\n", args[0], args[1:])
		}
		if _, err := conn.Write([]byte(reply)); err != nil {
			return
		}
	}
}

func TestPlaintextToAnotherMachineIsWarnedOfOnce(t *testing.T) {
	log := &logBuffer{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := redisstream.Open(ctx, redisstream.Config{URL: "redis://:s3cret@192.0.2.1", Log: log.logger()})
	if err == nil {
		t.Fatal("connected to a documentation address")
	}
	if n := strings.Count(log.String(), "not encrypted"); n != 1 || strings.Contains(log.String(), "s3cret") {
		t.Errorf("log:\n%s", log)
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca", time.Hour)
	ca.issue(t, dir, "server", time.Hour)
	ca.issue(t, dir, "client", time.Hour)
	ca.issue(t, dir, "expired", -time.Hour)
	other := newAuthority(t, dir, "other-ca", time.Hour)
	other.issue(t, dir, "stranger", time.Hour)
	newAuthority(t, dir, "expired-ca", -time.Hour)
	file := func(name string) string { return filepath.Join(dir, name+".pem") }
	if err := os.WriteFile(file("text"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t, "--tls-port", strconv.Itoa(port), "--tls-auth-clients", "yes",
		"--tls-ca-cert-file", file("ca"), "--tls-cert-file", file("server"), "--tls-key-file", file("server-key"))
	secure := "rediss://127.0.0.1:" + strconv.Itoa(port)

	for _, tc := range []struct {
		name          string
		url           string
		ca, cert, key string
		wrong         string // part of the error; "" when there is none
	}{
		{name: "mutual", url: secure, ca: "ca", cert: "client", key: "client-key"},
		{name: "no client certificate", url: secure, ca: "ca", wrong: "client certificate"},
		{name: "stranger's certificate", url: secure, ca: "ca", cert: "stranger", key: "stranger-key", wrong: "client certificate"},
		{name: "unknown authority", url: secure, cert: "client", key: "client-key", wrong: "unknown authority"},
		{name: "another name", url: "rediss://localhost:" + strconv.Itoa(port), ca: "ca", cert: "client", key: "client-key", wrong: "not localhost"},
		{name: "plaintext to the TLS port", url: "redis://127.0.0.1:" + strconv.Itoa(port), wrong: "connect"},
		{name: "key of another certificate", url: secure, ca: "ca", cert: "client", key: "server-key", wrong: file("client")},
		{name: "no such file", url: secure, ca: "missing", wrong: file("missing")},
		{name: "authority's file without a certificate", url: secure, ca: "text", wrong: "text.pem: no PEM certificate"},
		{name: "expired authority", url: secure, ca: "expired-ca", wrong: "expired-ca.pem: expired on"},
		{name: "expired client certificate", url: secure, ca: "ca", cert: "expired", key: "expired-key", wrong: "expired.pem: expired on"},
		{name: "files without TLS", url: server.URL(), ca: "ca", wrong: "use rediss://"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := redisstream.Config{URL: tc.url}
			for name, to := range map[string]*string{tc.ca: &cfg.CAFile, tc.cert: &cfg.CertFile, tc.key: &cfg.KeyFile} {
				if name != "" {
					*to = file(name)
				}
			}
			c, err := redisstream.Open(t.Context(), cfg)
			if err == nil {
				defer c.Close()
				add(t, c, s1, 1)
			}
			if tc.wrong == "" && err != nil || tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)) {
				t.Errorf("got %v, want %q", err, tc.wrong)
			}
		})
	}
}

func TestKeyFileThatOthersCanReadIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	newAuthority(t, dir, "ca", time.Hour).issue(t, dir, "client", time.Hour)
	key := filepath.Join(dir, "client-key.pem")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _ = redisstream.Open(ctx, redisstream.Config{URL: "rediss://127.0.0.1:1", CertFile: filepath.Join(dir, "client.pem"), KeyFile: key, Log: log.logger()})
	if !strings.Contains(log.String(), "can be read by other users") || !strings.Contains(log.String(), key) {
		t.Errorf("log:\n%s", log)
	}
}

// A server that speaks no TLS never answers the handshake.
func TestTLSToAPlaintextPortDoesNotHang(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	began := time.Now()
	_, err := redisstream.Open(t.Context(), redisstream.Config{URL: "rediss://" + server.Addr()})
	if took := time.Since(began); err == nil || took > 8*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	if !strings.Contains(fmt.Sprint(err), "tls handshake") {
		t.Errorf("got %v", err)
	}
}

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string, validFor time.Duration) *authority {
	key := newKey(t)
	template := template(name, validFor)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+".pem"), "CERTIFICATE", der)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue writes name.pem and name-key.pem.
func (a *authority) issue(t *testing.T, dir, name string, validFor time.Duration) {
	key := newKey(t)
	template := template(name, validFor)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.DNSNames = []string{"redis.test"}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+".pem"), "CERTIFICATE", der)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+"-key.pem"), "PRIVATE KEY", private)
}

func template(name string, validFor time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-2 * time.Hour),
		NotAfter:     time.Now().Add(validFor),
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
