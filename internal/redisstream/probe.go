package redisstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// ErrNotAsked is the error of a question that the server cannot answer, or not
// to this user.
var ErrNotAsked = errors.New("the server does not answer this question")

// Clock returns by how much the server's clock is ahead of this machine's,
// negative when behind, and how exact that is.
func (c *Client) Clock(ctx context.Context) (ahead, within time.Duration, err error) {
	asked := time.Now()
	reply, err := c.do(ctx, c.rc.B().Time().Build()).AsIntSlice()
	took := time.Since(asked)
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("%d elements", len(reply))
	}
	if err != nil {
		return 0, 0, fmt.Errorf("time of the server: %w", err)
	}
	server := time.Unix(reply[0], reply[1]*1000)
	return server.Sub(asked.Round(0).Add(took / 2)), took / 2, nil
}

// WhoAmI returns the user that the client is to the server.
func (c *Client) WhoAmI(ctx context.Context) (string, error) {
	user, err := c.do(ctx, c.rc.B().Arbitrary("ACL", "WHOAMI").Build()).ToString()
	if err != nil {
		return "", fmt.Errorf("acl whoami: %w", refusal(err))
	}
	return user, nil
}

// DryRun returns for each command why the user may not run it, "" when he may,
// or when the server has no such command.
// It is ErrNotAsked where the server has no ACL DRYRUN or does not let this
// client use it.
func (c *Client) DryRun(ctx context.Context, user string, commands [][]string) ([]string, error) {
	cmds := make([]rueidis.Completed, len(commands))
	for i, command := range commands {
		cmds[i] = c.rc.B().Arbitrary("ACL", "DRYRUN", user).Args(command...).Build()
	}
	denied := make([]string, len(commands))
	for i, reply := range c.doMulti(ctx, cmds...) {
		text, err := reply.ToString()
		if refused, ok := replyError(err); ok && strings.HasPrefix(strings.TrimPrefix(refused, "ERR "), "Command ") {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("acl dryrun as %s: %w", user, refusal(err))
		}
		if text != "OK" {
			denied[i] = text
		}
	}
	return denied, nil
}

// Has tells for each command whether the server knows it. It is ErrNotAsked
// where the server does not tell.
func (c *Client) Has(ctx context.Context, commands ...string) ([]bool, error) {
	reply, err := c.do(ctx, c.rc.B().Arbitrary("COMMAND", "INFO").Args(commands...).Build()).ToArray()
	if err == nil && len(reply) != len(commands) {
		err = fmt.Errorf("%d elements: %w", len(reply), ErrNotAsked)
	}
	if err != nil {
		return nil, fmt.Errorf("command info: %w", refusal(err))
	}
	known := make([]bool, len(commands))
	for i, m := range reply {
		known[i] = !m.IsNil()
	}
	return known, nil
}

// refusal makes an error reply ErrNotAsked. What is no reply stays.
func refusal(err error) error {
	if _, refused := replyError(err); refused && ClassOf(err) != Unreachable {
		return fmt.Errorf("%w: %w", ErrNotAsked, err)
	}
	return err
}

// SetConfig changes a setting of the server, or of the cluster's master addr.
// It lasts until the server ends, unless its configuration file says the same.
func (c *Client) SetConfig(ctx context.Context, addr, name, value string) error {
	node := c.rc
	if c.cluster {
		if node = c.rc.Nodes()[addr]; node == nil {
			return fmt.Errorf("config set %s: no node %s in the cluster", name, addr)
		}
	}
	err := (&Client{rc: node}).do(ctx, node.B().ConfigSet().ParameterValue().ParameterValue(name, value).Build()).Error()
	if err != nil {
		return fmt.Errorf("config set %s: %w", name, err)
	}
	return nil
}

// ClusterState returns what a cluster's node says of it, "ok" or "fail", and ""
// for a server that is none of a cluster, or does not tell.
func (c *Client) ClusterState(ctx context.Context) string {
	if !c.cluster {
		return ""
	}
	text, _ := c.do(ctx, c.rc.B().ClusterInfo().Build()).ToString()
	text = strings.TrimPrefix(text, "txt:") // of a verbatim string
	for line := range strings.Lines(text) {
		if state, ok := strings.CutPrefix(strings.TrimSpace(line), "cluster_state:"); ok {
			return state
		}
	}
	return ""
}

// LetsAnyoneIn tells whether the server obeys who gives no name and no
// password. It connects anew, and asks that with a PING.
func (t Target) LetsAnyoneIn(ctx context.Context) (Answer, error) {
	if t.Sentinel {
		return Unknown, nil // the hosts are not the server
	}
	ctx, cancel := context.WithTimeoutCause(ctx, silence, errNoAnswer)
	defer cancel()
	option, err := clientOption(t.address, Config{CAFile: t.ca, CertFile: t.cert, KeyFile: t.key}, slog.New(slog.DiscardHandler))
	if err != nil {
		return Unknown, err
	}
	conn, err := option.DialCtxFn(ctx, t.Hosts[0], &net.Dialer{Timeout: silence}, option.TLSConfig)
	if err != nil {
		return Unknown, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return Unknown, err
	}
	line, err := bufio.NewReaderSize(conn, 1024).ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return Unknown, err
	}
	if strings.HasPrefix(string(line), "+PONG") {
		return Yes, nil
	}
	return No, nil
}
